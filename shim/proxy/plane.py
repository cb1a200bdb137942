"""What all connections of one process share, handed to each instead of globals."""

from __future__ import annotations

import time
from _socket import socket as Socket
from collections.abc import Callable
from typing import Protocol

from shim.address import Address
from shim.events import ConnectionClosed, Event, UpstreamFailed
from shim.model import Answer, Credentials, Isolate, Peer, Process, Request, Sought, Verdict
from shim.proxy.pipes import PipePool
from shim.proxy.poller import Poller
from shim.proxy.quota import Program, Quota
from shim.proxy.wheel import TimerWheel

BUFFER_BYTES = 64 * 1024
"""The one buffer that every copy goes through; bytes never stay in it after a handler returns."""


class Bench(Protocol):
    """Where requests are judged: the data plane asks and obeys."""

    def judge(
        self,
        request: Request,
        peer: Peer,
        at: float,
        listener: str = "",
        process: Process | None = None,
        sought: Sought = Sought.NOT_YET,
    ) -> Verdict: ...

    def heard(self, request: Request, peer: Peer, at: float, listener: str, verdict: Verdict, name: str) -> Verdict: ...

    def answered(self, request: Request, peer: Peer, answer: Answer, at: float, sent: str | None = None) -> None: ...

    def credentials(self, request: Request, peer: Peer, isolate: Isolate | None = None) -> Credentials | None: ...

    def http_hint(self) -> bool: ...


Identify = Callable[[str, Socket, Callable[[], None] | None], None]
"""Look up who is behind a connection, and call back once that is known or has taken too long for a refusal to wait."""

Opened = Callable[[Socket, Address, Request], None]
"""A socket is being connected to the upstream, to make this request by it."""

Whose = Callable[[str, Socket, Callable[[Process | None, Sought], None]], None]
"""The same for a verdict that hangs on it: call back with the program, and whether the look-up has ended."""


class Plane:
    """Poll set, timers, pipes, counts, the judge, the event bus, and the upstream of the moment."""

    __slots__ = (
        "_last",
        "_prefix",
        "bench",
        "buffer",
        "identify",
        "opened",
        "pipelining",
        "pipes",
        "poller",
        "publish",
        "quota",
        "upstream",
        "view",
        "wheel",
        "whose",
    )

    def __init__(
        self,
        poller: Poller,
        wheel: TimerWheel,
        quota: Quota,
        bench: Bench,
        publish: Callable[[Event], None],
        *,
        pipes: PipePool | None,
        prefix: str = "c",
    ) -> None:
        self.poller = poller
        self.wheel = wheel
        self.quota = quota
        self.bench = bench
        self.publish = publish
        self.pipes = pipes
        """None where the system cannot splice: tunnels then copy."""
        self.buffer = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.upstream: Address | None = None
        """None while there is none."""
        self.pipelining = True
        self.identify: Identify | None = None
        self.whose: Whose | None = None
        """None where nobody looks up programs."""
        self.opened: Opened | None = None
        """None where nobody asks which sockets are ours."""
        self._prefix = prefix
        self._last = 0

    def next_id(self) -> str:
        """A connection id, unique in this run."""
        self._last += 1
        return f"{self._prefix}{self._last}"

    def upstream_failed(self, error: str, *, conn: str | None = None, query: str | None = None) -> None:
        """Publish that the upstream could not be used for this connection or query."""
        upstream = "none" if self.upstream is None else str(self.upstream)
        self.publish(UpstreamFailed(time.time(), upstream, error, conn, query))


class Ticket:
    """One accepted connection: who it is, and its single end."""

    __slots__ = ("conn", "ended", "key", "peer", "plane", "program", "started")

    def __init__(self, plane: Plane, peer: Peer) -> None:
        self.plane = plane
        self.peer = peer
        self.key = peer.key
        self.conn = plane.next_id()
        self.ended = False
        self.program: Program | None = None
        """Of a connection that was counted with its program, too."""
        self.started = time.monotonic()

    def end(self, sent: int, received: int, reason: str) -> None:
        """Publish the connection's one closing event. Called exactly once, by the last owner of its socket."""
        self.ended = True
        plane = self.plane
        plane.quota.leave(self.key, self.program)
        seconds = time.monotonic() - self.started
        plane.publish(ConnectionClosed(time.time(), self.conn, sent, received, seconds, reason))
