"""The few HTTP answers the shim gives itself: short, plain, closing the connection.

Never repeats anything the client sent: no destination stands in an answer.
"""

from __future__ import annotations

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def page(status: int, text: str, *headers: str) -> bytes:
    """A whole answer with `text` as its plain body. `headers` are finished lines; all of it ASCII."""
    body = f"{text}\n".encode("ascii")
    lines = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "Content-Type: text/plain; charset=us-ascii",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    )
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
