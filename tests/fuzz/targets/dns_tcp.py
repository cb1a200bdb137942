"""Any stream in any cuts is answered as its messages are, one by one; one that is too long ends the connection."""

from __future__ import annotations

import asyncio
import atexit
from random import Random
from typing import Any

from fuzz import grammar
from fuzz.tape import pieces
from fuzz.targets.dns import PEER, Sensor
from shim.model import DnsMode
from shim.protocol.dns import MAX_TCP
from shim.sensor.tcp import TcpListener, _Connection

COVERS = ("shim.sensor.tcp",)

LOOP = asyncio.new_event_loop()
atexit.register(LOOP.close)


class Line(asyncio.Transport):
    """The transport's edge: what was written, and whether it is over."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5353)})
        self.written = b""
        self.over = False

    def write(self, data: Any) -> None:
        assert not self.over
        self.written += data

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        self.over = True

    abort = close


def one_input(data: bytes) -> None:
    """The first byte says how long the pieces are into which the rest is split."""
    if data:
        said, over = LOOP.run_until_complete(talk(data[1:], data[0] << 4))
        assert (said, over) == expected(data[1:])


def generate(rng: Random) -> bytes:
    messages = [grammar.dns_query(rng) for _ in range(rng.randint(0, 4))]
    if rng.random() < 0.1:
        messages.append(bytes(MAX_TCP + rng.randint(0, 2)))
    return rng.randbytes(1) + b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def expected(stream: bytes) -> tuple[bytes, bool]:
    """The replies, each behind its length, and whether the connection ends: by the messages alone."""
    said, responder = b"", Sensor(DnsMode.REFUSE, None, False).responder
    while len(stream) >= 2:
        length = int.from_bytes(stream[:2], "big")
        whole = min(length, MAX_TCP + 1)
        message, stream = stream[2 : 2 + whole], stream[2 + whole :]
        if len(message) < whole:
            break
        reply = responder.handle(message, PEER, "127.0.0.1:53", "tcp", _late)
        assert reply is not None
        said += len(reply).to_bytes(2, "big") + reply if reply else b""
        if length > MAX_TCP:
            return said, True
    return said, False


def _late(_reply: bytes) -> None:
    raise AssertionError("nobody else is asked")


async def talk(stream: bytes, size: int) -> tuple[bytes, bool]:
    """The same from a connection."""
    line, responder = Line(), Sensor(DnsMode.REFUSE, None, False).responder
    listener = TcpListener(None, "127.0.0.1:53", responder)  # type: ignore[arg-type]
    connection = _Connection(listener)
    connection.connection_made(line)
    for piece, _ in pieces(stream, size):
        while piece and not line.over:
            room = connection.get_buffer(-1)
            assert room
            taken = min(len(room), len(piece))
            room[:taken] = piece[:taken]
            connection.buffer_updated(taken)
            piece = piece[taken:]
    assert line.over or not connection.eof_received()
    over = line.over
    connection.connection_lost(None)
    assert not listener.open
    return line.written, over
