"""Any bytes: a Request that can be sent on, a wait, or ProtocolError; the same in any split; buffer bounded."""

from __future__ import annotations

from random import Random

from fuzz import grammar
from fuzz.tape import pieces
from fuzz.targets.socks_server import check_upstream
from shim.errors import ProtocolError
from shim.model import Reply
from shim.protocol.http_connect import MAX_HEAD, HttpConnectServer

COVERS = ("shim.protocol.http_connect",)


def one_input(data: bytes) -> None:
    """The first byte says how long the pieces are into which the rest is split."""
    if data:
        assert outcome(data[1:], data[0]) == outcome(data[1:], 0)


def generate(rng: Random) -> bytes:
    return rng.randbytes(1) + grammar.connect_head(rng) + grammar.field(rng, 20)


def outcome(stream: bytes, size: int) -> object:
    """What the codec makes of `stream` in pieces of `size` bytes."""
    codec = HttpConnectServer()
    for piece, behind in pieces(stream, size):
        try:
            request = codec.receive_data(piece)
        except ProtocolError as error:
            return error.error, error.reply, error.protocol
        if request is not None:
            check_upstream(request)
            return request, codec.refuse(Reply.NOT_ALLOWED), codec.trailing_data() + behind
        assert len(codec._buffer) < MAX_HEAD
    return None
