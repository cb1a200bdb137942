"""Any bytes: a Request that can be sent on, a wait, or ProtocolError; the same in any split; buffer bounded."""

from __future__ import annotations

from random import Random

from fuzz import grammar
from fuzz.tape import pieces
from shim.errors import ProtocolError
from shim.model import Command, Reply, Request
from shim.protocol.socks_client import SocksClient
from shim.protocol.socks_server import SocksServer

COVERS = ("shim.protocol.socks_server", "shim.protocol.socks4", "shim.protocol.wire")

LIMIT = 8 + 510 + 1 + 255
LONGEST_OFFER = 8 * 3 + len(" empty")
UPSTREAM = (Command.CONNECT, Command.RESOLVE, Command.RESOLVE_PTR)


def one_input(data: bytes) -> None:
    """The first byte says how long the pieces are into which the rest is split."""
    if data:
        assert outcome(data[1:], data[0]) == outcome(data[1:], 0)


def generate(rng: Random) -> bytes:
    return rng.randbytes(1) + grammar.socks_client(rng) + grammar.field(rng, 20)


def outcome(stream: bytes, size: int) -> object:
    """What the codec makes of `stream` in pieces of `size` bytes."""
    codec, sent = SocksServer(), b""
    for piece, behind in pieces(stream, size):
        try:
            request = codec.receive_data(piece)
        except ProtocolError as error:
            return error.error, error.reply, error.protocol, sent + codec.data_to_send()
        sent += codec.data_to_send()
        if request is not None:
            offers = codec.offers()
            assert offers.isascii()
            assert len(offers) <= LONGEST_OFFER
            check_upstream(request)
            return request, sent, offers, codec.refuse(Reply.NOT_ALLOWED), codec.trailing_data() + behind
        assert len(codec._buffer) <= LIMIT
    return sent


def check_upstream(request: Request) -> None:
    """What is sent upstream, read again, is the same request."""
    if request.command not in UPSTREAM:
        return
    codec, again, client = SocksClient(request, request.credentials), SocksServer(), None
    client = again.receive_data(codec.data_to_send())
    if client is None:  # in steps, because of the credentials
        codec.receive_data(again.data_to_send())
        client = again.receive_data(codec.data_to_send())
    assert client is not None
    assert (client.command, client.port, client.credentials) == (request.command, request.port, request.credentials)
    assert str(client.host) == str(request.host) or request.command is Command.RESOLVE_PTR
