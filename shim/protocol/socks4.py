"""The one message of a SOCKS4 or SOCKS4a client: a whole message becomes a Request.

Keeps no state: called again with more bytes until the message is whole. Checks are Tor's; all but that of CD wait for
the whole message, as they do there. Every refusal is 5B.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from shim.errors import ProtocolError
from shim.model import Command, Credentials, Protocol, Request
from shim.protocol import wire
from shim.protocol.hostname import MAX_HOSTNAME, read_hostname

REJECTED = wire.socks4_reply(False)

_HEAD = 8  # VN, CD, DSTPORT, DSTIP


def read_socks4(buffer: bytes) -> tuple[Request, int] | None:
    """The request and the length of its message; None while bytes are missing. ProtocolError with 5B as its reply.

    It is SOCKS4a where DSTIP is 0.0.0.x with x not 0: the name follows the USERID.
    """
    if len(buffer) < _HEAD:
        return None
    command = wire.COMMANDS_4.get(buffer[1])
    if command is None:
        raise ProtocolError("unknown_command", REJECTED)
    user_end = _find_nul(buffer, _HEAD, wire.MAX_USERID)
    if user_end < 0:
        return None
    userid = buffer[_HEAD:user_end]
    end = user_end + 1
    if buffer[4:7] != b"\x00\x00\x00" or not buffer[7]:
        return _request(command, buffer, userid, None), end
    name_end = _find_nul(buffer, end, MAX_HOSTNAME)
    if name_end < 0:
        return None
    return _request(command, buffer, userid, buffer[end:name_end]), name_end + 1


def _find_nul(buffer: bytes, start: int, limit: int) -> int:
    """Where the NUL of the field stands that begins at `start`; -1 while it has not come."""
    end = buffer.find(0, start)
    if (end if end >= 0 else len(buffer)) - start > limit:
        raise ProtocolError("message_too_long", REJECTED)
    return end


def _request(command: Command, buffer: bytes, userid: bytes, name: bytes | None) -> Request:
    port = buffer[2] << 8 | buffer[3]
    if not port and command is not Command.RESOLVE:
        raise ProtocolError("zero_port", REJECTED)
    if buffer[4:_HEAD] == b"\x00\x00\x00\x00":
        raise ProtocolError("zero_address", REJECTED)
    credentials = Credentials(userid[: wire.MAX_FIELD], userid[wire.MAX_FIELD :]) if userid else None
    if name is None:
        return Request(Protocol.SOCKS4, command, IPv4Address(buffer[4:_HEAD]), port, credentials)
    return Request(Protocol.SOCKS4A, command, _host(command, name), port, credentials)


def _host(command: Command, name: bytes) -> str:
    if command is Command.BIND:  # refused before anyone looks at the name
        return wire.printable(name) or ""
    try:
        return read_hostname(name)
    except ValueError:
        raise ProtocolError("malformed_name", REJECTED) from None
