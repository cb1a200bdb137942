"""DNS by UDP, through asyncio-dgram: one reader a socket, replies sent as they are made.

Each datagram is handled without waiting for anything, so that the library's receive queue, which has no bound, stays
as short as what the loop reads in one turn.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from functools import partial
from typing import Any

import asyncio_dgram
from asyncio_dgram.aio import DatagramServer

from shim.model import Peer
from shim.sensor.responder import Responder

SEND_TIMEOUT_S = 1.0
"""A full buffer empties in microseconds on loopback; longer means that the resume call was lost (cpython#135444)."""

MAX_WAITING = 4096
"""Replies of Tor's that wait to be sent."""

_RECEIVE_BYTES = 1 << 20


class UdpListener:
    """One UDP socket of the sensor. Run it as a task; cancel it to close."""

    def __init__(self, sock: socket.socket, address: str, responder: Responder) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        self._sock = sock
        self._address = address
        self._responder = responder
        self._late: deque[tuple[bytes, tuple[Any, ...]]] = deque(maxlen=MAX_WAITING)
        self._has_late = asyncio.Event()

    async def run(self) -> None:
        """Answer until cancelled."""
        stream = await asyncio_dgram.from_socket(self._sock)
        assert isinstance(stream, DatagramServer)  # bound, not connected
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(stream), name=f"dns udp {self._address}")
                tasks.create_task(self._send_late(stream), name=f"dns udp {self._address}, late replies")
        finally:
            stream.close()

    async def _read(self, stream: DatagramServer) -> None:
        while True:
            try:
                data, name = await stream.recv()
            except OSError:  # what an earlier send could not deliver: that client's trouble, not the next one's
                continue
            assert isinstance(name, tuple)
            peer = Peer(name[0], name[1])
            reply = self._responder.handle(data, peer, self._address, "udp", partial(self._deliver, name))
            if reply is not None:
                await _send(stream, reply, name)

    def _deliver(self, name: tuple[Any, ...], reply: bytes) -> None:
        self._late.append((reply, name))
        self._has_late.set()

    async def _send_late(self, stream: DatagramServer) -> None:
        while True:
            await self._has_late.wait()
            self._has_late.clear()
            while self._late:
                await _send(stream, *self._late.popleft())


async def _send(stream: DatagramServer, reply: bytes, name: tuple[Any, ...]) -> None:
    """Send, whatever became of earlier replies: the library reports their errors here, and then sends nothing."""
    for _ in range(2):
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await stream.send(reply, name)
            return
        except OSError:  # TimeoutError is one, too
            continue
