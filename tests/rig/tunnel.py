"""One tunnel over real sockets, its far ends in the test's hands.

On every poll set, spliced and copied, over TCP and unix sockets: see VARIANTS.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from rig.plane import PAIRS, End, HandTurned
from shim.events import ConnectionClosed
from shim.model import Peer
from shim.proxy.plane import Ticket
from shim.proxy.poller import IN, EpollPoller, SelectorPoller
from shim.proxy.relay import CLIENT, SPLICE_AFTER, UPSTREAM, Direction, Tunnel

MIB = 1 << 20
SMALL = 16 * 1024
"""Socket buffers small enough that a few hundred KiB fill a stalled direction."""

NOISE = random.Random(5).randbytes(2 * MIB)


def noise(count: int, start: int = 0) -> bytes:
    """Bytes that tell each place in the stream from each other."""
    return (NOISE * (count // len(NOISE) + 2))[start : start + count]


class Relayed(HandTurned):
    """A plane with one tunnel; `client` and `upstream` are the far ends."""

    family = "tcp"

    def open(
        self,
        *,
        early_up: bytes = b"",
        early_down: bytes = b"",
        buffer_bytes: int | tuple[int, int] = 0,
        client_mask: int = IN,
        count: int = 0,
    ) -> None:
        sizes = buffer_bytes if isinstance(buffer_bytes, tuple) else (buffer_bytes, buffer_bytes)
        near, self.inner = PAIRS[self.family](sizes[0])
        far, self.outer = PAIRS[self.family](sizes[1])
        self.client, self.upstream = End(self.closing(near)), End(self.closing(far))
        ticket = Ticket(self.plane, Peer("127.0.0.1", 1))
        self.plane.quota.admit(ticket.key)
        self.plane.quota.established()
        up = Direction(self.inner, self.outer, CLIENT, 0, early_up)
        down = Direction(self.outer, self.inner, UPSTREAM, count, early_down)
        self.tunnel = Tunnel(self.plane, ticket, up, down)
        self.poller.register(self.inner.fileno(), client_mask, self.tunnel.on_client)
        self.poller.register(self.outer.fileno(), IN, self.tunnel.on_upstream)
        self.tunnel.start(client_mask)

    def pump(self) -> None:
        self.client.pump()
        self.upstream.pump()

    def run(self, condition: Callable[[], object]) -> None:
        """Turn the plane and both ends until it is so."""
        self.until(condition, self.pump)

    def rest(self) -> None:
        """Turn the plane and both ends until nothing moves any more."""
        quiet = 0
        for _ in range(20_000):
            before = self._moved()
            self.pump()
            self.settle()
            quiet = quiet + 1 if self._moved() == before else 0
            if quiet == 3:
                return
        raise AssertionError("it never came to rest")

    def fill(self, source: End, sink: End) -> bytes:
        """Send until not one more byte fits between the two; the bytes that are on the way now."""
        data = noise(4 * MIB)
        sink.reads = False
        self.send(source, data)
        self.rest()
        waiting = data[: len(data) - len(source.outbox)]
        assert len(waiting) < len(data)
        source.outbox = memoryview(b"")
        return waiting

    def _moved(self) -> tuple[int, ...]:
        ends = self.client, self.upstream
        return tuple(len(end.outbox) for end in ends) + tuple(len(end.got) + end.ended for end in ends)

    def send(self, end: End, data: bytes) -> None:
        end.outbox = memoryview(bytes(end.outbox) + data)

    @property
    def closed(self) -> ConnectionClosed:
        """The one closing event."""
        (event,) = self.of(ConnectionClosed)
        return event

    @property
    def end_of_it(self) -> tuple[str, int, int]:
        return self.closed.reason, self.closed.sent, self.closed.received

    def finish(self) -> None:
        """Both sides end; everything has arrived."""
        self.run(lambda: not self.client.outbox and not self.upstream.outbox)
        self.client.end()
        self.upstream.end()
        self.run(lambda: self.client.ended and self.upstream.ended and self.of(ConnectionClosed))
        assert not self.client.was_reset
        assert not self.upstream.was_reset


VARIANTS = list(itertools.product((EpollPoller, SelectorPoller), (True, False), ("tcp", "unix")))
NAMES = [f"{p.__name__[:5].lower()}-{'splice' if s else 'copy'}-{f}" for p, s, f in VARIANTS]


def ways(relay: Relayed) -> tuple[tuple[End, End, str], tuple[End, End, str]]:
    """Source, sink and name of the side, of both directions."""
    return (relay.client, relay.upstream, "client"), (relay.upstream, relay.client, "upstream")


def become_bulk(relay: Relayed) -> None:
    """Both directions past the point from which they are spliced, and empty."""
    for source, sink, _ in ways(relay):
        relay.send(source, noise(SPLICE_AFTER + 1))
        relay.run(lambda sink=sink: len(sink.got) == SPLICE_AFTER + 1)
        sink.got.clear()
