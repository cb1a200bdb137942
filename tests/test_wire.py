"""The octets of replies and requests, against RFC 1928, RFC 1929 and what tor sends."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from shim.errors import LocalUsageError
from shim.model import Command, Host, Reply
from shim.protocol import wire
from shim.protocol.http_pages import page

V4 = IPv4Address("192.0.2.7")
V6 = IPv6Address("2001:db8::7")


def test_socks5_refusal_is_what_tor_sends() -> None:
    assert wire.socks5_reply(Reply.NOT_ALLOWED) == bytes.fromhex("05 02 00 01 00000000 0000")


@pytest.mark.parametrize("rep", [0x00, 0x08, 0xF0, 0xF7, 0xFF])
def test_rep_travels_as_it_is(rep: int) -> None:
    assert wire.socks5_reply(rep)[1] == rep


@pytest.mark.parametrize(
    ("host", "octets"),
    [
        (V4, "01 c0000207"),
        (V6, "04 20010db8000000000000000000000007"),
        ("a.b", "03 03 612e62"),
        ("", "03 00"),
        ("192.0.2.7", "03 09 3139322e302e322e37"),
    ],
)
def test_each_kind_of_host_has_its_atyp(host: Host, octets: str) -> None:
    expected = bytes.fromhex(octets)
    assert wire.encode_address(host) == expected
    assert wire.socks5_reply(0, host, 0x1234) == b"\x05\x00\x00" + expected + b"\x12\x34"
    assert wire.encode_request(Command.CONNECT, host, 443) == b"\x05\x01\x00" + expected + b"\x01\xbb"


def test_a_name_of_255_bytes_fits_and_no_more() -> None:
    assert wire.encode_address("a" * 255) == b"\x03\xff" + b"a" * 255
    with pytest.raises(LocalUsageError):
        wire.encode_address("a" * 256)


def test_only_ascii_goes_on_the_wire() -> None:
    with pytest.raises(LocalUsageError) as raised:
        wire.encode_address("büro.example")
    assert "example" not in str(raised.value)


@pytest.mark.parametrize(
    ("command", "code"),
    [(Command.CONNECT, 1), (Command.BIND, 2), (Command.UDP_ASSOCIATE, 3), (Command.RESOLVE, 0xF0),
     (Command.RESOLVE_PTR, 0xF1)],
)  # fmt: skip
def test_commands_have_their_codes(command: Command, code: int) -> None:
    assert wire.encode_request(command, V4, 0)[1] == code


def test_socks4_replies() -> None:
    assert wire.socks4_reply(True) == bytes.fromhex("005a 0000 00000000")
    assert wire.socks4_reply(False) == bytes.fromhex("005b 0000 00000000")
    assert wire.socks4_reply(True, V4, 80) == bytes.fromhex("005a 0050 c0000207")


def test_auth_message() -> None:
    assert wire.encode_auth(b"user", b"pw") == b"\x01\x04user\x02pw"
    assert wire.encode_auth(b"", b"") == b"\x01\x00\x00"
    assert wire.encode_auth(b"u" * 255, b"p" * 255) == b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255


@pytest.mark.parametrize(("username", "password"), [(b"secret" * 50, b""), (b"", b"secret" * 50)])
def test_credentials_that_do_not_fit_are_not_cut_and_not_shown(username: bytes, password: bytes) -> None:
    with pytest.raises(LocalUsageError) as raised:
        wire.encode_auth(username, password)
    assert "secret" not in str(raised.value)


def test_printable() -> None:
    assert wire.printable(b"a!~") == "a!~"
    assert wire.printable(b"") == ""
    for raw in (b"a b", b"a\x00", b"\x7f", b"\x80", b"\x1b[2J"):
        assert wire.printable(raw) is None


@pytest.mark.parametrize("answer", [wire.HTTP_HINT_PAGE, page(405, "No.", "Allow: CONNECT")])
def test_a_page_is_whole_http(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))
    assert b"Content-Length: %d" % len(body) in lines
    assert b"Connection: close" in lines
    assert body.endswith(b"\n")


def test_the_hint_tells_what_to_do() -> None:
    assert b"SOCKS" in wire.HTTP_HINT_PAGE
    assert b"socks5h://" in wire.HTTP_HINT_PAGE
