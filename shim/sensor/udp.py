"""DNS by UDP, through asyncio-dgram: one task reads and answers, another sends.

The reader waits for nothing but datagrams, so that the library's receive queue, which has no bound, stays as short as
what the loop reads in one turn; replies that the system does not take yet wait in a queue that has one.
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
"""Replies that wait to be sent; more are dropped, as a full network would do it, and counted."""

_RECEIVE_BYTES = 1 << 20

_Name = tuple[Any, ...]
"""A socket address: host, port, and for IPv6 flow and scope."""


class UdpListener:
    """One UDP socket of the sensor. Run it as a task; cancel it to close."""

    def __init__(self, sock: socket.socket, address: str, responder: Responder) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        self._sock = sock
        self._address = address
        self._responder = responder
        self._outbox: deque[tuple[bytes, _Name]] = deque()
        self._some = asyncio.Event()

    async def run(self) -> None:
        """Answer until cancelled."""
        stream = await asyncio_dgram.from_socket(self._sock)
        assert isinstance(stream, DatagramServer)  # bound, not connected
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(stream), name=f"dns udp {self._address}")
                tasks.create_task(self._write(stream), name=f"dns udp {self._address}, replies")
        finally:
            stream.close()

    async def _read(self, stream: DatagramServer) -> None:
        while True:
            try:
                data, name = await stream.recv()
            except OSError:  # what an earlier send could not deliver: that client's trouble, not the next one's
                continue
            assert isinstance(name, tuple)
            put = partial(self._put, name)
            reply = self._responder.handle(data, Peer(name[0], name[1]), self._address, "udp", put)
            if reply is not None:
                put(reply)

    def _put(self, name: _Name, reply: bytes) -> None:
        if reply and len(self._outbox) >= MAX_WAITING:
            self._responder.unsent.add(Peer(name[0], name[1]))
        elif reply:
            self._outbox.append((reply, name))
            self._some.set()

    async def _write(self, stream: DatagramServer) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            await send_all(stream, self._outbox)


async def send_all(stream: DatagramServer, outbox: deque[tuple[bytes, _Name]]) -> None:
    """Send and remove all that waits, whatever became of earlier replies.

    The library raises the error of an earlier reply here, and then sends nothing: once more, as each is raised once.
    One timer for them all, because one for each costs as much as sending it (measured).
    """
    while outbox:
        reply, name = outbox.popleft()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                while True:
                    await stream.send(reply, name)
                    if not outbox:
                        return
                    reply, name = outbox.popleft()
        except TimeoutError:  # this one was handed over; it is the room for more that nobody waits for any longer
            continue
        except OSError:
            outbox.appendleft((reply, name))
