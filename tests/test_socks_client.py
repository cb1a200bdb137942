"""The upstream leg: what is sent when, every reply in any split, and Tor's lost replies understood.

The bytes called Tor's were measured with tor 0.4.9.11.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from feeding import split_at
from hypothesis import given
from hypothesis import strategies as st
from socks_grammar import CREDENTIALS, NAMES, PORTS, socks5_requests

from shim.errors import LocalUsageError, UpstreamError
from shim.model import Answer, Command, Credentials, Host, Protocol, Request
from shim.protocol.hostname import read_address
from shim.protocol.socks_client import SocksClient
from shim.protocol.socks_server import SocksServer

V4 = IPv4Address("1.2.3.4")
V6 = IPv6Address("2001:db8::1")
NAME = Request(Protocol.SOCKS5, Command.CONNECT, "example.com", 80)
NAME_BYTES = b"\x05\x01\x00\x03\x0bexample.com\x00\x50"
CREDS = Credentials(b"user", b"pw")
AUTH = b"\x01\x04user\x02pw"
G, G2 = b"\x05\x01\x00", b"\x05\x01\x02"
GRANTED = bytes.fromhex("05 00 00 01 00000000 0000")
BLANK = IPv4Address(0)
OK = Answer(0, BLANK, 0)
FRAGMENTS = [b"\x05\x00", b"\x05\x02", b"\x01\x00", GRANTED, b"\x05", b"\x05\xff", b"\x05\x00\x00\x03"]
BEHIND = b"\x05\x00SSH-2.0-x\r\n"


def request(command: Command, host: Host, port: int = 80) -> Request:
    return Request(Protocol.SOCKS5, command, host, port)


# What the client sends first, then pairs of (the upstream's bytes, what is sent because of them), then the last bytes.
ANSWERS: list[tuple[str, Credentials | None, bool, bytes, list[tuple[bytes, bytes]], bytes, Answer]] = [
    ("all in one write", None, True, G + NAME_BYTES, [], b"\x05\x00" + GRANTED, OK),
    ("lock-step", None, False, G, [(b"\x05\x00", NAME_BYTES)], GRANTED, OK),
    ("credentials: the greeting alone, then the rest", CREDS, True, G2, [(b"\x05\x02", AUTH + NAME_BYTES)],
     b"\x01\x00" + GRANTED, OK),
    ("credentials in lock-step", CREDS, False, G2, [(b"\x05\x02", AUTH), (b"\x01\x00", NAME_BYTES)], GRANTED, OK),
    ("empty credentials are credentials", Credentials(b"", b""), True, G2,
     [(b"\x05\x02", b"\x01\x00\x00" + NAME_BYTES)], b"\x01\x00" + GRANTED, OK),
    ("Tor's refusal while parsing, 05 00 lost", None, True, G + NAME_BYTES, [],
     bytes.fromhex("05 02 00 01 00000000 0000"), Answer(2, BLANK, 0)),
    ("Tor's refusal while parsing, 01 00 lost", CREDS, True, G2, [(b"\x05\x02", AUTH + NAME_BYTES)],
     bytes.fromhex("05 01 00 01 00000000 0000"), Answer(1, BLANK, 0)),
    ("success with 01 00 lost", CREDS, True, G2, [(b"\x05\x02", AUTH + NAME_BYTES)], GRANTED, OK),
    ("Tor's refusal of credentials it cannot read, in lock-step", CREDS, False, G2, [(b"\x05\x02", AUTH)],
     bytes.fromhex("05 01 00 01 00000000 0000"), Answer(1, BLANK, 0)),
    ("Tor's refusal on a unix socket", None, True, G + NAME_BYTES, [],
     b"\x05\x00\x05\x02\x00\x04" + bytes(18), Answer(2, IPv6Address(0), 0)),
    ("one of Tor's extended errors", None, True, G + NAME_BYTES, [],
     bytes.fromhex("05 00 05 f4 00 01 00000000 0000"), Answer(0xF4, BLANK, 0)),
    ("a bound IPv4 address", None, True, G + NAME_BYTES, [], bytes.fromhex("05 00 05 00 00 01 01020304 1f90"),
     Answer(0, V4, 8080)),
    ("a bound IPv6 address", None, True, G + NAME_BYTES, [], b"\x05\x00\x05\x00\x00\x04" + V6.packed + b"\x00\x01",
     Answer(0, V6, 1)),
    ("a name, as RESOLVE_PTR gets it", None, True, G + NAME_BYTES, [], b"\x05\x00\x05\x00\x00\x03\x03a.b\x00\x00",
     Answer(0, "a.b", 0)),
    ("an empty name", None, True, G + NAME_BYTES, [], b"\x05\x00\x05\x00\x00\x03\x00\x00\x00", Answer(0, "", 0)),
    ("RSV is nobody's business", None, True, G + NAME_BYTES, [], bytes.fromhex("05 00 05 00 ff 01 00000000 0000"), OK),
    ("a refusal without an address", None, True, G + NAME_BYTES, [], bytes.fromhex("05 00 05 05 00 00"),
     Answer(5, BLANK, 0)),
]  # fmt: skip

FAILURES: list[tuple[str, Credentials | None, bool, bytes, str]] = [
    ("not SOCKS at all", None, True, b"HTTP/1.1 400", "not_socks5"),
    ("SOCKS4", None, True, b"\x00\x5b", "not_socks5"),
    ("it wants credentials", None, True, b"\x05\xff", "no_method"),
    ("it takes no credentials", CREDS, True, b"\x05\xff", "no_method"),
    ("it chooses what was not offered, in lock-step", None, False, b"\x05\x02", "wrong_method"),
    ("it chooses no authentication where credentials were offered", CREDS, True, b"\x05\x00", "wrong_method"),
    ("it refuses the credentials", CREDS, True, b"\x05\x02\x01\x01", "auth_refused"),
    ("the status has a strange version", CREDS, True, b"\x05\x02\x07", "malformed_reply"),
    ("the status has a strange version, two bytes", CREDS, True, b"\x05\x02\x07\x00", "malformed_reply"),
    ("success before the request was sent", CREDS, False, b"\x05\x02\x05\x00", "malformed_reply"),
    ("the reply has a strange version", None, True, b"\x05\x00\x04\x00", "malformed_reply"),
    ("success with a strange ATYP", None, True, bytes.fromhex("05 00 05 00 00 02"), "malformed_reply"),
    ("success with a name of control characters", None, True, b"\x05\x00\x05\x00\x00\x03\x02\x1b[\x00\x00",
     "malformed_reply"),
]  # fmt: skip


def dialogue(codec: SocksClient, first: bytes, steps: list[tuple[bytes, bytes]]) -> None:
    """The handshake up to the upstream's last bytes, byte by byte."""
    assert codec.data_to_send() == first
    assert codec.data_to_send() == b""
    for received, sent in steps:
        for i in range(len(received)):
            assert codec.data_to_send() == b""
            assert codec.receive_data(received[i : i + 1]) is None
        assert codec.data_to_send() == sent


