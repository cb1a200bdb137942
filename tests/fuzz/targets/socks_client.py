"""Any bytes of an upstream: an Answer to pass on, a wait, or UpstreamError; the same in any split; buffer bounded."""

from __future__ import annotations

from random import Random

from fuzz import grammar
from fuzz.tape import pieces
from shim.errors import UpstreamError
from shim.model import Answer, Command, Credentials, Protocol, Request
from shim.protocol.http_connect import HttpConnectServer
from shim.protocol.socks_client import SocksClient
from shim.protocol.socks_server import SocksServer

COVERS = ("shim.protocol.socks_client",)

LIMIT = 4 + 1 + 255 + 1
REQUEST = Request(Protocol.SOCKS5, Command.CONNECT, "example.com", 80)
CREDENTIALS = (None, Credentials(b"user", b"password"))
CLIENTS = (
    (SocksServer, b"\x05\x01\x00\x05\xf1\x00\x01\x01\x02\x03\x04\x00\x00"),
    (SocksServer, b"\x04\xf0\x00\x50\x00\x00\x00\x01\x00a.test\x00"),
    (HttpConnectServer, b"CONNECT a.test:443 HTTP/1.1\r\n\r\n"),
)
"""Who may have asked: clients of each protocol."""


def one_input(data: bytes) -> None:
    """The first byte says how long the pieces are, the second which kind of handshake it is."""
    if len(data) >= 2:
        assert outcome(data[2:], data[0], data[1]) == outcome(data[2:], 0, data[1])


def generate(rng: Random) -> bytes:
    return rng.randbytes(2) + grammar.socks_upstream(rng) + grammar.field(rng, 20)


def outcome(stream: bytes, size: int, kind: int) -> object:
    """What the codec makes of `stream` in pieces of `size` bytes."""
    codec = SocksClient(REQUEST, CREDENTIALS[kind & 1], pipelining=bool(kind & 2))
    sent = codec.data_to_send()
    for piece, behind in pieces(stream, size):
        try:
            answer = codec.receive_data(piece)
        except UpstreamError as error:
            return error.error, sent + codec.data_to_send()
        sent += codec.data_to_send()
        if answer is not None:
            return answer, sent, passed_on(answer), codec.trailing_data() + behind
        assert len(codec._buffer) <= LIMIT
    try:
        codec.receive_eof()
    except UpstreamError as error:
        return error.error, sent
    raise AssertionError("an answer that is not complete is no answer")


def passed_on(answer: Answer) -> tuple[bytes, ...]:
    """What clients are told of it."""
    told = []
    for kind, said in CLIENTS:
        client = kind()
        assert client.receive_data(said) is not None
        told.append(client.reply(answer))
    assert told[0][1] == answer.reply
    assert len(told[1]) == 8
    return tuple(told)
