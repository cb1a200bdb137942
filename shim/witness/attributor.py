"""Look-ups beside the event loop: asked of a process of their own, within bounds of number and time.

Each request ends in exactly one ProcessIdentified; nobody ever waits here, and a late answer is dropped. When that
process ends, names are missing until there is another one, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from socket import socket
from typing import Final, Protocol

from shim.events import Event, Fault, HelperEnded, ProcessIdentified
from shim.witness import words
from shim.witness.clues import Clue
from shim.witness.looking import BUSY, GONE, OFF, TIMEOUT, Sighting
from shim.witness.words import MAX_LINE, Answer

TIMEOUT_S: Final = 0.25
"""A finding waits so long for its program, and no longer."""

HOLD_S: Final = 0.02
"""A refusal waits so long: a refused client exits at once, and takes its name along."""

REPLY_HOLD_S: Final = 0.1
"""A DNS reply waits so long, which a search through all processes takes: who waits for an answer can then be named."""

CAPACITY: Final = 1024
"""Questions without an answer at most. The other side bounds how many of them become searches."""

Then = Callable[[Sighting], None]

_OFF, _GONE, _BUSY, _LATE = (Sighting(None, reason) for reason in (OFF, GONE, BUSY, TIMEOUT))


class Timer(Protocol):
    """What loop.call_later returns."""

    def cancel(self) -> None: ...


class _Job:
    """One question: who it is about, and who waits for the answer."""

    __slots__ = ("hold", "subject", "then", "timer")

    def __init__(self, subject: str, then: Then | None) -> None:
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
        loop: asyncio.AbstractEventLoop,
        sock: socket | None,
        *,
        timeout_s: float = TIMEOUT_S,
        capacity: int = CAPACITY,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`sock` leads to the process that looks; None: there is none. `ended` is called when that process has."""
        self.counts: Counter[str] = Counter()
        """How look-ups ended, by reason; `found` for those that named a program."""
        self._publish = publish
        self._loop = loop
        self._timeout_s = timeout_s
        self._capacity = capacity
        self._ended = ended
        self._jobs: dict[int, _Job] = {}
        self._last = 0
        self._rest = b""
        """The other end has gone, which is about to be told."""
        self._sock: socket | None = None
        if sock is not None:
            self.use(sock)

    @property
    def available(self) -> bool:
        """Whether there is anybody to ask."""
        return self._sock is not None

    def use(self, sock: socket) -> None:
        """Ask there from now on."""
        self._let_go()
        sock.setblocking(False)
        self._sock = sock
        self._loop.add_reader(sock.fileno(), self._read)

    def prepare(self) -> None:
        """Have it get to know the processes that are there already: else the first search takes up to 0.1 s."""
        self._send(words.ask_to_prepare())

    def identify(
        self,
        subject: str,
        clue: Clue | None,
        then: Then | None = None,
        *,
        within_s: float = HOLD_S,
        or_else: Sequence[Clue] = (),
    ) -> None:
        """Publish who it was, at the latest after `timeout_s`, and call `then` once: then, or after `within_s`.

        `then` may be called before this returns. `clue` None stands for a client that is already gone; if it leads to
        no socket, those of `or_else` are tried.
        """
        said = self._ask(clue, or_else)
        if said is not None:
            self._tell(subject, said)
            if then is not None:
                then(said)
            return
        job = _Job(subject, then)
        self._wait_for(job, self._last)
        if then is not None:
            job.hold = self._loop.call_later(within_s, job.release, _LATE)

    def close(self) -> None:
        """Ask no more; what is still open is told as timed out."""
        self._let_go()
        self._give_up(_LATE)

    def _ask(self, clue: Clue | None, or_else: Sequence[Clue]) -> Sighting | None:
        """Send the question; what there is to say instead, if it cannot be sent."""
        if self._sock is None:
            return _OFF
        if clue is None:
            return _GONE
        if len(self._jobs) >= self._capacity:
            return _BUSY
        self._last += 1
        return self._send(words.ask(self._last, time.monotonic() + self._timeout_s, (clue, *or_else)))

    def _send(self, line: bytes) -> Sighting | None:
        if self._sock is None:
            return _OFF
        try:
            if self._sock.send(line) == len(line):
                return None
        except BlockingIOError:
            return _BUSY
        except OSError:
            pass
        self._lost(self._sock)
        return _OFF

    def _wait_for(self, job: _Job, number: int) -> None:
        self._jobs[number] = job
        job.timer = self._loop.call_later(self._timeout_s, self._settle, number, _LATE)

    def _read(self) -> None:
        for said in self._receive():
            if isinstance(said, Fault):
                self._publish(said)
            else:
                self._settle(said.number, said.sighting)

    def _receive(self) -> list[Answer | Fault]:
        """What has been said."""
        assert self._sock is not None
        try:
            data = self._sock.recv(MAX_LINE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        said: list[Answer | Fault] = []
        try:
            said.extend(map(words.answer, lines))
        except ValueError:
            data = b""
        if not data or len(self._rest) > MAX_LINE:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.call_soon(self._lost, self._sock)
        return said

    def _lost(self, sock: socket) -> None:
        """The process has ended, or says what nobody understands."""
        if self._sock is sock:
            self._let_go()
            self._publish(HelperEnded(time.time(), "witness"))
            self._give_up(_OFF)
            self._ended()

    def _let_go(self) -> None:
        if self._sock is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._rest = b""

    def _give_up(self, sighting: Sighting) -> None:
        for number in list(self._jobs):
            self._settle(number, sighting)

    def _settle(self, number: int, sighting: Sighting) -> None:
        job = self._jobs.pop(number, None)
        if job is None:  # late: it has been told as timed out
            return
        job.cancel_timers()
        self._tell(job.subject, sighting)
        job.release(sighting)

    def _tell(self, subject: str, sighting: Sighting) -> None:
        self.counts[sighting.reason or "found"] += 1
        self._publish(ProcessIdentified(time.time(), subject, sighting.process, sighting.reason))
