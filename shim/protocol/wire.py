"""The octets of SOCKS4, SOCKS4a, SOCKS5 (RFC 1928), RFC 1929 and Tor's extensions: codes, limits, encodings.

Knows no state and no order of messages.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from shim.errors import LocalUsageError
from shim.model import Command, Host
from shim.protocol.hostname import MAX_HOSTNAME
from shim.protocol.http_pages import page

VERSION_4: Final = 4
VERSION_5: Final = 5
AUTH_VERSION: Final = 1
"""VER of the user/password messages (RFC 1929 section 2)."""

METHOD_NONE: Final = 0x00
METHOD_USER_PASS: Final = 0x02
METHOD_UNACCEPTABLE: Final = 0xFF

ATYP_IPV4: Final = 1
ATYP_NAME: Final = 3
ATYP_IPV6: Final = 4

COMMANDS_5: Final = {
    0x01: Command.CONNECT,
    0x02: Command.BIND,
    0x03: Command.UDP_ASSOCIATE,
    0xF0: Command.RESOLVE,
    0xF1: Command.RESOLVE_PTR,
}
"""CMD of RFC 1928 section 4 and of Tor's socks-extensions section 2."""

COMMANDS_4: Final = {0x01: Command.CONNECT, 0x02: Command.BIND, 0xF0: Command.RESOLVE}
"""CD of SOCKS4. Tor has no RESOLVE_PTR there."""

CODES: Final = {command: code for code, command in COMMANDS_5.items()}
"""Command to CMD of SOCKS5."""

MAX_FIELD: Final = 255
"""Bytes of a username or password: one length octet each (RFC 1929 section 2)."""

MAX_USERID: Final = 2 * MAX_FIELD
"""Bytes of a SOCKS4 USERID: what fits into username and password. Tor takes 512, two more (measured).

Tor also gives up a message that lies unfinished at 512 bytes (MAX_SOCKS_MESSAGE_LEN), but takes a longer one that comes
in one piece (503 + 255 bytes, measured). Limits of fields instead give the same answer however the bytes are split.
"""

UNSPECIFIED: Final = IPv4Address(0)
"""The bound address where there is none to tell: what Tor puts into its replies."""

AUTH_ACCEPTED: Final = b"\x01\x00"
METHOD_NONE_CHOSEN: Final = b"\x05\x00"
METHOD_USER_PASS_CHOSEN: Final = b"\x05\x02"
NO_ACCEPTABLE_METHOD: Final = b"\x05\xff"
GREETING_NONE: Final = b"\x05\x01\x00"
GREETING_USER_PASS: Final = b"\x05\x01\x02"

_REPLIES_5 = tuple(bytes((VERSION_5, rep, 0, ATYP_IPV4, 0, 0, 0, 0, 0, 0)) for rep in range(256))
"""Replies that tell no address: nearly all of them."""

_GRANTED = b"\x00\x5a"
_REJECTED = b"\x00\x5b"
_SOCKS4_BLANK = bytes(6)

HTTP_HINT_PAGE: Final = page(
    400,
    "This port speaks SOCKS, not HTTP.\n"
    "Enter it as a SOCKS proxy (SOCKS5 with names resolved by the proxy; curl: socks5h://),\n"
    "or give HTTP clients a port of their own: shim run --http 127.0.0.1:PORT",
)
"""For an HTTP client that came to the SOCKS port, where the policy allows an answer at all."""


def encode_address(host: Host) -> bytes:
    """ATYP and address (RFC 1928 section 5). LocalUsageError for a name that is not ASCII or too long."""
    if isinstance(host, IPv4Address):
        return b"\x01" + host.packed
    if isinstance(host, IPv6Address):
        return b"\x04" + host.packed
    if not host.isascii() or len(host) > MAX_HOSTNAME:
        raise LocalUsageError("a name must be ASCII and at most 255 bytes")
    return bytes((ATYP_NAME, len(host))) + host.encode("ascii")


def socks5_reply(rep: int, host: Host = UNSPECIFIED, port: int = 0) -> bytes:
    """RFC 1928 section 6, REP as it is: Tor's F0 to F7 too. A name as host answers RESOLVE_PTR."""
    if host is UNSPECIFIED and not port:
        return _REPLIES_5[rep]
    return bytes((VERSION_5, rep, 0)) + encode_address(host) + port.to_bytes(2, "big")


def socks4_reply(granted: bool, host: IPv4Address | None = None, port: int = 0) -> bytes:
    """VN 0, CD 5A or 5B, port, address: eight bytes."""
    code = _GRANTED if granted else _REJECTED
    return code + (_SOCKS4_BLANK if host is None else port.to_bytes(2, "big") + host.packed)


def encode_request(command: Command, host: Host, port: int) -> bytes:
    """A SOCKS5 request (RFC 1928 section 4), the host in the form it has."""
    return bytes((VERSION_5, CODES[command], 0)) + encode_address(host) + port.to_bytes(2, "big")


def encode_auth(username: bytes, password: bytes) -> bytes:
    """The user/password message (RFC 1929 section 2). LocalUsageError for a field that does not fit."""
    if len(username) > MAX_FIELD or len(password) > MAX_FIELD:
        raise LocalUsageError("username and password have at most 255 bytes each")
    return b"".join((bytes((AUTH_VERSION, len(username))), username, bytes((len(password),)), password))


def printable(raw: bytes) -> str | None:
    """Bytes as text when all are visible ASCII (no space, no control), else None."""
    return raw.decode("ascii") if all(0x21 <= octet <= 0x7E for octet in raw) else None
