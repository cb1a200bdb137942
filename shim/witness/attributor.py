"""Look-ups beside the event loop: at a glance where that is enough, else by a thread, within bounds of number and time.

Each request ends in exactly one ProcessIdentified; nobody ever waits here, and a late answer is dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from shim.events import Event, ProcessIdentified
from shim.witness.clues import Clue
from shim.witness.elsewhere import Elsewhere
from shim.witness.looking import BUSY, GONE, OFF, TIMEOUT, Found, Looker, Sighting, Trace
from shim.witness.searcher import Search, Searcher
from shim.witness.witness import Witness

TIMEOUT_S: Final = 0.25
"""A finding waits so long for its program, and no longer."""

HOLD_S: Final = 0.02
"""A refusal waits so long: a refused client exits at once, and takes its name along."""

REPLY_HOLD_S: Final = 0.1
"""A DNS reply waits so long, which a search through all processes takes: who waits for an answer can then be named."""

CAPACITY: Final = 256
"""Searches under way at most. More would only time out: one through all processes takes up to 0.1 s."""

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


class _Job(Search):
    """A search, who it is for, and who waits for it."""

    __slots__ = ("hold", "subject", "then", "timer")

    def __init__(self, subject: str, trace: Trace, deadline: float, then: Then | None) -> None:
        super().__init__(trace, deadline)
        self.subject = subject
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
    """Who sent what, for one event loop, to which all of its methods belong."""

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
        self._call_later = call_later
        self._timeout_s = timeout_s
        self._capacity = capacity
        self._jobs: dict[_Job, None] = {}
        self._near = open_looker()
        self._searcher: Searcher | None = None
        far = None if self._near is None else open_looker()
        if far is not None:
            found, broken = partial(call_soon_threadsafe, self._arrived), partial(call_soon_threadsafe, publish)
            self._searcher = Searcher(far, found, broken)

    @property
    def available(self) -> bool:
        """Whether there is any way of looking up on this system."""
        return self._searcher is not None

    def prepare(self) -> None:
        """Get to know the processes that are there already, in the thread: else the first search takes up to 0.1 s."""
        if self._searcher is not None:
            self._searcher.start()

    def try_now(self, clue: Clue | None) -> Sighting | None:
        """What can be said without waiting, in a tenth of a millisecond; None when it takes a search."""
        found = self._glance(clue)
        return found if isinstance(found, Sighting) else None

    def identify(self, subject: str, clue: Clue | None, then: Then | None = None, *, within_s: float = HOLD_S) -> None:
        """Publish who it was, at the latest after `timeout_s`, and call `then` once: then, or after `within_s`.

        `then` may be called before this returns. `clue` None stands for a client that is already gone.
        """
        found = self._glance(clue)
        if isinstance(found, Trace) and len(self._jobs) >= self._capacity:
            found = Sighting(None, BUSY, found.uid)
        if isinstance(found, Sighting):
            self._tell(subject, found)
            if then is not None:
                then(found)
            return
        job = _Job(subject, found, time.monotonic() + self._timeout_s, then)
        self._jobs[job] = None
        late = Sighting(None, TIMEOUT, found.uid)
        job.timer = self._call_later(self._timeout_s, self._settle, job, late)
        if then is not None:
            job.hold = self._call_later(within_s, job.release, late)
        assert self._searcher is not None
        self._searcher.add(job)

    def close(self) -> None:
        """End the thread; what is still open is told as timed out."""
        for job in list(self._jobs):
            self._settle(job, Sighting(None, TIMEOUT, job.trace.uid))
        for part in (self._searcher, self._near):
            if part is not None:
                part.close()
        self._searcher = self._near = None

    def _glance(self, clue: Clue | None) -> Sighting | Trace:
        if self._near is None or self._searcher is None:
            return Sighting(None, OFF)
        return Sighting(None, GONE) if clue is None else self._near.glance(clue)

    def _arrived(self, job: _Job, found: Found) -> None:
        if found.holding is not None and self._near is not None:
            self._near.remember(found.holding)
        self._settle(job, found.sighting)

    def _settle(self, job: _Job, sighting: Sighting) -> None:
        if job not in self._jobs:  # late: it has been told as timed out
            return
        del self._jobs[job]
        job.cancel_timers()
        self._tell(job.subject, sighting)
        job.release(sighting)

    def _tell(self, subject: str, sighting: Sighting) -> None:
        self.counts[sighting.reason or "found"] += 1
        self._publish(ProcessIdentified(time.time(), subject, sighting.process, sighting.reason))
