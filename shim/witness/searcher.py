"""The thread that searches: what comes is skimmed for at once, and what is left is searched for together.

Never waits for the loop: what it finds is handed over by callbacks, which must be fit to be called from a thread.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

from shim.events import Fault
from shim.witness.looking import Found, Looker, Trace

EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""The machine's trouble and no bug, and all who ask meet it."""

DEBT_S: Final = 0.5
RESTS: Final = 3
"""After so much searching through everything the thread rests, three times as long as each search took: its system
calls slow the loop down. Meanwhile it still skims for what comes."""


class Search:
    """One search to be made; its result is of no use after `deadline` (time.monotonic)."""

    __slots__ = ("deadline", "trace")

    def __init__(self, trace: Trace, deadline: float) -> None:
        self.trace = trace
        self.deadline = deadline


class Pace:
    """When everything may be searched through: at once, but not all the time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._debt = 0.0
        self._free = clock()

    def rest(self) -> float:
        """Seconds until the next search may begin."""
        return max(0.0, self._free - self._clock())

    def searched(self, begun: float) -> None:
        """A search that began then has just ended."""
        now = self._clock()
        taken = now - begun
        self._debt = max(0.0, self._debt - (begun - self._free)) + taken  # what was waited beyond a rest counts
        self._free = now + (RESTS * taken if self._debt > DEBT_S else 0.0)


class Searcher:
    """A thread and its looker. `found` gets each end of a search, `broken` what should not have happened."""

    def __init__(
        self,
        looker: Looker,
        found: Callable[[Search, Found], object],
        broken: Callable[[Fault], object],
    ) -> None:
        self._looker = looker
        self._found = found
        self._broken = broken
        self._queue: SimpleQueue[Search | None] = SimpleQueue()
        self._ending = False
        self._thread: Thread | None = None

    def start(self) -> None:
        """Run, if it does not yet: what has nothing to search for gets to know the processes that are there."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="witness", daemon=True)
            self._thread.start()

    def add(self, search: Search) -> None:
        """One more to be made."""
        self._queue.put(search)
        self.start()

    def close(self) -> None:
        """End the thread, in the middle of a search if there is one."""
        self._ending = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._looker.close()

    def _run(self) -> None:
        pace = Pace()
        left: list[Search] = []
        prepared = False
        while not self._ending:
            if not prepared and not left and self._queue.empty():
                with self._faults_told():
                    prepared = True
                    prepared = self._looker.prepare(lambda: not self._queue.empty())
            left += self._skim(self._take(pace.rest() if left else None))
            if left and not pace.rest():
                begun = time.monotonic()
                left = self._search(left)
                pace.searched(begun)

    def _take(self, wait_s: float | None) -> list[Search]:
        """What has come; waits so long for the first, or (None) till there is one."""
        found: list[Search | None] = []
        with contextlib.suppress(Empty):
            found.append(self._queue.get(timeout=wait_s))
            while True:
                found.append(self._queue.get_nowait())
        return _in_time([search for search in found if search is not None])

    def _skim(self, searches: Sequence[Search]) -> list[Search]:
        """Make those that are soon made; the others are left."""
        waiting = {id(search.trace): search for search in searches}
        with self._faults_told():
            for found in self._looker.skim([search.trace for search in searches]):
                self._found(waiting.pop(id(found.trace)), found)
        return list(waiting.values())

    def _search(self, searches: Sequence[Search]) -> list[Search]:
        """Make them all; those that come meanwhile are skimmed for at once, and left if that is not enough."""
        waiting = {id(search.trace): search for search in _in_time(searches)}
        until = max((search.deadline for search in waiting.values()), default=0.0)
        left: list[Search] = []
        with self._faults_told():
            for found in self._looker.search([search.trace for search in waiting.values()], until):
                if found is not None:
                    self._found(waiting[id(found.trace)], found)
                elif self._ending:
                    break
                elif not self._queue.empty():
                    left += self._skim(self._take(0.0))
        return left

    @contextlib.contextmanager
    def _faults_told(self) -> Iterator[None]:
        """A bug must not end the thread: what it was busy with times out. So it does when descriptors have run out."""
        try:
            yield
        except Exception as error:
            if getattr(error, "errno", None) not in EXHAUSTED:
                self._broken(Fault.of(error, time.time()))


def _in_time(searches: Sequence[Search]) -> list[Search]:
    now = time.monotonic()
    return [search for search in searches if search.deadline > now]
