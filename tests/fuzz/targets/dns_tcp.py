"""Any stream in any cuts is answered as its messages are, at once or late; one that is too long ends the connection."""

from __future__ import annotations

import asyncio
import atexit
from collections import Counter
from ipaddress import IPv4Address
from random import Random
from typing import Any

from fuzz import grammar
from fuzz.tape import pieces
from fuzz.targets.dns import Sensor
from shim.model import Answer, DnsMode
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
        self.over = self.paused = False

    def write(self, data: Any) -> None:
        assert not self.over
        self.written += data

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        self.over = True

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def one_input(data: bytes) -> None:
    """The first byte says how long the pieces are into which the rest is split, the second who answers, and when."""
    if len(data) >= 2:
        late = bool(data[1] & 2)
        said, over = LOOP.run_until_complete(talk(data[2:], data[0] << 4, Sensor(*_who(data[1]))))
        wanted, over_too = expected(data[2:], Sensor(*_who(data[1])))
        assert over == over_too
        if not late:
            assert said == wanted
        elif not over:
            assert sorted(_frames(said)) == sorted(_frames(wanted))
        else:  # who is cut off hears no more of what was late
            assert not Counter(_frames(said)) - Counter(_frames(wanted))


def _who(choice: int) -> tuple[DnsMode, Answer | None, bool]:
    return DnsMode.TOR if choice & 1 else DnsMode.REFUSE, Answer(0, IPv4Address("93.184.216.34"), 0), bool(choice & 2)


def _frames(said: bytes) -> list[bytes]:
    frames = []
    while said:
        end = 2 + int.from_bytes(said[:2], "big")
        frames.append(said[:end])
        said = said[end:]
    return frames


def generate(rng: Random) -> bytes:
    messages = [grammar.dns_query(rng) for _ in range(rng.randint(0, 4))]
    if rng.random() < 0.1:
        messages.append(bytes(MAX_TCP + rng.randint(0, 2)))
    return rng.randbytes(2) + b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def expected(stream: bytes, sensor: Sensor) -> tuple[bytes, bool]:
    """The replies, each behind its length, and whether the connection ends: by the messages alone."""
    said = b""
    while len(stream) >= 2:
        length = int.from_bytes(stream[:2], "big")
        whole = min(length, MAX_TCP + 1)
        message, stream = stream[2 : 2 + whole], stream[2 + whole :]
        if len(message) < whole:
            break
        sensor.events.clear()
        sensor.delivered.clear()
        reply = sensor.ask(message, "tcp")
        said += len(reply).to_bytes(2, "big") + reply if reply else b""
        if length > MAX_TCP:
            return said, True
    return said, False


async def talk(stream: bytes, size: int, sensor: Sensor) -> tuple[bytes, bool]:
    """The same from a connection, whose client sends no more before what is late has come."""
    line = Line()
    listener = TcpListener(None, "127.0.0.1:53", sensor.responder)  # type: ignore[arg-type]
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
    over = line.over
    stays = not over and connection.eof_received()
    assert over or stays == bool(sensor.waiting)
    connection.pause_writing()
    assert line.paused
    connection.resume_writing()
    assert not line.paused
    while sensor.waiting:
        sensor.waiting.pop(0)(sensor.answer)
    assert line.over == (over or stays), "it ends behind its last reply"
    connection.connection_lost(None)
    assert not listener.open
    return line.written, over
