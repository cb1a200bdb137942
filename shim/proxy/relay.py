"""Moves the bytes of one tunnel, both ways: copied at first, spliced through a borrowed pipe once it is bulk.

Knows no protocol. Half-close is kept: the end of one direction is passed on after its last byte, and the other
direction goes on. Bytes that the receiver does not take stop the reading of the sender (backpressure).
"""

from __future__ import annotations

import os
import socket
import struct
from _socket import socket as Socket
from collections.abc import Callable
from typing import NamedTuple

from shim.proxy.pipes import Pipe, PipePool
from shim.proxy.plane import BUFFER_BYTES, Plane, Ticket
from shim.proxy.poller import BROKEN, ERR, IN, OUT, Handler
from shim.proxy.wheel import TICK_S, Slot

SPLICE_AFTER = 256 * 1024
"""Bytes a direction copies before it splices: small flows never pay for a pipe and for non-blocking mode."""

TURN_BYTES = 1 << 20
"""Spliced in a row, at most, before the other sockets get their turn."""

_DONTWAIT = socket.MSG_DONTWAIT
_SPLICE_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_UNWATCHED = 1 << 30
"""In place of a mask: not in the poll set at all. Has none of its bits."""


class Side(NamedTuple):
    """Why a tunnel ends, when this side is the one that ends it."""

    closed: str
    reset: str


CLIENT = Side("client_closed", "client_reset")
UPSTREAM = Side("upstream_closed", "upstream_reset")


class Direction:
    """One way of a tunnel. At most one of `pending` and `pipe` holds bytes that the sink has not taken yet.

    While one does, the way is stalled: its source is not read.
    """

    __slots__ = ("bulk", "count", "done", "ended", "overhear", "pending", "pipe", "side", "sink", "source")

    def __init__(self, source: Socket, sink: Socket, side: Side, count: int, pending: bytes) -> None:
        self.source = source
        self.sink = sink
        self.side = side
        """Of the source."""
        self.count = count
        """Bytes that the sink has taken."""
        self.pending = pending
        self.pipe: Pipe | None = None
        self.overhear: Callable[[bytes], bool] | None = None
        """Is shown what passes until it says that it has heard enough."""
        self.bulk = False
        """Spliced from now on."""
        self.ended = False
        """The source has sent its last byte."""
        self.done = False
        """The sink has been told so."""


