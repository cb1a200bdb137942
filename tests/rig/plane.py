"""A data plane without an event loop: the test turns the poll set and the timer wheel by hand.

Everything in it is real but the clock and the judge. On leaving it checks what is true of every run: no fault, no
descriptor or pipe left over, one closing event for each connection, all counts back at zero.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Self, TypeVar

from rig.waiting import PATIENCE_S
from shim.events import ConnectionClosed, Event
from shim.model import (
    PENDING,
    Action,
    Answer,
    Credentials,
    Decision,
    Exposure,
    Isolate,
    Peer,
    Process,
    Request,
    Sought,
    Verdict,
)
from shim.proxy.pipes import PipePool
from shim.proxy.plane import Plane
from shim.proxy.poller import EpollPoller, Poller
from shim.proxy.quota import Limits, Quota
from shim.proxy.wheel import TICK_S, TimerWheel

TURNS = 500
"""Dispatches in which a plane that nobody feeds must have come to rest."""

FORWARD = Verdict(Exposure.NAME, Decision(Action.FORWARD), finding=False)
E = TypeVar("E")


class HandClock:
    """`call_later` of a loop that never runs by itself."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, delay_s: float, run: Callable[[], None]) -> None:
        self.waiting.append((delay_s, run))

    def turn(self, times: int = 1) -> None:
        """Run what was asked for so far, so many times over."""
        for _ in range(times):
            due, self.waiting = self.waiting, []
            for _delay_s, run in due:
                run()

    def advance(self, seconds: float) -> None:
        """As many turns of the wheel as there are in `seconds`."""
        self.turn(round(seconds / TICK_S))


class FixedBench:
    """A judge with one verdict for all."""

    def __init__(self) -> None:
        self.verdict = FORWARD
        self.by_program: Callable[[Process | None], Verdict] | None = None
        self.names: list[str] = []
        self.named: Verdict | None = None
        self.sent: str | None = None
        self.hint = False
        self.isolation: Credentials | None = None
        self.asked: list[Request] = []
        self.answers: list[Answer] = []

    def judge(
        self,
        request: Request,
        _peer: Peer,
        _at: float,
        _listener: str = "",
        process: Process | None = None,
        sought: Sought = Sought.NOT_YET,
    ) -> Verdict:
        self.asked.append(request)
        if self.by_program is None:
            return self.verdict
        return PENDING if sought is Sought.NOT_YET else self.by_program(process)

    def heard(self, _request: Request, _peer: Peer, _at: float, _listener: str, verdict: Verdict, name: str) -> Verdict:
        self.names.append(name)
        return verdict if self.named is None else self.named

    def answered(self, _request: Request, _peer: Peer, answer: Answer, _at: float, sent: str | None = None) -> None:
        self.answers.append(answer)
        self.sent = sent

    def credentials(self, _request: Request, _peer: Peer, isolate: Isolate | None = None) -> Credentials | None:
        return self.isolation if isolate is None else Credentials(isolate.encode(), b"")

    def http_hint(self) -> bool:
        return self.hint


class HandTurned:
    """A plane, its events, and the means to turn it; use it as a context manager."""

    def __init__(
        self, poller: type[Poller] = EpollPoller, *, splice: bool = True, limits: Limits | None = None
    ) -> None:
        self._before = descriptors()
        self.expected_faults = 0
        self.faults: list[Exception] = []
        self.events: list[Event] = []
        self.clock = HandClock()
        self.bench = FixedBench()
        self.poller = poller(self.faults.append)
        self.pool = PipePool() if splice else None
        wheel, quota = TimerWheel(self.clock), Quota(limits or Limits())
        self.plane = Plane(self.poller, wheel, quota, self.bench, self.events.append, pipes=self.pool)
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._closing.close()
        if kind is None:
            self.settle()
        for owner in self.poller.owners():
            owner.abort("shutdown")
        self.poller.close()
        if self.pool is not None:
            self.pool.close()
        if kind is None:
            self._check()

    def _check(self) -> None:
        if self.pool is not None:
            assert self.pool.lent == 0, "pipes were not given back"
        assert len(self.faults) == self.expected_faults, self.faults
        ended = Counter(event.conn for event in self.of(ConnectionClosed))
        assert set(ended.values()) <= {1}, "a connection ended twice"
        quota = self.plane.quota
        assert (quota.open, quota.handshakes) == (0, 0)
        assert not (left := descriptors() - self._before), f"left open: {left}"

    def closing(self, sock: socket.socket) -> socket.socket:
        """Have it closed at the end of the test, if it is not by then."""
        return self._closing.enter_context(sock)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def ready(self, timeout_s: float = 0) -> bool:
        """Whether the event loop would call `dispatch` now."""
        return bool(select.select([self.poller], [], [], timeout_s)[0])

    def settle(self) -> int:
        """Dispatch until nothing is ready; the number of dispatches. Fails when it never comes to rest: it spins."""
        for turns in range(TURNS):
            if not self.ready():
                return turns
            self.poller.dispatch()
        raise AssertionError("the poll set spins")

    def until(self, condition: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Dispatch until `condition` holds, doing `meanwhile` between."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            if self.ready(0.0002):
                self.poller.dispatch()
            meanwhile()


class End:
    """The test's own end of a connection: sends without waiting, keeps what it gets."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self.outbox = memoryview(b"")
        self.got = bytearray()
        self.reads = True
        self.ended = False
        self.was_reset = False

    def pump(self) -> None:
        """Send and receive what is possible now."""
        try:
            while self.outbox:
                self.outbox = self.outbox[self.sock.send(self.outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            self.outbox, self.was_reset = memoryview(b""), True
        if self.reads:
            self.take()

    def take(self, limit: int = 1 << 40) -> int:
        """Receive what is there, up to about `limit` bytes."""
        before = len(self.got)
        try:
            while not self.ended and len(self.got) - before < limit:
                piece = self.sock.recv(min(1 << 17, limit))
                self.got += piece
                self.ended = not piece
        except BlockingIOError:
            pass
        except OSError:
            self.ended = self.was_reset = True
        return len(self.got) - before

    def reset(self) -> None:
        """Be gone with a RST (TCP)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def end(self) -> None:
        """Send no more."""
        self.sock.shutdown(socket.SHUT_WR)


def descriptors() -> set[str]:
    """All open descriptors of this process, each with what it is."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that reads the folder
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
    return found


def tcp_pair(buffer_bytes: int = 0) -> tuple[socket.socket, socket.socket]:
    """Two connected ends over TCP loopback; `buffer_bytes` makes both small, so that they stall soon."""
    with socket.socket() as listener:
        if buffer_bytes:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        near = socket.socket()
        if buffer_bytes:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _shrink(sock, buffer_bytes)
    return near, far


def unix_pair(buffer_bytes: int = 0) -> tuple[socket.socket, socket.socket]:
    """Two connected unix sockets."""
    pair = socket.socketpair()
    for sock in pair:
        _shrink(sock, buffer_bytes)
    return pair


def _shrink(sock: socket.socket, buffer_bytes: int) -> None:
    if buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)


PAIRS = {"tcp": tcp_pair, "unix": unix_pair}


@contextlib.contextmanager
def blocking(end: End, timeout_s: float = PATIENCE_S) -> Iterator[socket.socket]:
    """The socket of an end with a time limit instead of non-blocking, for a while."""
    end.sock.settimeout(timeout_s)
    yield end.sock
    end.sock.setblocking(False)
