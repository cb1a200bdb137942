"""DNS by UDP: one task reads, through asyncio-dgram, and answers; another sends.

The reader waits for nothing but datagrams, so that the library's receive queue, which has no bound, stays as short as
what the loop reads in one turn; replies that the system does not take yet wait in a queue that has one.

Never sends through the library: that is sendmsg(2), which takes control messages along, and with one (IP_PKTINFO) a
socket that is bound to 127.0.0.1 reaches any machine (measured on Linux 6.18). So in the sandbox there is none.
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

MAX_WAITING = 4096
"""Replies that wait to be sent; more are dropped, as a full network would do it, and counted."""

ROOM_S = 0.001
"""How soon a full send buffer is tried again. It hardly ever is full. To be told when there is room would take another
descriptor, since the library has the loop watch this one; and there may be none.
"""

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
                tasks.create_task(self._write(), name=f"dns udp {self._address}, replies")
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

    async def _write(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            await send_all(self._sock, self._outbox)


async def send_all(sock: socket.socket, outbox: deque[tuple[bytes, _Name]]) -> None:
    """Send and remove all that waits, whatever becomes of each."""
    while outbox:
        reply, name = outbox.popleft()
        try:
            sock.sendto(reply, socket.MSG_DONTWAIT, name)
        except BlockingIOError:
            outbox.appendleft((reply, name))
            await asyncio.sleep(ROOM_S)
        except OSError:  # that client's trouble, not the next one's
            continue
