"""DNS by TCP (RFC 7766): messages behind two length octets, any number on one connection, answered in any order."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from shim.model import Peer
from shim.protocol.dns import MAX_TCP
from shim.sensor.responder import Responder

IDLE_TIMEOUT_S = 10.0
"""RFC 7766 section 6.2.3 asks for seconds; a stub that pipelines needs no more."""

MAX_CONNECTIONS = 256
MAX_UNSENT = 64 * 1024
"""Bytes of replies that a client may leave unread before it is cut off."""

_LENGTH_BYTES = 2


class TcpListener:
    """One TCP socket of the sensor. Run it as a task; cancel it to close."""

    def __init__(self, sock: socket.socket, address: str, responder: Responder) -> None:
        self._sock = sock
        self.address = address
        self.responder = responder
        self.open: set[_Connection] = set()

    async def run(self) -> None:
        """Answer until cancelled."""
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), sock=self._sock)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for connection in tuple(self.open):
                connection.cut()


class _Connection(asyncio.Protocol):
    """One client. Cut off when it is idle, does not read its replies, or sends a message that is too long."""

    def __init__(self, listener: TcpListener) -> None:
        self._listener = listener
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._peer = Peer("", 0)
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._peer = Peer(*transport.get_extra_info("peername")[:2])
        self._listener.open.add(self)
        if len(self._listener.open) > MAX_CONNECTIONS:
            self.cut()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._wait()
        while len(self._buffer) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if end > _LENGTH_BYTES + MAX_TCP:
                return self.cut()
            if len(self._buffer) < end:
                return None
            message, self._buffer = self._buffer[_LENGTH_BYTES:end], self._buffer[end:]
            listener = self._listener
            reply = listener.responder.handle(message, self._peer, listener.address, "tcp", self._send)
            if reply is not None:
                self._send(reply)
        return None

    def connection_lost(self, _error: Exception | None) -> None:
        self._listener.open.discard(self)
        self._transport = None
        if self._idle is not None:
            self._idle.cancel()

    def cut(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _send(self, reply: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(len(reply).to_bytes(_LENGTH_BYTES, "big") + reply)
        if transport.get_write_buffer_size() > MAX_UNSENT:
            self.cut()

    def _wait(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_TIMEOUT_S, self.cut)
