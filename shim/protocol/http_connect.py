"""The server side of HTTP CONNECT (RFC 9110 section 9.3.6): a request head becomes one Request, answers become HTTP.

Proxies nothing but CONNECT, and repeats nothing of what the client sent.

Codes of ProtocolError.error, and the status that goes with each:

    not_http            the first byte begins no HTTP method; no answer, `protocol` holds a guess
    method_not_allowed  anything but CONNECT; 405 for a target in absolute form, else no answer
    head_too_long       no end of the head within 8192 bytes; 431
    malformed_head      not HTTP/1.x by llhttp; 400
    malformed_target    not HOST:PORT; 400
    malformed_name      HOST is not a hostname by Tor's rule, nor an address; 400
    malformed_auth      Proxy-Authorization: Basic that cannot be read, or twice; 400

Only a CONNECT, or a request whose target has the absolute form, is answered at all. No web page can make a browser
send either to a port of its choosing: CONNECT is forbidden to scripts, and the absolute form is for proxies. Any other
request may come from a page that has this port rebound as its own origin (DNS rebinding) or posts to it blindly,
and an answer would tell that page what runs here. Tor answers where Host says localhost, but a page on
http://127.0.0.1:PORT/ sends that too.
"""

from __future__ import annotations

import base64
import binascii
import re

import httptools

from shim.errors import LocalUsageError, ProtocolError
from shim.model import Answer, Command, Credentials, Host, Protocol, Reply, Request
from shim.protocol import wire
from shim.protocol.hostname import read_hostname, read_ipv4, read_ipv6
from shim.protocol.http_pages import page

MAX_HEAD = 8192
"""Bytes of a request head: Tor's limit for its HTTPTunnelPort."""

CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"

_METHOD_INITIALS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_FOREIGN = {wire.VERSION_4: "socks", wire.VERSION_5: "socks", 0x16: "tls"}

# Bare line feeds end a head too, so that it is refused at once and not when the clock has run out.
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_HEAD_END_LENGTH = 4

_AUTHORITY = re.compile(rb"(\[[^\[\]]*\]|[^:\[\]]*):([0-9]{1,5})")
_MAX_PORT = 65535

_ABSOLUTE_FORM = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")

_STATUSES: dict[int, int] = {
    Reply.NOT_ALLOWED: 403,
    Reply.NETWORK_UNREACHABLE: 503,
    Reply.HOST_UNREACHABLE: 503,
    Reply.TTL_EXPIRED: 504,
}
_BAD_GATEWAY = 502

_BAD_REQUEST_PAGE = page(400, "This is no CONNECT request that can be understood: CONNECT HOST:PORT HTTP/1.1")
_HEAD_TOO_LONG_PAGE = page(431, f"The request head is longer than {MAX_HEAD} bytes.")
_METHOD_PAGE = page(
    405,
    "This port takes CONNECT only: it makes tunnels and fetches no pages itself.\n"
    "Enter it as the proxy for https://, and use a SOCKS proxy for http://.",
    "Allow: CONNECT",
)