class Tunnel:
    """Two directions over two sockets, from the reply on until both have ended."""

    __slots__ = ("_client_mask", "_down", "_plane", "_seen", "_slot", "_ticket", "_up", "_upstream_mask")

    def __init__(self, plane: Plane, ticket: Ticket, up: Direction, down: Direction) -> None:
        self._plane = plane
        self._ticket: Ticket | None = ticket
        self._up = up
        self._down = down
        self._client_mask = self._upstream_mask = IN
        self._seen = plane.wheel.now
        self._slot: Slot | None = None

    def start(self, client_mask: int) -> None:
        """Take over both sockets: the client's is registered for `client_mask`, the upstream's for IN."""
        plane = self._plane
        self._client_mask = client_mask
        plane.poller.rebind(self._up.source.fileno(), self.on_client)
        plane.poller.rebind(self._down.source.fileno(), self.on_upstream)
        if idle := plane.quota.limits.idle_timeout_s:
            self._slot = plane.wheel.add(self, idle)
        self._drain(self._down)
        up = self._up
        if up.pending and self._ticket is not None:
            if up.overhear is not None and up.overhear(up.pending):
                up.overhear = None
            self._drain(up)

    # A socket is the source of one direction and the sink of the other: one event may concern both. This is where most
    # of a tunnel's time goes, so what could be a small method of its own is spelt out here and below.

    def on_client(self, events: int) -> None:
        """The client's socket is ready."""
        if events & OUT:
            self._drain(self._down)
        if events & ~OUT:
            if self._client_mask & IN:
                self._read(self._up)
            elif events & BROKEN:
                self._broken(self._up, events)

    def on_upstream(self, events: int) -> None:
        """The upstream's socket is ready."""
        if events & OUT:
            self._drain(self._up)
        if events & ~OUT:
            if self._upstream_mask & IN:
                self._read(self._down)
            elif events & BROKEN:
                self._broken(self._down, events)

    def expire(self) -> None:
        """The idle deadline: close if nothing has moved since, else look again later."""
        idle = self._plane.quota.limits.idle_timeout_s
        quiet = (self._plane.wheel.now - self._seen) * TICK_S
        if not idle:  # switched off meanwhile
            self._slot = None
        elif quiet >= idle:
            self.abort("timeout")
        else:
            self._slot = self._plane.wheel.add(self, idle - quiet)

    def abort(self, reason: str) -> None:
        """End both ways at once. The survivor sees a reset, so that what it has is not taken for the whole."""
        if self._ticket is not None:
            for way in (self._up, self._down):
                if not way.done:
                    way.sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._close(reason)

    def _broken(self, way: Direction, events: int) -> None:
        """The source is gone while it was not being read. The poll set reports that for ever: it cannot be masked."""
        if self._ticket is None:  # the same event said OUT, and serving that has ended the tunnel
            return
        if events & ERR:
            self.abort(way.side.reset)
        elif way.ended:  # a unix peer closed for good: nobody is left to take the other direction's bytes
            self.abort(way.side.closed)
        else:  # both ends are shut, but bytes of the source are still to be read once the sink takes some
            fd = way.source.fileno()
            self._plane.poller.unwatch(fd)
            if way is self._up:
                self._client_mask = _UNWATCHED
            else:
                self._upstream_mask = _UNWATCHED

    def _read(self, way: Direction) -> None:
        plane = self._plane
        self._seen = plane.wheel.now
        if way.bulk and plane.pipes is not None and (pipe := plane.pipes.borrow()) is not None:
            return self._splice(way, plane.pipes, pipe)
        # A small flow; or no descriptors or pages are left for a pipe.
        try:
            n = way.source.recv_into(plane.buffer, BUFFER_BYTES, _DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            return self.abort(way.side.reset)
        if not n:
            return self._end(way)
        if way.overhear is not None and way.overhear(bytes(plane.view[:n])):
            way.overhear = None
        try:
            sent = way.sink.send(plane.view[:n], _DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self.abort(self._opposite(way).side.reset)
        way.count += sent
        if sent < n:
            way.pending = bytes(plane.view[sent:n])
            self._watch()
        elif way.count >= SPLICE_AFTER and plane.pipes is not None and not way.bulk:
            way.bulk = True
            # splice(2) obeys the descriptors' O_NONBLOCK, not its own flag (measured: it stops the whole process).
            way.source.setblocking(False)
            way.sink.setblocking(False)

    def _splice(self, way: Direction, pipes: PipePool, pipe: Pipe) -> None:
        failed = self._through(way, pipe)
        if pipe.held:
            way.pipe = pipe
        else:
            pipes.give_back(pipe)
        if failed is not None:
            self.abort(failed)
        elif way.pipe is not None:
            self._watch()
        elif way.ended:
            self._end(way)

    def _through(self, way: Direction, pipe: Pipe) -> str | None:
        """Splice until the source is empty or the sink full; the reason to abort, if there is one."""
        source, sink = way.source.fileno(), way.sink.fileno()
        step = pipe.capacity
        for _ in range(TURN_BYTES // step):
            try:
                pipe.held = n = os.splice(source, pipe.writer, step, flags=_SPLICE_FLAGS)
            except BlockingIOError:
                return None
            except OSError:
                return way.side.reset
            if not n:
                way.ended = True
                return None
            try:
                self._unload(way, pipe, sink)
            except BlockingIOError:
                return None
            except OSError:
                return self._opposite(way).side.reset
            if pipe.held or n < BUFFER_BYTES:  # full sink, or a source that is most likely empty now
                return None
        return None

    def _unload(self, way: Direction, pipe: Pipe, sink: int) -> None:
        n = os.splice(pipe.reader, sink, pipe.held, flags=_SPLICE_FLAGS)
        pipe.held -= n
        way.count += n

    def _drain(self, way: Direction) -> None:
        """Give the sink what waits for it; when nothing does any more, the source is read again."""
        self._seen = self._plane.wheel.now
        try:
            if way.pending:
                n = way.sink.send(way.pending, _DONTWAIT)
                way.count += n
                way.pending = way.pending[n:]
            elif way.pipe is not None:
                self._unload(way, way.pipe, way.sink.fileno())
                self._return_empty(way)
        except BlockingIOError:
            pass
        except OSError:
            return self.abort(self._opposite(way).side.reset)
        # Mostly these are a tunnel's first bytes: nothing waits, and all is watched as it was.
        if way.pending or way.pipe or not self._client_mask == IN == self._upstream_mask:
            self._watch()

    def _return_empty(self, way: Direction) -> None:
        pipes = self._plane.pipes
        if pipes is not None and way.pipe is not None and not way.pipe.held:
            pipes.give_back(way.pipe)
            way.pipe = None

    def _end(self, way: Direction) -> None:
        """The source has ended and the sink has everything: tell it, or close if the other way is through as well."""
        way.ended = way.done = True
        opposite = self._opposite(way)
        if opposite.done:
            self._close(opposite.side.closed)
            return
        try:
            way.sink.shutdown(socket.SHUT_WR)
        except OSError:
            return self.abort(opposite.side.reset)
        self._watch()

    def _opposite(self, way: Direction) -> Direction:
        return self._down if way is self._up else self._up

    def _watch(self) -> None:
        """Bring what the poll set watches in line with what each direction needs."""
        if self._ticket is None:
            return
        up, down = self._up, self._down
        up_stalled = up.pending or up.pipe is not None
        down_stalled = down.pending or down.pipe is not None
        mask = (0 if up.ended or up_stalled else IN) | (OUT if down_stalled else 0)
        if mask != self._client_mask:
            self._client_mask = self._set(up.source, self._client_mask, mask, self.on_client)
        mask = (0 if down.ended or down_stalled else IN) | (OUT if up_stalled else 0)
        if mask != self._upstream_mask:
            self._upstream_mask = self._set(down.source, self._upstream_mask, mask, self.on_upstream)

    def _set(self, sock: Socket, before: int, mask: int, handler: Handler) -> int:
        poller = self._plane.poller
        if before != _UNWATCHED:
            poller.modify(sock.fileno(), mask)
        elif mask:
            poller.register(sock.fileno(), mask, handler)
        else:
            return _UNWATCHED
        return mask

    def _close(self, reason: str) -> None:
        ticket, self._ticket = self._ticket, None
        assert ticket is not None
        up, down, plane = self._up, self._down, self._plane
        if self._slot is not None:
            self._slot.discard(self)
        for way in (up, down):
            if way.pipe is not None and plane.pipes is not None:
                plane.pipes.give_back(way.pipe)
            plane.poller.forget(way.source.fileno())
            way.source.close()
        ticket.end(up.count, down.count, reason)
