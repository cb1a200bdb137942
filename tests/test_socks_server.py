"""The SOCKS server codec: each conversation whole, byte by byte and with bytes behind it.

Replies to what is refused are those of tor 0.4.9.11 to the same bytes, unless a sentence says that they differ.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from feeding import Outcome, Refused, check_dead, check_three_ways, feed, split_at, whole
from hypothesis import given
from hypothesis import strategies as st
from socks_grammar import conversations, mutated

from shim.errors import LocalUsageError
from shim.model import Answer, Command, Credentials, Host, Protocol, Reply, Request
from shim.protocol import wire
from shim.protocol.socks_server import SocksServer

V4 = IPv4Address("1.2.3.4")
V6 = IPv6Address("2001:db8::1")
BLANK = "01 00000000 0000"
REP1 = bytes.fromhex("05 01 00" + BLANK)
REP8 = bytes.fromhex("05 08 00" + BLANK)
REJECTED = bytes.fromhex("00 5b 0000 00000000")
NONE, USER_PASS, AUTHED = b"\x05\x00", b"\x05\x02", b"\x01\x00"

G = b"\x05\x01\x00"
G2 = b"\x05\x01\x02"
AUTH = b"\x01\x01a\x01b"
NAME = b"\x05\x01\x00\x03\x0bexample.com\x00\x50"
EXAMPLE = Request(Protocol.SOCKS5, Command.CONNECT, "example.com", 80)

LIMIT = 8 + wire.MAX_USERID + 1 + 255
"""Bytes that may wait for the end of a message: the longest of SOCKS4a without its last NUL."""


def five(command: int, host: Host | bytes, port: int = 80) -> bytes:
    """A SOCKS5 request with any CMD, and any bytes as its name."""
    address = b"\x03" + bytes((len(host),)) + host if isinstance(host, bytes) else wire.encode_address(host)
    return bytes((5, command, 0)) + address + port.to_bytes(2, "big")


def four(command: int, ip: str, port: int = 80, userid: bytes = b"", name: bytes | None = None) -> bytes:
    head = bytes((4, command)) + port.to_bytes(2, "big") + IPv4Address(ip).packed
    return head + userid + b"\x00" + (b"" if name is None else name + b"\x00")


def asked(
    command: Command, host: Host, port: int = 80, protocol: Protocol = Protocol.SOCKS5, creds: Credentials | None = None
) -> Request:
    return Request(protocol, command, host, port, creds)


def asked4(host: Host, port: int = 80, command: Command = Command.CONNECT, creds: Credentials | None = None) -> Request:
    return asked(command, host, port, Protocol.SOCKS4 if isinstance(host, IPv4Address) else Protocol.SOCKS4A, creds)


def creds(username: bytes, password: bytes = b"") -> Credentials:
    return Credentials(username, password)


WITH_AUTH = Request(Protocol.SOCKS5, Command.CONNECT, "example.com", 80, Credentials(b"a", b"b"))

CONNECT, BIND, UDP = Command.CONNECT, Command.BIND, Command.UDP_ASSOCIATE
RESOLVE, PTR = Command.RESOLVE, Command.RESOLVE_PTR
LONG = b"u" * 255

REQUESTS: list[tuple[str, bytes, Request, bytes]] = [
    # SOCKS5: the three kinds of address
    ("CONNECT to a name", G + NAME, EXAMPLE, NONE),
    ("CONNECT to an IPv4 address", G + five(1, V4), asked(CONNECT, V4), NONE),
    ("CONNECT to an IPv6 address", G + five(1, V6, 443), asked(CONNECT, V6, 443), NONE),
    ("an address as text stays text", G + five(1, b"1.2.3.4"), asked(CONNECT, "1.2.3.4"), NONE),
    ("IPv6 as text, in brackets, stays as it is", G + five(1, b"[::1]"), asked(CONNECT, "[::1]"), NONE),
    ("a name keeps its case and last dot", G + five(1, b"ExAmple.COM."), asked(CONNECT, "ExAmple.COM."), NONE),
    ("a name of 255 bytes", G + five(1, b"a" * 255), asked(CONNECT, "a" * 255), NONE),
    ("port 0 is not the parser's business", G + five(1, b"a", 0), asked(CONNECT, "a", 0), NONE),
    ("port 65535", G + five(1, b"a", 65535), asked(CONNECT, "a", 65535), NONE),
    # SOCKS5: Tor's commands
    ("RESOLVE of a name", G + five(0xF0, b"a.b", 0), asked(RESOLVE, "a.b", 0), NONE),
    ("RESOLVE of an address", G + five(0xF0, V4, 0), asked(RESOLVE, V4, 0), NONE),
    ("RESOLVE_PTR of IPv4", G + five(0xF1, V4, 0), asked(PTR, V4, 0), NONE),
    ("RESOLVE_PTR of IPv6", G + five(0xF1, V6, 0), asked(PTR, V6, 0), NONE),
    ("RESOLVE_PTR of IPv4 as text", G + five(0xF1, b"1.2.3.4", 0), asked(PTR, "1.2.3.4", 0), NONE),
    ("RESOLVE_PTR of IPv6 in brackets", G + five(0xF1, b"[::1]", 0), asked(PTR, "[::1]", 0), NONE),
    # SOCKS5: commands that the policy refuses
    ("BIND", G + five(2, V4), asked(BIND, V4), NONE),
    ("UDP ASSOCIATE", G + five(3, IPv4Address(0), 0), asked(UDP, IPv4Address(0), 0), NONE),
    ("BIND to a malformed name is refused as BIND", G + five(2, b"-a"), asked(BIND, "-a"), NONE),
    ("UDP ASSOCIATE with bytes that are no text", G + five(3, b"a\x00b"), asked(UDP, ""), NONE),
    ("UDP ASSOCIATE with an empty name", G + five(3, b""), asked(UDP, ""), NONE),
    # SOCKS5: methods
    ("user/password is preferred", b"\x05\x02\x00\x02" + AUTH + NAME, WITH_AUTH,
     USER_PASS + AUTHED),
    ("no authentication among others", b"\x05\x03\x01\x00\x80" + NAME, EXAMPLE, NONE),
    ("255 methods", b"\x05\xff" + bytes(range(3, 256)) + b"\x03\x00" + NAME, EXAMPLE, NONE),
    ("empty username and password", G2 + b"\x01\x00\x00" + NAME, asked(CONNECT, "example.com", creds=creds(b"")),
     USER_PASS + AUTHED),
    ("empty password", G2 + b"\x01\x01a\x00" + NAME, asked(CONNECT, "example.com", creds=creds(b"a")),
     USER_PASS + AUTHED),
    ("credentials of 255 bytes each, any bytes", G2 + b"\x01\xff" + b"\x00" * 255 + b"\xff" + b"\xff" * 255 + NAME,
     asked(CONNECT, "example.com", creds=creds(b"\x00" * 255, b"\xff" * 255)), USER_PASS + AUTHED),
    ("a username of Tor's own is passed on", G2 + b"\x01\x09<torS0X>1\x01b" + NAME,
     asked(CONNECT, "example.com", creds=creds(b"<torS0X>1", b"b")), USER_PASS + AUTHED),
    ("credentials nobody asked for", G + AUTH + NAME, WITH_AUTH,
     NONE + AUTHED),
    # SOCKS5: the impatient client (tor 0.4.9.11 ends these with REP 01)
    ("a greeting twice is answered once", G + G + NAME, EXAMPLE, NONE),
    ("a greeting for user/password twice", G2 + G2 + AUTH + NAME, WITH_AUTH,
     USER_PASS + AUTHED),
    ("a greeting of two methods twice", b"\x05\x02\x00\x02" * 2 + AUTH + NAME,
     WITH_AUTH, USER_PASS + AUTHED),
    # SOCKS4
    ("SOCKS4 CONNECT", four(1, "1.2.3.4"), asked4(V4), b""),
    ("SOCKS4 with USERID", four(1, "1.2.3.4", userid=b"joe"), asked4(V4, creds=creds(b"joe")), b""),
    ("SOCKS4 BIND", four(2, "1.2.3.4"), asked4(V4, command=BIND), b""),
    ("SOCKS4 RESOLVE, port 0", four(0xF0, "1.2.3.4", 0), asked4(V4, 0, RESOLVE), b""),
    ("0.0.1.0 is an address", four(1, "0.0.1.0"), asked4(IPv4Address("0.0.1.0")), b""),
    ("a USERID beyond 255 bytes goes on as password", four(1, "1.2.3.4", userid=LONG + b"p" * 255),
     asked4(V4, creds=creds(LONG, b"p" * 255)), b""),
    # SOCKS4a
    ("SOCKS4a CONNECT", four(1, "0.0.0.1", name=b"example.com"), asked4("example.com"), b""),
    ("SOCKS4a with 0.0.0.255", four(1, "0.0.0.255", name=b"a"), asked4("a"), b""),
    ("SOCKS4a with USERID", four(1, "0.0.0.1", userid=b"joe", name=b"a"), asked4("a", creds=creds(b"joe")), b""),
    ("SOCKS4a RESOLVE", four(0xF0, "0.0.0.1", 0, name=b"a"), asked4("a", 0, RESOLVE), b""),
    ("SOCKS4a, an address as text", four(1, "0.0.0.1", name=b"1.2.3.4"), asked4("1.2.3.4"), b""),
    ("SOCKS4a BIND to a malformed name", four(2, "0.0.0.1", name=b"-a"), asked4("-a", command=BIND), b""),
    ("SOCKS4a BIND to bytes that are no text", four(2, "0.0.0.1", name=b"\xff"), asked4("", command=BIND), b""),
    ("SOCKS4a, everything as long as it may be", four(1, "0.0.0.1", userid=LONG * 2, name=b"h" * 255),
     asked4("h" * 255, creds=creds(LONG, LONG)), b""),
]  # fmt: skip

REFUSALS: list[tuple[str, bytes, Refused, bytes]] = [
    # before any method
    ("an HTTP client", b"GET / HTTP/1.1\r\n", Refused("not_socks", b"", "http"), b""),
    ("another HTTP client", b"CONNECT a:1 HTTP/1.1\r\n", Refused("not_socks", b"", "http"), b""),
    ("a TLS client", b"\x16\x03\x01", Refused("not_socks", b"", "tls"), b""),
    ("an SSH client", b"SSH-2.0-x\r\n", Refused("not_socks", b"", "ssh"), b""),
    ("SOCKS6, if it existed", b"\x06", Refused("not_socks", b"", "unknown"), b""),
    ("a greeting that offers nothing", b"\x05\x00", Refused("malformed_greeting"), b""),
    ("authentication before any greeting", AUTH, Refused("malformed_greeting"), b""),
    ("no method of ours", b"\x05\x02\x01\x80", Refused("no_method", b"\x05\xff"), b""),
    # RFC 1929
    ("wrong version of RFC 1929", G2 + b"\x02\x01a\x01b", Refused("malformed_auth", REP1), USER_PASS),
    ("that, seen from one byte", G2 + b"\x02", Refused("malformed_auth", REP1), USER_PASS),
    ("a request where credentials belong", G2 + NAME, Refused("malformed_auth", REP1), USER_PASS),
    ("a greeting three times", G2 * 3, Refused("malformed_auth", REP1), USER_PASS),
    ("another greeting", G2 + G + AUTH, Refused("malformed_auth", REP1), USER_PASS),
    ("SOCKS4 behind a greeting (Tor would take it)", G2 + four(1, "1.2.3.4"), Refused("malformed_auth", REP1),
     USER_PASS),
    ("credentials twice", G2 + AUTH + AUTH, Refused("malformed_request", REP1), USER_PASS + AUTHED),
    ("credentials nobody asked for, twice", G + AUTH + AUTH, Refused("malformed_request", REP1), NONE + AUTHED),
    # RFC 1928 section 4
    ("wrong version of the request", G + b"\x06\x01\x00\x01", Refused("malformed_request", REP1), NONE),
    ("SOCKS4 behind a greeting, no authentication", G + four(1, "1.2.3.4"), Refused("malformed_request", REP1), NONE),
    ("command 0", G + b"\x05\x00\x00\x03", Refused("unknown_command", REP1), NONE),
    ("command 9, seen from two bytes", G + b"\x05\x09", Refused("unknown_command", REP1), NONE),
    ("RSV, seen from three bytes", G + b"\x05\x01\x01", Refused("malformed_request", REP1), NONE),
    ("ATYP 2", G + b"\x05\x01\x00\x02", Refused("unknown_address_type", REP1), NONE),
    ("ATYP 5 behind a longer greeting", b"\x05\x02\x00\x01" + G + b"\x05", Refused("unknown_address_type", REP1), NONE),
    ("a greeting a third time", G + G + G + b"\x05", Refused("unknown_address_type", REP1), NONE),
    ("a greeting behind the credentials", G2 + AUTH + G2, Refused("malformed_request", REP1), USER_PASS + AUTHED),
    ("an empty name", G + five(1, b""), Refused("malformed_name", REP1), NONE),
    ("a malformed name", G + five(1, b"-a"), Refused("malformed_name", REP1), NONE),
    ("a malformed name to RESOLVE", G + five(0xF0, b"a b", 0), Refused("malformed_name", REP1), NONE),
    ("a name that is not ASCII", G + five(1, b"b\xc3\xbcro"), Refused("malformed_name", REP1), NONE),
    ("a NUL within the name (Tor would cut it)", G + five(1, b"a\x00b"), Refused("malformed_name", REP1), NONE),
    ("an IPv6 zone", G + five(1, b"fe80::1%lo"), Refused("malformed_name", REP1), NONE),
    ("RESOLVE_PTR of a name", G + five(0xF1, b"a", 0), Refused("malformed_pointer", REP8), NONE),
    ("RESOLVE_PTR of nothing", G + five(0xF1, b"", 0), Refused("malformed_pointer", REP8), NONE),
    ("RESOLVE_PTR of IPv4 in brackets", G + five(0xF1, b"[1.2.3.4]", 0), Refused("malformed_pointer", REP8), NONE),
    # SOCKS4
    ("SOCKS4 port 0", four(1, "1.2.3.4", 0), Refused("zero_port", REJECTED), b""),
    ("SOCKS4 address 0", four(1, "0.0.0.0"), Refused("zero_address", REJECTED), b""),
    ("SOCKS4 RESOLVE of address 0", four(0xF0, "0.0.0.0", 0), Refused("zero_address", REJECTED), b""),
    ("SOCKS4 has no UDP ASSOCIATE", four(3, "1.2.3.4"), Refused("unknown_command", REJECTED), b""),
    ("SOCKS4 has no RESOLVE_PTR", four(0xF1, "1.2.3.4"), Refused("unknown_command", REJECTED), b""),
    ("SOCKS4 command 7, seen from eight bytes", four(7, "1.2.3.4")[:8], Refused("unknown_command", REJECTED), b""),
    ("SOCKS4a, empty name", four(1, "0.0.0.1", name=b""), Refused("malformed_name", REJECTED), b""),
    ("SOCKS4a, malformed name", four(1, "0.0.0.1", name=b"a b"), Refused("malformed_name", REJECTED), b""),
    ("USERID of 511 bytes", four(1, "1.2.3.4", userid=b"u" * 511), Refused("message_too_long", REJECTED), b""),
    ("USERID without end", four(1, "1.2.3.4", userid=b"u" * 600)[:-1], Refused("message_too_long", REJECTED), b""),
    ("SOCKS4a name of 256 bytes", four(1, "0.0.0.1", name=b"h" * 256), Refused("message_too_long", REJECTED), b""),
    ("SOCKS4a name without end", four(1, "0.0.0.1", name=b"h" * 300)[:-1], Refused("message_too_long", REJECTED), b""),
]  # fmt: skip


def sentences(vectors: list[tuple[str, bytes, Request, bytes]] | list[tuple[str, bytes, Refused, bytes]]) -> list[str]:
    return [vector[0] for vector in vectors]


@pytest.mark.parametrize(("sentence", "data", "request_", "sent"), REQUESTS, ids=sentences(REQUESTS))
def test_request(sentence: str, data: bytes, request_: Request, sent: bytes) -> None:
    check_three_ways(SocksServer, data, Outcome(request_, sent))


@pytest.mark.parametrize(("sentence", "data", "refused", "sent"), REFUSALS, ids=sentences(REFUSALS))
def test_refusal(sentence: str, data: bytes, refused: Refused, sent: bytes) -> None:
    check_three_ways(SocksServer, data, Outcome(refused, sent))
    codec = SocksServer()
    feed(codec, whole(data))
    check_dead(codec)


def test_every_code_of_the_docstring_is_tested_and_no_other() -> None:
    from shim.protocol import socks_server

    documented = {line.split()[0] for line in (socks_server.__doc__ or "").splitlines() if line.startswith("    ")}
    assert documented == {refused.error for _, _, refused, _ in REFUSALS}


def test_every_command_has_its_vector() -> None:
    assert {request.command for _, _, request, _ in REQUESTS} == set(Command)


@pytest.mark.parametrize(
    "turns",
    [
        [(G, NONE)],
        [(G, NONE), (G, b"")],
        [(b"\x05\x02\x00\x02", USER_PASS), (AUTH, AUTHED)],
        [(G2, USER_PASS), (G2, b""), (AUTH, AUTHED)],
        [(G2, USER_PASS), (b"\x01\x01a\x00", AUTHED)],
        [(G2, USER_PASS), (b"\x01\x00\x00", AUTHED)],
        [(G, NONE), (AUTH, AUTHED)],
    ],
)
def test_who_waits_for_an_answer_gets_it_with_the_last_byte(turns: list[tuple[bytes, bytes]]) -> None:
    codec = SocksServer()
    for message, reply in turns:
        codec.receive_data(message[:-1])
        assert codec.data_to_send() == b""
        codec.receive_data(message[-1:])
        assert codec.data_to_send() == reply
    assert codec.receive_data(NAME) is not None


def test_replies_of_a_pipelined_handshake_are_a_queue() -> None:
    codec = SocksServer()
    assert codec.receive_data(G2 + AUTH + five(1, V4)) is not None
    assert codec.data_to_send() == USER_PASS + AUTHED
    assert codec.data_to_send() == b""


def test_the_credentials_are_in_no_repr() -> None:
    request = SocksServer().receive_data(G2 + b"\x01\x06sesame\x06secret" + NAME)
    assert request is not None
    assert request.credentials == creds(b"sesame", b"secret")
    assert "sesame" not in repr(request)
    assert "secret" not in repr(request)


def waiting(data: bytes) -> SocksServer:
    codec = SocksServer()
    assert codec.receive_data(data) is not None
    return codec


@pytest.mark.parametrize("rep", [0x00, 0x01, 0x05, 0xF0, 0xF7, 0xFE])
def test_socks5_gets_rep_as_it_came(rep: int) -> None:
    answer = waiting(G + NAME).reply(Answer(rep, V6, 9))
    assert answer == bytes((5, rep, 0, 4)) + V6.packed + b"\x00\x09"


def test_socks5_gets_the_name_of_resolve_ptr() -> None:
    codec = waiting(G + five(0xF1, V4, 0))
    assert codec.reply(Answer(0, "host.example", 0)) == b"\x05\x00\x00\x03\x0chost.example\x00\x00"


@pytest.mark.parametrize(
    ("data", "answer", "expected"),
    [
        (four(1, "1.2.3.4"), Answer(0, IPv4Address(0), 0), "005a 0000 00000000"),
        (four(1, "1.2.3.4"), Answer(0, IPv4Address("10.9.8.7"), 258), "005a 0102 0a090807"),
        (four(1, "1.2.3.4"), Answer(0, V6, 258), "005a 0000 00000000"),
        (four(1, "1.2.3.4"), Answer(0xF0, V4, 258), "005b 0000 00000000"),
        (four(0xF0, "0.0.0.1", 0, name=b"a"), Answer(0, V4, 0), "005a 0000 01020304"),
        (four(0xF0, "0.0.0.1", 0, name=b"a"), Answer(0, V6, 0), "005b 0000 00000000"),
        (four(0xF0, "0.0.0.1", 0, name=b"a"), Answer(0, "b", 0), "005b 0000 00000000"),
        (four(0xF0, "0.0.0.1", 0, name=b"a"), Answer(4, V4, 0), "005b 0000 00000000"),
    ],
)
def test_socks4_gets_granted_or_rejected(data: bytes, answer: Answer, expected: str) -> None:
    assert waiting(data).reply(answer) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("data", "expected"),
    [(G + NAME, "05 02 00 01 00000000 0000"), (four(1, "1.2.3.4"), "005b 0000 00000000")],
)
def test_refuse(data: bytes, expected: str) -> None:
    assert waiting(data).refuse(Reply.NOT_ALLOWED) == bytes.fromhex(expected)


def test_a_request_is_answered_once_and_nothing_comes_after_it() -> None:
    codec = waiting(G + NAME + b"early")
    codec.refuse(Reply.NOT_ALLOWED)
    assert codec.trailing_data() == b"early"
    for wrong in (lambda: codec.refuse(Reply.NOT_ALLOWED), lambda: codec.receive_data(b"x")):
        with pytest.raises(LocalUsageError):
            wrong()


def test_there_is_no_reply_and_nothing_behind_before_a_request() -> None:
    codec = SocksServer()
    assert codec.receive_data(b"") is None
    assert codec.receive_data(G) is None
    for wrong in (lambda: codec.refuse(Reply.NOT_ALLOWED), codec.trailing_data):
        with pytest.raises(LocalUsageError):
            wrong()


def check_invariant(data: bytes, cuts: list[int]) -> None:
    """Any bytes: a Request, a wait, or ProtocolError; the same however they are split; buffer bounded."""
    codec = SocksServer()
    outcome = feed(codec, split_at(data, cuts))
    assert outcome == feed(SocksServer(), whole(data))
    if outcome.result is None:
        assert len(codec._buffer) <= LIMIT
    elif isinstance(outcome.result, Refused):
        check_dead(codec)
    else:
        assert data.endswith(outcome.trailing)


cut_lists = st.lists(st.integers(0, 900), max_size=6)


@given(conversations(), cut_lists)
def test_a_legal_conversation_gives_its_request(conversation: tuple[bytes, Request], cuts: list[int]) -> None:
    data, request = conversation
    assert feed(SocksServer(), split_at(data, cuts)).result == request
    check_invariant(data, cuts)


@given(mutated(), cut_lists)
def test_a_mutated_conversation(data: bytes, cuts: list[int]) -> None:
    check_invariant(data, cuts)


@given(st.binary(max_size=1200), cut_lists)
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    check_invariant(data, cuts)


@given(st.sampled_from([b"\x04", G, G2, b"\x05", G + b"\x05\x01\x00\x03"]), st.binary(max_size=1200), cut_lists)
def test_any_bytes_behind_a_good_beginning(start: bytes, data: bytes, cuts: list[int]) -> None:
    check_invariant(start + data, cuts)


@pytest.mark.parametrize(
    ("data", "offers"),
    [
        ("05 01 00  05 01 00 01 01020304 0050", "00"),
        ("05 02 00 01  05 01 00 01 01020304 0050", "00 01"),
        ("05 02 00 02  01 04 726f6f74 00  05 01 00 01 01020304 0050", "00 02 empty"),
        ("05 02 00 02  01 01 75 01 70  05 01 00 01 01020304 0050", "00 02"),
        ("05 0a 00 11 12 13 14 15 16 17 18 19  05 01 00 01 01020304 0050", "00 11 12 13 14 15 16 17"),
        ("04 01 0050 01020304 00", ""),
        ("04 01 0050 01020304 726f6f74 00", "userid"),
        ("04 01 0050 00000001 75 00 612e74657374 00", "userid"),
    ],
)
def test_what_programs_differ_in_is_told_and_nothing_of_their_credentials(data: str, offers: str) -> None:
    codec = SocksServer()
    assert codec.receive_data(bytes.fromhex(data)) is not None
    assert codec.offers() == offers
