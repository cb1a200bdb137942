"""Any bytes: an answer or a wait, a name only if it is one; the same in any split, up to what is held at all."""

from __future__ import annotations

from random import Random

from fuzz import grammar
from fuzz.tape import pieces
from shim.protocol.first_bytes import MAX_HELD, FirstBytes, FirstBytesReader
from shim.protocol.hostname import is_valid_hostname, read_address

COVERS = ("shim.protocol.first_bytes",)


def one_input(data: bytes) -> None:
    """The first byte says how long the pieces are into which the rest is split."""
    stream = data[1:MAX_HELD]
    if stream:
        assert outcome(stream, max(data[0], len(stream) // 64)) == outcome(stream, 0)


def generate(rng: Random) -> bytes:
    said = grammar.client_hello(rng) if rng.random() < 0.6 else grammar.http_request(rng)
    return rng.randbytes(1) + said + grammar.field(rng, 20)


def outcome(stream: bytes, size: int) -> FirstBytes | None:
    """The first answer."""
    reader = FirstBytesReader()
    for piece, _ in pieces(stream, size):
        found = reader.feed(piece)
        if found is not None:
            _check(found)
            return found
    assert len(stream) < MAX_HELD
    return None


def _check(found: FirstBytes) -> None:
    if found.name is not None:
        raw = found.name.encode("ascii")
        assert not found.address
        assert is_valid_hostname(raw)
        assert read_address(raw) is None
        assert raw == raw.lower()
