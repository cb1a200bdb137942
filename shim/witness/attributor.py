"""Look-ups beside the event loop: at a glance where that is enough, else in one thread with a bounded queue and time.

Each request ends in exactly one ProcessIdentified; nobody ever waits here, and a late answer is dropped.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, Protocol

from shim.events import Event, Fault, ProcessIdentified
from shim.witness.clues import Clue
from shim.witness.elsewhere import Elsewhere
from shim.witness.looking import BUSY, GONE, OFF, TIMEOUT, Found, Looker, Sighting, Trace
from shim.witness.witness import Witness

TIMEOUT_S: Final = 0.25
"""A finding waits so long for its program, and no longer."""

HOLD_S: Final = 0.02
"""A refusal or a DNS reply waits so long: a refused client exits at once, and takes its name along."""

CAPACITY: Final = 256
"""Look-ups under way at most. More would only time out: a search through all processes takes up to 0.1 s."""

DEBT_S: Final = 0.5
"""After so much searching without a rest, the thread rests as long as it works: its system calls slow the loop down."""

Then = Callable[[Sighting], None]


class Timer(Protocol):
    """What loop.call_later returns."""

    def cancel(self) -> None: ...


CallLater = Callable[..., Timer]
"""loop.call_later."""

CallSoon = Callable[..., object]
"""loop.call_soon_threadsafe."""


def open_looker() -> Looker | None:
    """The best way of looking up that this system has, or none."""
    try:
        return Witness()
    except (AttributeError, OSError):  # no netlink, or no sock_diag behind it
        pass
    try:
        return Elsewhere()
    except ImportError:
        return None


class Pace:
    """How much of its time the thread may search: all of it for a while, then half."""

    def __init__(self) -> None:
        self._debt = 0.0

    def rest_after(self, waited: float, searched: float) -> float:
        """Seconds to rest now, after so much waiting and then so much searching."""
        self._debt = max(0.0, self._debt - waited) + searched
        if self._debt <= DEBT_S:
            return 0.0
        self._debt -= searched
        return searched


class _Job:
    """One request on its way."""

    __slots__ = ("deadline", "hold", "id", "subject", "then", "timer", "trace")

    def __init__(self, id: int, subject: str, trace: Trace, deadline: float, then: Then | None) -> None:
        self.id = id
        self.subject = subject
        self.trace = trace
        self.deadline = deadline
        self.then = then
        self.timer: Timer | None = None
        self.hold: Timer | None = None

    def release(self, sighting: Sighting) -> None:
        """Tell who waits for it, once."""
        then, self.then = self.then, None
        if then is not None:
            then(sighting)

    def cancel_timers(self) -> None:
        for timer in (self.timer, self.hold):
            if timer is not None:
                timer.cancel()


class Attributor:
    """Who sent what, for one event loop: every method but the thread's own belongs to that loop."""

    def __init__(
        self,
        publish: Callable[[Event], None],
        call_soon_threadsafe: CallSoon,
        call_later: CallLater,
        *,
        timeout_s: float = TIMEOUT_S,
        capacity: int = CAPACITY,
        open_looker: Callable[[], Looker | None] = open_looker,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How look-ups ended, by reason; `found` for those that named a program."""
        self._publish = publish
        self._call_soon = call_soon_threadsafe
        self._call_later = call_later
        self._timeout_s = timeout_s
        self._capacity = capacity
        self._open = open_looker
        self._near = open_looker()
        self._ids = itertools.count()
        self._pending: dict[int, _Job] = {}
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: Thread | None = None

    @property
    def available(self) -> bool:
        """Whether there is any way of looking up on this system."""
        return self._near is not None

    def prepare(self) -> None:
        """Get to know the processes that are there already, in the thread: else the first search takes up to 0.1 s."""
        if self._near is not None:
            self._start()

    def try_now(self, clue: Clue | None) -> Sighting | None:
        """What can be said without waiting, in a tenth of a millisecond; None when it takes a search."""
        found = self._glance(clue)
        return found if isinstance(found, Sighting) else None

    def identify(self, subject: str, clue: Clue | None, then: Then | None = None, *, within_s: float = HOLD_S) -> None:
        """Publish who it was, at the latest after `timeout_s`, and call `then` once: then, or after `within_s`.

        `then` may be called before this returns. `clue` None stands for a client that is already gone.
        """
        found = self._glance(clue)
        if isinstance(found, Trace) and len(self._pending) >= self._capacity:
            found = Sighting(None, BUSY, found.uid)
        if isinstance(found, Sighting):
            self._tell(subject, found)
            if then is not None:
                then(found)
            return
        job = _Job(next(self._ids), subject, found, time.monotonic() + self._timeout_s, then)
        self._pending[job.id] = job
        late = Sighting(None, TIMEOUT, found.uid)
        job.timer = self._call_later(self._timeout_s, self._settle, job, late)
        if then is not None:
            job.hold = self._call_later(within_s, job.release, late)
        self._queue.put(job)
        self._start()

    def close(self) -> None:
        """End the thread; what is still open is told as timed out."""
        for job in list(self._pending.values()):
            self._settle(job, Sighting(None, TIMEOUT, job.trace.uid))
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()  # the search under way ends with its jobs' time
            self._thread = None
        if self._near is not None:
            self._near.close()
            self._near = None

    def _glance(self, clue: Clue | None) -> Sighting | Trace:
        if self._near is None:
            return Sighting(None, OFF)
        return Sighting(None, GONE) if clue is None else self._near.glance(clue)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._work, name="witness", daemon=True)
            self._thread.start()

    def _settle(self, job: _Job, sighting: Sighting) -> None:
        if self._pending.pop(job.id, None) is None:  # late: it has been told as timed out
            return
        job.cancel_timers()
        self._tell(job.subject, sighting)
        job.release(sighting)

    def _tell(self, subject: str, sighting: Sighting) -> None:
        self.counts[sighting.reason or "found"] += 1
        self._publish(ProcessIdentified(time.time(), subject, sighting.process, sighting.reason))

    def _arrived(self, job: _Job, found: Found) -> None:
        if found.holding is not None and self._near is not None:
            self._near.remember(found.holding)
        self._settle(job, found.sighting)

    def _work(self) -> None:
        """The thread: searches for all that waits in one walk, and hands each over as it is found."""
        looker = self._open()
        if looker is None:
            return
        prepared = False
        pace = Pace()
        while True:
            if not prepared and self._queue.empty():
                with self._faults_told():
                    prepared = True
                    prepared = looker.prepare(lambda: not self._queue.empty())
            waited = time.monotonic()
            jobs = self._next_jobs()
            if jobs is None:
                break
            begun = time.monotonic()
            with self._faults_told():
                self._search(looker, jobs)
            if rest := pace.rest_after(begun - waited, time.monotonic() - begun):
                time.sleep(rest)
        looker.close()

    def _search(self, looker: Looker, jobs: Sequence[_Job]) -> None:
        by_trace = {id(job.trace): job for job in jobs}
        until = max((job.deadline for job in jobs), default=0.0)
        for found in looker.search([job.trace for job in jobs], until):
            self._call_soon(self._arrived, by_trace[id(found.trace)], found)

    @contextlib.contextmanager
    def _faults_told(self) -> Iterator[None]:
        """A bug must not end the thread: what it was busy with times out."""
        try:
            yield
        except Exception as error:
            self._call_soon(self._publish, Fault.of(error, time.time()))

    def _next_jobs(self) -> list[_Job] | None:
        """Wait for one, and take whatever has come besides, less what is late already; None when it is time to end."""
        jobs = [self._queue.get()]
        with contextlib.suppress(Empty):
            while True:
                jobs.append(self._queue.get_nowait())
        if None in jobs:
            return None
        now = time.monotonic()
        return [job for job in jobs if job is not None and job.deadline > now]