@pytest.mark.parametrize(
    ("sentence", "creds", "pipelining", "first", "steps", "last", "answer"),
    ANSWERS,
    ids=[vector[0] for vector in ANSWERS],
)
def test_answer(
    sentence: str,
    creds: Credentials | None,
    pipelining: bool,
    first: bytes,
    steps: list[tuple[bytes, bytes]],
    last: bytes,
    answer: Answer,
) -> None:
    def start() -> SocksClient:
        codec = SocksClient(NAME, creds, pipelining=pipelining)
        dialogue(codec, first, steps)
        return codec

    codec = start()
    assert codec.receive_data(last) == answer
    assert codec.trailing_data() == b""

    codec = start()
    for i in range(len(last) - 1):
        assert codec.receive_data(last[i : i + 1]) is None
    assert codec.receive_data(last[-1:]) == answer

    codec = start()
    assert codec.receive_data(last + BEHIND) == answer
    assert codec.trailing_data() == BEHIND
    codec.receive_eof()
    with pytest.raises(LocalUsageError):
        codec.receive_data(b"x")


@pytest.mark.parametrize(
    ("sentence", "creds", "pipelining", "received", "code"), FAILURES, ids=[f[0] for f in FAILURES]
)
def test_failure(sentence: str, creds: Credentials | None, pipelining: bool, received: bytes, code: str) -> None:
    for pieces in ([received], split_at(received, range(1, len(received)))):
        codec = SocksClient(NAME, creds, pipelining=pipelining)
        with pytest.raises(UpstreamError) as raised:
            for piece in pieces:
                assert codec.receive_data(piece) is None
        assert raised.value.error == code
        assert codec.trailing_data() == b""
        with pytest.raises(LocalUsageError):
            codec.receive_data(b"\x05")


