"""The server side of SOCKS4, SOCKS4a and SOCKS5: a client's bytes become one Request, answers become bytes.

Decides no policy: it refuses only what Tor's own parser refuses, with the reply Tor gives (measured: tor 0.4.9.11).

Codes of ProtocolError.error, and the reply that goes with each:

    not_socks             the first byte is neither 04 nor 05; no reply, `protocol` holds a guess
    malformed_greeting    no methods offered, or RFC 1929 before any greeting; no reply
    no_method             neither "no authentication" nor user/password offered; 05 FF
    malformed_auth        RFC 1929 expected, something else came; REP 01
    malformed_request     SOCKS5: VER or RSV is wrong; REP 01
    unknown_command       CMD is none of Tor's; REP 01 or 5B
    unknown_address_type  ATYP is not 1, 3 or 4; REP 01
    malformed_name        not a hostname by Tor's rule, or one with a NUL; REP 01 or 5B
    malformed_pointer     RESOLVE_PTR of what is no address; REP 08
    zero_port             SOCKS4: DSTPORT 0, except in RESOLVE; 5B
    zero_address          SOCKS4: DSTIP 0.0.0.0; 5B
    message_too_long      SOCKS4: USERID or name longer than can be; 5B

Differences from Tor, all on purpose:

- Replies of the handshake's steps are queued. Tor has one slot, so pipelined steps lose all but the last.
- An embedded NUL makes a name malformed; Tor cuts the name there.
- A USERID of 511 or 512 bytes is refused: RFC 1929 cannot carry it upstream.
- A SOCKS4 message may wait for its end beyond 512 bytes, up to its fields' limits, so that nothing depends on segments.
- After a SOCKS5 greeting only SOCKS5 is understood; Tor would take a SOCKS4 request there.
- A greeting that comes twice is taken once. links2 under torsocks 2.3.0 sends `05 01 00` (or `05 01 02`) again before
  it has read the first reply, then reads one reply and goes on (measured). Tor takes the second greeting for a request
  and ends with REP 01; a second reply from us would end up in the application's data (measured, too). Nothing else
  can be meant: ATYP 05 does not exist, and RFC 1929 begins with 01.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from shim.errors import LocalUsageError, ProtocolError
from shim.model import Answer, Command, Credentials, Host, Protocol, Reply, Request
from shim.protocol import wire
from shim.protocol.hostname import is_plain_name, read_address, read_hostname
from shim.protocol.socks4 import REJECTED, read_socks4

# Every legal beginning of a SOCKS5 request, so that the common case is one look-up.
_HEADS = {
    bytes((wire.VERSION_5, code, 0, atyp)): (command, atyp)
    for code, command in wire.COMMANDS_5.items()
    for atyp in (wire.ATYP_IPV4, wire.ATYP_NAME, wire.ATYP_IPV6)
}
_HEAD_LENGTH = 4

# The same, octet by octet in Tor's order, for what is not among them: allowed octets, and the error otherwise.
_HEAD_RULES = (
    (bytes((wire.VERSION_5,)), "malformed_request"),
    (bytes(wire.COMMANDS_5), "unknown_command"),
    (b"\x00", "malformed_request"),
    (bytes((wire.ATYP_IPV4, wire.ATYP_NAME, wire.ATYP_IPV6)), "unknown_address_type"),
)
_TOLD_METHODS = 2 + 8
"""As much of a greeting as is told: programs offer three at most."""

_REPEATED_GREETING = wire.GREETING_NONE + bytes((wire.VERSION_5,))

_CONNECT, _RESOLVE, _SOCKS5 = Command.CONNECT, Command.RESOLVE, Protocol.SOCKS5
"""By a name of their own: an attribute of an enumeration costs 0.1 us (CPython 3.11), a twelfth of that otherwise."""

_GENERAL_FAILURE = wire.socks5_reply(Reply.GENERAL_FAILURE)
_NOT_AN_ADDRESS = wire.socks5_reply(Reply.ADDRESS_TYPE_NOT_SUPPORTED)

_ADDRESS_LENGTH = {wire.ATYP_IPV4: 4, wire.ATYP_IPV6: 16}

# What the first byte gives away. One byte, because the answer must not depend on how the bytes are split.
_FOREIGN = {**dict.fromkeys(b"GPCHODT", "http"), 0x16: "tls", ord("S"): "ssh"}


class SocksServer:
    """One client's handshake (see shim.protocol.codec.ServerCodec). Holds at most one unfinished message."""

    __slots__ = ("_buffer", "_credentials", "_greeting", "_outgoing", "_request", "_step")

    def __init__(self) -> None:
        self._buffer = b""
        self._outgoing = b""
        self._greeting = b""
        self._credentials: Credentials | None = None
        self._request: Request | None = None
        # The function that reads the next message; plain functions, since bound methods would make a cycle.
        self._step: Callable[[SocksServer], Request | None] | None = SocksServer._read_version

    def receive_data(self, data: bytes) -> Request | None:
        """Take bytes as they came; the request, once, when it is complete."""
        step = self._step
        if step is None:
            raise LocalUsageError("the handshake is over")
        if not data:
            return None
        self._buffer = self._buffer + data if self._buffer else data
        request = step(self)
        if request is not None:
            self._request = request
            self._step = None
        return request

    def data_to_send(self) -> bytes:
        """Take the replies of the handshake's steps, in order."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def reply(self, answer: Answer) -> bytes:
        """The final reply. SOCKS5 gets REP as it came; SOCKS4 only granted or rejected."""
        request = self._request
        if request is None:
            raise LocalUsageError("no request waits for a reply")
        self._request = None
        if request.protocol is _SOCKS5:
            return wire.socks5_reply(answer.reply, answer.host, answer.port)
        host = answer.host if isinstance(answer.host, IPv4Address) else None
        # The answer to RESOLVE travels in the address field: what does not fit there cannot be told.
        granted = answer.reply == Reply.SUCCEEDED and (host is not None or request.command is not _RESOLVE)
        return wire.socks4_reply(True, host, answer.port) if granted else REJECTED

    def refuse(self, rep: Reply) -> bytes:
        """The final reply for a request that is not sent upstream."""
        return self.reply(Answer(rep, wire.UNSPECIFIED, 0))

    def offers(self) -> str:
        """SOCKS5: the methods in hexadecimal, `00 01`, the first eight, and ` empty` behind them where RFC 1929 came
        without a password. SOCKS4: `userid`, if there is one.
        """
        if self._greeting:
            methods = self._greeting[2:_TOLD_METHODS].hex(" ")
            return methods if self._credentials is None or self._credentials.password else f"{methods} empty"
        request = self._request
        return "userid" if request is not None and request.credentials is not None else ""

    def trailing_data(self) -> bytes:
        """What the client sent behind its request."""
        if self._step is not None:
            raise LocalUsageError("the request is not complete")
        return self._buffer

    def _broken(self, error: str, reply: bytes = b"", protocol: str | None = None) -> ProtocolError:
        self._step = None
        self._buffer = b""
        return ProtocolError(error, reply, protocol)

    def _go_on(self, step: Callable[[SocksServer], Request | None], consumed: int) -> Request | None:
        """The next message is read by `step`; some of it may be here already."""
        self._step = step
        self._buffer = self._buffer[consumed:]
        return step(self) if self._buffer else None

    def _read_version(self) -> Request | None:
        buffer = self._buffer
        if buffer == wire.GREETING_NONE:  # the most common one, and nothing behind it
            self._greeting, self._buffer = buffer, b""
            self._outgoing = wire.METHOD_NONE_CHOSEN
            self._step = SocksServer._read_request
            return None
        version = buffer[0]
        if version == wire.VERSION_5:
            self._step = SocksServer._read_greeting
            return self._read_greeting()
        if version == wire.VERSION_4:
            self._step = SocksServer._read_socks4
            return self._read_socks4()
        if version == wire.AUTH_VERSION:
            raise self._broken("malformed_greeting")
        raise self._broken("not_socks", b"", _FOREIGN.get(version, "unknown"))

    def _read_greeting(self) -> Request | None:
        """RFC 1928 section 3. User/password is preferred, as in Tor: it carries the stream isolation."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        end = 2 + buffer[1]
        if end == 2:
            raise self._broken("malformed_greeting")
        if len(buffer) < end:
            return None
        self._greeting = buffer[:end]
        methods = buffer[2:end]
        if wire.METHOD_USER_PASS in methods:
            self._outgoing += wire.METHOD_USER_PASS_CHOSEN
            return self._go_on(SocksServer._read_auth, end)
        if wire.METHOD_NONE in methods:
            self._outgoing += wire.METHOD_NONE_CHOSEN
            return self._go_on(SocksServer._read_request, end)
        raise self._broken("no_method", wire.NO_ACCEPTABLE_METHOD)

    def _read_auth(self) -> Request | None:
        """RFC 1929 section 2. Empty fields are taken, as in Tor; nobody's password is checked here."""
        buffer = self._buffer
        if buffer[0] != wire.AUTH_VERSION:
            return self._repeated_before_auth()
        if len(buffer) < 2:
            return None
        user_end = 2 + buffer[1]
        if len(buffer) <= user_end:
            return None
        end = user_end + 1 + buffer[user_end]
        if len(buffer) < end:
            return None
        self._credentials = Credentials(buffer[2:user_end], buffer[user_end + 1 : end])
        self._outgoing += wire.AUTH_ACCEPTED
        return self._go_on(SocksServer._read_request, end)

    def _repeated_before_auth(self) -> Request | None:
        buffer, greeting = self._buffer, self._greeting
        if greeting and buffer.startswith(greeting):
            self._greeting = b""  # once
            return self._go_on(SocksServer._read_auth, len(greeting))
        if len(buffer) < len(greeting) and greeting.startswith(buffer):
            return None
        raise self._broken("malformed_auth", _GENERAL_FAILURE)

    def _read_request(self) -> Request | None:
        """RFC 1928 section 4."""
        buffer = self._buffer
        head = _HEADS.get(buffer[:_HEAD_LENGTH])
        if head is None:
            return self._judge_head()
        command, atyp = head
        start = _HEAD_LENGTH
        if atyp == wire.ATYP_NAME:
            if len(buffer) == start:
                return None
            end = start + 1 + buffer[start]
            start += 1
        else:
            end = start + _ADDRESS_LENGTH[atyp]
        if len(buffer) < end + 2:
            return None
        port = buffer[end] << 8 | buffer[end + 1]
        raw = buffer[start:end]
        host: Host
        if atyp == wire.ATYP_NAME:
            # What _name() does for nearly all.
            usual = command is _CONNECT and is_plain_name(raw)
            host = raw.decode("ascii") if usual else self._name(command, raw)
        elif atyp == wire.ATYP_IPV4:
            host = IPv4Address(raw)
        else:
            host = IPv6Address(raw)
        self._buffer = buffer[end + 2 :]
        return Request(_SOCKS5, command, host, port, self._credentials)

    def _judge_head(self) -> Request | None:
        """A request's first bytes are incomplete or not legal: judged one by one, as early as Tor does."""
        buffer = self._buffer
        if buffer[0] == wire.AUTH_VERSION and self._credentials is None:
            return self._read_auth()  # unasked for, after "no authentication": Tor takes it
        if buffer.startswith(_REPEATED_GREETING) and self._greeting == wire.GREETING_NONE:
            self._greeting = b""  # once
            return self._go_on(SocksServer._read_request, len(wire.GREETING_NONE))
        for octet, (allowed, error) in zip(buffer, _HEAD_RULES, strict=False):
            if octet not in allowed:
                raise self._broken(error, _GENERAL_FAILURE)
        return None

    def _name(self, command: Command, raw: bytes) -> str:
        """The name field. Tor answers BIND and UDP ASSOCIATE before it looks at it, so there anything is borne."""
        if command is _CONNECT or command is _RESOLVE:
            try:
                return read_hostname(raw)
            except ValueError:
                raise self._broken("malformed_name", _GENERAL_FAILURE) from None
        if command is Command.RESOLVE_PTR:
            if read_address(raw) is None:
                raise self._broken("malformed_pointer", _NOT_AN_ADDRESS)
            return raw.decode("ascii")
        return wire.printable(raw) or ""

    def _read_socks4(self) -> Request | None:
        try:
            parsed = read_socks4(self._buffer)
        except ProtocolError as error:
            raise self._broken(error.error, error.reply) from None
        if parsed is None:
            return None
        request, end = parsed
        self._buffer = self._buffer[end:]
        return request
