"""DNS by TCP (RFC 7766): messages behind two length octets, any number on one connection, answered in any order.

Reads a bounded piece at a time, and nothing from a client that does not read its replies.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from shim.model import Peer
from shim.protocol.dns import FOREIGN, MAX_TCP
from shim.sensor.responder import Responder

IDLE_TIMEOUT_S = 10.0
"""RFC 7766 section 6.2.3 asks for seconds. Counts from the last whole message, so that dripping does not help."""

MAX_CONNECTIONS = 256

_LENGTH_BYTES = 2
_TELLING = max(map(len, FOREIGN))
"""So many bytes tell what is spoken; no query is shorter."""

_TOO_LONG = MAX_TCP + 1
"""As much of a message beyond the limit as is read: the gate then refuses it, and still reads its name."""


class TcpListener:
    """One TCP socket of the sensor. Run it as a task; cancel it to close."""

    def __init__(
        self, sock: socket.socket, address: str, responder: Responder, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        self._sock = sock
        self.address = address
        self.responder = responder
        self.idle_timeout_s = idle_timeout_s
        self.open: dict[_Connection, None] = {}
        """Who was busy last comes last. A loop's clock would not tell: uvloop's stands still for a millisecond."""

    def admit(self, connection: _Connection) -> None:
        """Take it in. If that is one too many, who has been idle for longest makes way, but nobody who waits for Tor.

        Else a few programs that ask now and then could keep all others out for ever.
        """
        self.open[connection] = None
        if len(self.open) > MAX_CONNECTIONS:
            next((each for each in self.open if not each.waits), connection).cut()

    def busy(self, connection: _Connection) -> None:
        """It has asked, or was answered: of all that are open, it is idle for the shortest time."""
        if connection in self.open:
            del self.open[connection]
            self.open[connection] = None

    async def run(self) -> None:
        """Answer until cancelled."""
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), sock=self._sock)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for connection in tuple(self.open):
                connection.cut()


class _Connection(asyncio.BufferedProtocol):
    """One client. Cut off when it is idle, or when there are too many."""

    def __init__(self, listener: TcpListener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(_LENGTH_BYTES + _TOO_LONG)
        self._filled = 0
        self._heard = False  # what it says first
        self._transport: asyncio.Transport | None = None
        self._peer = Peer("", 0)
        self._busy_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._pending = 0  # queries that Tor has yet to answer
        self._ended = False  # the client will send no more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        name = transport.get_extra_info("peername")
        if not name:
            return self.cut()
        self._peer = Peer(*name[:2])
        self._listener.admit(self)
        return self._look()

    @property
    def waits(self) -> bool:
        """For Tor to answer a query."""
        return self._pending > 0

    def get_buffer(self, _hint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, count: int) -> None:
        """Answer what is whole: at most as many messages as the buffer holds, then it is the others' turn."""
        filled = self._filled + count
        start = 0
        if not self._heard and filled >= _TELLING:
            self._heard = True
            if self._buffer.startswith(FOREIGN):
                return self._refuse()
        while (whole := start + _LENGTH_BYTES) <= filled:
            length = int.from_bytes(self._buffer[start:whole])
            end = whole + min(length, _TOO_LONG)
            if filled < end:
                break
            self._answer(bytes(self._buffer[whole:end]))
            start = end
            if length > MAX_TCP:  # where the next one begins is too far away
                return self._hang_up()
        self._filled = filled - start
        self._buffer[: self._filled] = self._buffer[start:filled]
        return None

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """True keeps the connection for the replies that are still to come."""
        self._ended = True
        return self._pending > 0

    def connection_lost(self, _error: Exception | None) -> None:
        self._listener.open.pop(self, None)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def cut(self) -> None:
        """Close at once."""
        self._listener.open.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self) -> None:
        """Silence until a deadline would tell a web page that something listens here."""
        self._answer(b"")
        self._hang_up()

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _answer(self, message: bytes) -> None:
        listener = self._listener
        self._is_busy()
        reply = listener.responder.handle(message, self._peer, listener.address, "tcp", self._deliver)
        if reply is None:
            self._pending += 1
        else:
            self._send(reply)

    def _deliver(self, reply: bytes) -> None:
        """A late one. It may come before `_answer` knows that it is late."""
        self._pending -= 1
        self._is_busy()
        self._send(reply)
        if self._ended and not self._pending:
            self._hang_up()

    def _is_busy(self) -> None:
        self._busy_at = self._loop.time()
        self._listener.busy(self)

    def _send(self, reply: bytes) -> None:
        if reply and self._transport is not None and not self._transport.is_closing():
            self._transport.write(len(reply).to_bytes(_LENGTH_BYTES) + reply)

    def _look(self) -> None:
        """Cut when idle for too long. One timer, which goes on as long as the connection: none for each message."""
        timeout_s = self._listener.idle_timeout_s
        left = self._busy_at + timeout_s - self._loop.time()
        if left > 0 or self._pending > 0:
            self._timer = self._loop.call_later(left if left > 0 else timeout_s, self._look)
        else:
            self.cut()