def test_every_code_of_the_docstring_is_tested_and_no_other() -> None:
    from shim.protocol import socks_client

    _, _, codes = (socks_client.__doc__ or "").partition("UpstreamError.error:")
    documented = {line.split()[0] for line in codes.splitlines() if line.startswith("    ")}
    assert documented == {code for *_, code in FAILURES} | {"closed"}


@pytest.mark.parametrize("received", [b"", b"\x05", b"\x05\x00", b"\x05\x00\x05\x00\x00\x01", b"\x05\x02\x00"])
def test_the_upstream_closes_too_early(received: bytes) -> None:
    codec = SocksClient(NAME, None)
    assert codec.receive_data(received) is None
    with pytest.raises(LocalUsageError):
        codec.trailing_data()
    with pytest.raises(UpstreamError) as raised:
        codec.receive_eof()
    assert raised.value.error == "closed"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (request(Command.CONNECT, V4), "05 01 00 01 01020304 0050"),
        (request(Command.CONNECT, "1.2.3.4"), "05 01 00 03 07 312e322e332e34 0050"),
        (request(Command.CONNECT, V6), "05 01 00 04 20010db8000000000000000000000001 0050"),
        (request(Command.CONNECT, "::1"), "05 01 00 03 03 3a3a31 0050"),
        (request(Command.RESOLVE, "a.b", 0), "05 f0 00 03 03 612e62 0000"),
        (request(Command.RESOLVE, V4, 0), "05 f0 00 01 01020304 0000"),
        (request(Command.RESOLVE_PTR, V4, 0), "05 f1 00 01 01020304 0000"),
        (request(Command.RESOLVE_PTR, "1.2.3.4", 0), "05 f1 00 01 01020304 0000"),
        (request(Command.RESOLVE_PTR, "[::1]", 0), "05 f1 00 04 00000000000000000000000000000001 0000"),
    ],
)
def test_the_host_goes_out_in_the_form_it_has(asked: Request, sent: str) -> None:
    assert SocksClient(asked, None).data_to_send() == G + bytes.fromhex(sent)


def test_the_credentials_are_those_given_and_not_those_of_the_request() -> None:
    asked = Request(Protocol.SOCKS4, Command.CONNECT, "a", 80, Credentials(b"other", b"one"))
    codec = SocksClient(asked, CREDS)
    codec.receive_data(b"\x05\x02")
    assert AUTH in codec.data_to_send()


@pytest.mark.parametrize(
    "asked",
    [
        request(Command.BIND, V4),
        request(Command.UDP_ASSOCIATE, V4),
        request(Command.RESOLVE_PTR, "sentinel.example"),
        request(Command.CONNECT, "sentinel" * 40),
        request(Command.CONNECT, "sentinel.exämple"),
    ],
)
def test_what_cannot_be_sent_is_our_own_fault_and_not_named(asked: Request) -> None:
    with pytest.raises(LocalUsageError) as raised:
        SocksClient(asked, None)
    assert "sentinel" not in str(raised.value)


