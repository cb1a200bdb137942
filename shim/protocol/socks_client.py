"""The client side of SOCKS5, towards the upstream: one Request goes out, one Answer comes back.

Never offers two methods, never sends the application's data, never changes a credential.

Tor keeps one reply where it should keep a queue: of steps sent in one write and refused while parsing, only the last
is answered (measured: tor 0.4.9.11). So not everything may be sent at once, and a missing reply must be understood:

    sent in one write          read
    greeting 00 + request      05 00 = method; 05 FF = no method; any other 05 xx is the final reply already
    greeting 02                05 02 = method
    auth + request             01 xx = status; 05 xx is the final reply already

Codes of UpstreamError.error:

    not_socks5        the first byte is not 05
    no_method         05 FF: the upstream wants an authentication we have not, or takes none
    wrong_method      it chose a method that was not offered
    auth_refused      RFC 1929 status other than 0
    malformed_reply   anything else that RFC 1928 and 1929 do not know
    closed            it closed before its answer was complete
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from shim.errors import LocalUsageError, UpstreamError
from shim.model import Answer, Command, Credentials, Host, Reply, Request
from shim.protocol import wire
from shim.protocol.hostname import read_address

_RESOLVE_PTR = Command.RESOLVE_PTR
_COMMANDS = (Command.CONNECT, Command.RESOLVE, _RESOLVE_PTR)
_HEAD_LENGTH = 4  # VER, REP, RSV, ATYP

_GRANTED = wire.METHOD_NONE_CHOSEN + wire.socks5_reply(Reply.SUCCEEDED)
"""What Tor says to nearly every pipelined request that needs no authentication, in one segment: method and reply."""

GRANTED = Answer(0, wire.UNSPECIFIED, 0)
"""What that means: nothing need be parsed."""


class SocksClient:
    """One handshake with the upstream. Holds at most one unfinished reply."""

    __slots__ = ("_buffer", "_method", "_outgoing", "_requested", "_step", "_waiting")

    def __init__(self, request: Request, credentials: Credentials | None, *, pipelining: bool = True) -> None:
        """LocalUsageError for a command, name or credential that cannot be sent."""
        message = _encode(request)
        self._waiting: tuple[bytes, ...]
        if credentials is None:
            self._method = wire.METHOD_NONE
            self._outgoing = wire.GREETING_NONE + message if pipelining else wire.GREETING_NONE
            self._waiting = () if pipelining else (message,)
        else:
            self._method = wire.METHOD_USER_PASS
            self._outgoing = wire.GREETING_USER_PASS
            auth = wire.encode_auth(credentials.username, credentials.password)
            self._waiting = (auth + message,) if pipelining else (auth, message)
        self._requested = not self._waiting
        self._buffer = b""
        self._step: Callable[[SocksClient], Answer | None] | None = SocksClient._read_method

    def data_to_send(self) -> bytes:
        """Take what is to be sent now; b"" while the upstream has to speak first."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def receive_data(self, data: bytes) -> Answer | None:
        """Take bytes as they came; the answer, once, when it is complete. UpstreamError ends the handshake."""
        step = self._step
        if step is None:
            raise LocalUsageError("the handshake is over")
        if not data:
            return None
        if data == _GRANTED and step is SocksClient._read_method and self._requested and not self._buffer:
            self._step = None
            return GRANTED
        self._buffer = self._buffer + data if self._buffer else data
        answer = step(self)
        if answer is not None:
            self._step = None
        return answer

    def receive_eof(self) -> None:
        """The upstream has closed: UpstreamError, unless its answer was complete by then."""
        if self._step is not None:
            raise self._broken("closed")

    def trailing_data(self) -> bytes:
        """What the destination sent behind the answer."""
        if self._step is not None:
            raise LocalUsageError("the answer is not complete")
        return self._buffer

    def _broken(self, error: str) -> UpstreamError:
        self._step = None
        self._buffer = b""
        return UpstreamError(error)

    def _go_on(self, step: Callable[[SocksClient], Answer | None], consumed: int) -> Answer | None:
        """The next reply is read by `step`; some of it may be here already."""
        self._step = step
        self._buffer = self._buffer[consumed:]
        return step(self) if self._buffer else None

    def _send_next(self) -> None:
        """The upstream has agreed to a step: the next one may follow, if it is not on its way already."""
        if self._waiting:
            first, *rest = self._waiting
            self._outgoing += first
            self._waiting = tuple(rest)
            self._requested = not self._waiting

    def _read_method(self) -> Answer | None:
        buffer = self._buffer
        if buffer[0] != wire.VERSION_5:
            raise self._broken("not_socks5")
        if len(buffer) < 2:
            return None
        method = buffer[1]
        if method == self._method:
            self._send_next()
            return self._go_on(SocksClient._read_status if method else SocksClient._read_reply, 2)
        if method == wire.METHOD_UNACCEPTABLE:
            raise self._broken("no_method")
        if not self._requested:
            raise self._broken("wrong_method")
        return self._go_on(SocksClient._read_reply, 0)  # refused: the method's reply was overwritten

    def _read_status(self) -> Answer | None:
        buffer = self._buffer
        if len(buffer) < 2:
            if buffer[0] not in (wire.AUTH_VERSION, wire.VERSION_5):
                raise self._broken("malformed_reply")
            return None
        version, status = buffer[0], buffer[1]
        if version == wire.AUTH_VERSION:
            if status:
                raise self._broken("auth_refused")
            self._send_next()
            return self._go_on(SocksClient._read_reply, 2)
        # Tor answers an RFC 1929 message it cannot read with a request's refusal, also in lock-step.
        if version == wire.VERSION_5 and (status or self._requested):
            return self._go_on(SocksClient._read_reply, 0)
        raise self._broken("malformed_reply")

    def _read_reply(self) -> Answer | None:
        """RFC 1928 section 6."""
        buffer = self._buffer
        if buffer[0] != wire.VERSION_5:
            raise self._broken("malformed_reply")
        if len(buffer) < _HEAD_LENGTH:
            return None
        rep, atyp = buffer[1], buffer[3]
        start = _HEAD_LENGTH
        if atyp == wire.ATYP_IPV4:
            end = start + 4
        elif atyp == wire.ATYP_IPV6:
            end = start + 16
        elif atyp == wire.ATYP_NAME:
            start += 1
            if len(buffer) < start:
                return None
            end = start + buffer[start - 1]
        elif rep:
            # A refusal is clear without an address that can be read.
            self._buffer = buffer[start:]
            return Answer(rep, wire.UNSPECIFIED, 0)
        else:
            raise self._broken("malformed_reply")
        if len(buffer) < end + 2:
            return None
        answer = self._answer(rep, atyp, buffer[start:end], buffer[end] << 8 | buffer[end + 1])
        self._buffer = buffer[end + 2 :]
        return answer

    def _answer(self, rep: int, atyp: int, raw: bytes, port: int) -> Answer:
        if atyp == wire.ATYP_IPV4:
            return Answer(rep, IPv4Address(raw) if any(raw) else wire.UNSPECIFIED, port)
        if atyp == wire.ATYP_IPV6:
            return Answer(rep, IPv6Address(raw), port)
        name = wire.printable(raw)
        if name is None:
            raise self._broken("malformed_reply")
        return Answer(rep, name, port)


def _encode(request: Request) -> bytes:
    """The request as SOCKS5, the host in the form it has.

    An address as text stays text, so that nothing is hidden from the upstream's own judgement; RESOLVE_PTR, which
    needs an address, gets it as one.
    """
    if request.command not in _COMMANDS:
        raise LocalUsageError("only CONNECT, RESOLVE and RESOLVE_PTR go upstream")
    host: Host = request.host
    if request.command is _RESOLVE_PTR and isinstance(host, str):
        address = read_address(host.encode())
        if address is None:
            raise LocalUsageError("RESOLVE_PTR needs an address")
        host = address
    return wire.encode_request(request.command, host, request.port)