class HttpConnectServer:
    """One client's handshake (see shim.protocol.codec.ServerCodec). Holds at most one unfinished head."""

    __slots__ = ("_answerable", "_buffer", "_reading")

    def __init__(self) -> None:
        self._buffer = b""
        self._reading = True
        self._answerable = False

    def receive_data(self, data: bytes) -> Request | None:
        """Take bytes as they came; the request, once, when its head is complete."""
        if not self._reading:
            raise LocalUsageError("the handshake is over")
        if not data:
            return None
        scanned = len(self._buffer)
        self._buffer = self._buffer + data if self._buffer else data
        try:
            request = self._read(max(0, scanned - _HEAD_END_LENGTH + 1))
        except ProtocolError:
            self._reading = False
            self._buffer = b""
            raise
        if request is not None:
            self._reading = False
            self._answerable = True
        return request

    def data_to_send(self) -> bytes:
        """Nothing: HTTP has no replies before the last."""
        return b""

    def reply(self, answer: Answer) -> bytes:
        """200, or the status that comes nearest to REP; the code itself stands in the body."""
        if not self._answerable:
            raise LocalUsageError("no request waits for a reply")
        self._answerable = False
        if answer.reply == Reply.SUCCEEDED:
            return CONNECTED
        return page(_STATUSES.get(answer.reply, _BAD_GATEWAY), f"No tunnel. SOCKS reply code: {answer.reply:02X}")

    def refuse(self, rep: Reply) -> bytes:
        """The final reply for a request that is not sent upstream."""
        return self.reply(Answer(rep, wire.UNSPECIFIED, 0))

    def offers(self) -> str:
        """Nothing: what tells programs apart are headers, and they are nobody's to keep."""
        return ""

    def trailing_data(self) -> bytes:
        """What the client sent behind its head; a body is never part of a CONNECT (RFC 9110 section 9.3.6)."""
        if self._reading:
            raise LocalUsageError("the request is not complete")
        return self._buffer

    def _read(self, search_from: int) -> Request | None:
        buffer = self._buffer
        if buffer[0] not in _METHOD_INITIALS:
            raise ProtocolError("not_http", b"", _FOREIGN.get(buffer[0], "unknown"))
        end = _HEAD_END.search(buffer, search_from, MAX_HEAD)
        if end is None:
            if len(buffer) >= MAX_HEAD:
                raise ProtocolError("head_too_long", _HEAD_TOO_LONG_PAGE if _is_connect(buffer) else b"")
            return None
        self._buffer = buffer[end.end() :]
        return _request(buffer[: end.end()])


class _Head:
    """What llhttp tells about a head."""

    __slots__ = ("authorizations", "target")

    def __init__(self) -> None:
        self.target = b""
        self.authorizations: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"proxy-authorization":
            self.authorizations.append(value)


def _is_connect(head: bytes) -> bool:
    return head.startswith(b"CONNECT ")


def _bad(error: str) -> ProtocolError:
    return ProtocolError(error, _BAD_REQUEST_PAGE)


def _request(head: bytes) -> Request:
    seen = _Head()
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # how llhttp says that what follows is not HTTP: always so with CONNECT
    except httptools.HttpParserError:
        raise ProtocolError("malformed_head", _BAD_REQUEST_PAGE if _is_connect(head) else b"") from None
    if not _is_connect(head):
        absolute = _ABSOLUTE_FORM.match(seen.target)
        raise ProtocolError("method_not_allowed", _METHOD_PAGE if absolute else b"")
    if parser.get_http_version() not in ("1.0", "1.1"):
        raise _bad("malformed_head")
    host, port = _target(seen.target)
    return Request(Protocol.HTTP, Command.CONNECT, host, port, _credentials(seen.authorizations))


def _target(target: bytes) -> tuple[Host, int]:
    """The authority form, HOST:PORT or [V6]:PORT (RFC 9112 section 3.2.3)."""
    parts = _AUTHORITY.fullmatch(target)
    if parts is None or int(parts[2]) > _MAX_PORT:
        raise _bad("malformed_target")
    return _host(parts[1]), int(parts[2])


def _host(raw: bytes) -> Host:
    try:
        if not raw.startswith(b"["):
            return read_ipv4(raw) or read_hostname(raw)
        if (address := read_ipv6(raw[1:-1])) is not None:
            return address
    except ValueError:
        pass
    raise _bad("malformed_name")


def _credentials(authorizations: list[bytes]) -> Credentials | None:
    """Proxy-Authorization: Basic (RFC 7617); other schemes are not ours. Bytes, because they key the isolation."""
    basic = [value for value in authorizations if value[:6].lower() == b"basic "]
    if not basic:
        return None
    if len(basic) > 1:
        raise _bad("malformed_auth")
    try:
        pair = base64.b64decode(basic[0][6:].strip(), validate=True)
    except binascii.Error:
        raise _bad("malformed_auth") from None
    username, colon, password = pair.partition(b":")
    if not colon or len(username) > wire.MAX_FIELD or len(password) > wire.MAX_FIELD:
        raise _bad("malformed_auth")
    return Credentials(username, password)