def test_credentials_that_do_not_fit_are_our_own_fault() -> None:
    with pytest.raises(LocalUsageError):
        SocksClient(NAME, Credentials(b"u" * 256, b""))


def as_sent(asked: Request) -> Host:
    """The host as the other side sees it: RESOLVE_PTR gets its text as an address."""
    if asked.command is Command.RESOLVE_PTR and isinstance(asked.host, str):
        address = read_address(asked.host.encode())
        assert address is not None
        return address
    return asked.host


ANSWER_HOSTS: st.SearchStrategy[Host] = st.one_of(st.ip_addresses(), NAMES, st.just(""))


@given(
    socks5_requests(),
    CREDENTIALS,
    st.booleans(),
    st.builds(Answer, st.integers(0, 255), ANSWER_HOSTS, PORTS),
    st.binary(max_size=20),
    st.lists(st.integers(0, 600), max_size=4),
)
def test_both_sides_back_to_back(
    asked: Request,
    credentials: Credentials | None,
    pipelining: bool,
    answer: Answer,
    behind: bytes,
    cuts: list[int],
) -> None:
    """What goes into one side comes out of the other: the request, the credentials, the answer, the bytes behind."""
    client, server = SocksClient(asked, credentials, pipelining=pipelining), SocksServer()
    arrived = None
    for _ in range(4):  # greeting, auth, request, and one turn to spare
        for piece in split_at(client.data_to_send(), cuts):
            assert arrived is None or not piece
            if piece:
                arrived = server.receive_data(piece)
        if arrived is not None:
            break
        for piece in split_at(server.data_to_send(), cuts):
            assert client.receive_data(piece) is None
    assert arrived == Request(Protocol.SOCKS5, asked.command, as_sent(asked), asked.port, credentials)
    pieces = split_at(server.data_to_send() + server.reply(answer) + behind, cuts)
    got = None
    while got is None:
        got = client.receive_data(pieces.pop(0))
    assert got == answer
    assert client.trailing_data() + b"".join(pieces) == behind


@given(
    CREDENTIALS,
    st.booleans(),
    st.lists(
        st.sampled_from([b"\x05\x00", b"\x05\x02", b"\x01\x00", GRANTED, b"\x05", b"\x05\xff"]) | st.binary(max_size=9)
    ),
    st.lists(st.integers(0, 80), max_size=4),
)
def test_any_bytes(credentials: Credentials | None, pipelining: bool, parts: list[bytes], cuts: list[int]) -> None:
    """Any bytes of an upstream: an Answer, a wait, or UpstreamError; the same in any split; buffer bounded."""
    data = b"".join(parts)
    results = [listen(credentials, pipelining, pieces) for pieces in ([data], split_at(data, cuts))]
    assert results[0] == results[1]


def listen(credentials: Credentials | None, pipelining: bool, pieces: list[bytes]) -> tuple[Answer | str | None, bytes]:
    """What becomes of `pieces`, and all that was sent because of them."""
    codec = SocksClient(NAME, credentials, pipelining=pipelining)
    sent = codec.data_to_send()
    for piece in pieces:
        try:
            answer = codec.receive_data(piece)
        except UpstreamError as error:
            return error.error, sent + codec.data_to_send()
        sent += codec.data_to_send()
        if answer is not None:
            return answer, sent
    assert len(codec._buffer) <= 4 + 1 + 255 + 1  # a reply with the longest name, without its last byte
    return None, sent


@pytest.mark.parametrize("before", [b"", b"\x05"])
@pytest.mark.parametrize("pipelining", [True, False])
def test_the_most_common_answer_means_the_same_however_it_comes(before: bytes, pipelining: bool) -> None:
    common = bytes.fromhex("0500 0500000100000000 0000")
    pieces = [before, common] if before else [common]
    assert listen(None, pipelining, pieces) == listen(None, pipelining, split_at(before + common, range(1, 13)))
