"""What a client's first bytes tell, however they are split, and whatever they are."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.protocol.first_bytes import MAX_HELD, OTHER, FirstBytes, FirstBytesReader


def client_hello(name: str | None) -> bytes:
    """A real ClientHello of OpenSSL's."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def made_hello(extensions: bytes) -> bytes:
    """A ClientHello message with these extensions, without its record."""
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += len(extensions).to_bytes(2, "big") + extensions
    return b"\x01" + len(body).to_bytes(3, "big") + body


def records(message: bytes, size: int) -> bytes:
    """The message in records of `size` bytes."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


def server_name(name: bytes) -> bytes:
    entry = b"\x00" + len(name).to_bytes(2, "big") + name
    return extension(0, len(entry).to_bytes(2, "big") + entry)


PADDING = extension(21, bytes(1800))
ECH = extension(0xFE0D, bytes(40))
TLS = FirstBytes("tls", "www.example.com")

VECTORS = [
    ("OpenSSL's ClientHello", client_hello("www.Example.com"), TLS),
    ("TLS without SNI: an address was dialled", client_hello(None), FirstBytes("tls")),
    (
        "SNI behind 1,800 bytes, as a post-quantum hello has it",
        records(made_hello(PADDING + server_name(b"www.example.com")), 9999),
        TLS,
    ),
    ("a hello in records of 100 bytes", records(made_hello(PADDING + server_name(b"www.example.com")), 100), TLS),
    ("an address in the SNI", records(made_hello(server_name(b"192.0.2.1")), 999), FirstBytes("tls", None, True)),
    (
        "a name with an ECH extension",
        records(made_hello(server_name(b"www.example.com") + ECH), 999),
        FirstBytes("tls", "www.example.com", False, True),
    ),
    ("no host name in the SNI", records(made_hello(server_name(b"not a name")), 999), FirstBytes("tls")),
    ("an SNI too long for a name", records(made_hello(server_name(b"a." * 150 + b"test")), 999), FirstBytes("tls")),
    ("an SNI of another type", records(made_hello(extension(0, b"\x00\x04\x01\x00\x01a")), 999), FirstBytes("tls")),
    ("an SNI that is cut short", records(made_hello(extension(0, b"\x00")), 999), FirstBytes("tls")),
    (
        "a hello without extensions",
        records(b"\x01\x00\x00\x29" + b"\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00", 999),
        FirstBytes("tls"),
    ),
    ("a hello that ends in its first fields", records(b"\x01\x00\x00\x02\x03\x03", 999), OTHER),
    ("another handshake message", records(b"\x02\x00\x00\x00", 999), OTHER),
    ("a record of no TLS version", b"\x16\x09\x01\x00\x01\x01", OTHER),
    ("an empty record", b"\x16\x03\x01\x00\x00\x00", OTHER),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: www.example.com\r\n", FirstBytes("http", "www.example.com")),
    (
        "HTTP with a port, in odd letters",
        b"POST /x HTTP/1.1\r\nA: b\r\nhOST:  WWW.example.com:8080 \r\n",
        FirstBytes("http", "www.example.com"),
    ),
    ("HTTP to an address", b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n", FirstBytes("http", None, True)),
    ("HTTP to an IPv6 address", b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n", FirstBytes("http", None, True)),
    ("HTTP to an address with a dot", b"GET / HTTP/1.1\r\nHost: 192.0.2.1.\r\n", FirstBytes("http", None, True)),
    ("HTTP to a number", b"GET / HTTP/1.1\r\nHost: 2130706433:80\r\n", FirstBytes("http", None, True)),
    ("HTTP to half an address", b"GET / HTTP/1.1\r\nHost: 0x7f.1\r\n", FirstBytes("http", None, True)),
    ("HTTP to a name with numbers", b"GET / HTTP/1.1\r\nHost: 1.a1\r\n", FirstBytes("http", "1.a1")),
    ("HTTP with nonsense for a host", b"GET / HTTP/1.1\r\nHost: a b\r\n", FirstBytes("http")),
    ("HTTP without Host", b"GET / HTTP/1.0\r\n\r\n", OTHER),
    ("HTTP with spaces about its host", b"GET / HTTP/1.1\r\nHost: \t a.test \t\r\n", FirstBytes("http", "a.test")),
    ("HTTP with a host behind its head", b"POST / HTTP/1.1\r\n\r\nx\r\nHost: a.test\r\n", OTHER),
    ("SSH", b"SSH-", OTHER),
    ("SMTP's EHLO", b"EHLO a\r\n\r\n", OTHER),
    ("SOCKS", b"\x05", OTHER),
    ("more capitals than a method has", b"ABCDEFGHIJKLMNOPQ", OTHER),
    ("as many as the longest has", b"ABCDEFGHIJKLMNOP /\r\nHost: a.test\r\n", FirstBytes("http", "a.test")),
]


@pytest.mark.parametrize(("sentence", "wire", "expected"), VECTORS, ids=[vector[0] for vector in VECTORS])
class TestThreeWays:
    def test_whole(self, sentence: str, wire: bytes, expected: FirstBytes) -> None:
        assert FirstBytesReader().feed(wire) == expected

    def test_byte_by_byte_gives_the_same_and_nothing_before(
        self, sentence: str, wire: bytes, expected: FirstBytes
    ) -> None:
        reader = FirstBytesReader()
        answers = [reader.feed(wire[at : at + 1]) for at in range(len(wire))]
        first = next(answer for answer in answers if answer is not None)
        assert first == expected

    def test_with_bytes_behind(self, sentence: str, wire: bytes, expected: FirstBytes) -> None:
        assert FirstBytesReader().feed(wire + b"behind\r\n\r\n") == expected


def test_nothing_says_nothing() -> None:
    assert FirstBytesReader().feed(b"") is None


def test_no_more_than_the_limit_is_held() -> None:
    reader = FirstBytesReader()
    assert reader.feed(b"GET / HTTP/1.1\r\nCookie: ") is None
    assert reader.feed(bytes(MAX_HELD)) is OTHER


def test_a_host_of_spaces_is_read_once() -> None:
    """It took the time of their number to the third power."""
    assert FirstBytesReader().feed(b"GET / HTTP/1.1\r\nHost:" + b" " * (MAX_HELD - 30)) is None


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_are_an_answer_or_a_wait(data: bytes, size: int) -> None:
    reader = FirstBytesReader()
    for at in range(0, len(data), size):
        if reader.feed(data[at : at + size]) is not None:
            return


@given(st.data())
def test_a_mutated_hello_is_an_answer_or_a_wait(data: st.DataObject) -> None:
    wire = bytearray(records(made_hello(PADDING[:50] + server_name(b"www.example.com") + ECH), 60))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    found = FirstBytesReader().feed(bytes(wire))
    assert found is None or found.protocol in ("tls", "other", "http")


def test_a_hello_in_one_byte_records() -> None:
    wire = records(made_hello(PADDING + server_name(b"www.example.com")), 1)
    reader = FirstBytesReader()
    assert [reader.feed(wire[at : at + 1000]) for at in range(0, len(wire), 1000)][-1] == TLS
