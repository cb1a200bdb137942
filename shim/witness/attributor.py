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
from typing import Final

from shim.events import Event, Fault, HelperEnded, ProcessIdentified
from shim.witness import words
from shim.witness.clues import Clue
from shim.witness.looking import BUSY, GONE, OFF, TIMEOUT, Sighting
from shim.witness.patience import Patience
from shim.witness.words import AT_ONCE, MAX_LINE, Answer

TIMEOUT_S: Final = 0.25
"""A finding waits so long for its program, and no longer."""

HOLD_S: Final = 0.02
"""A refusal waits so long: a refused client exits at once, and takes its name along."""

REPLY_HOLD_S: Final = 0.1
"""A DNS reply waits so long, which a search through all processes takes: who waits for an answer can then be named."""

CAPACITY: Final = 1024
"""Questions without an answer at most. The other side bounds how many of them become searches."""

HUNG_S: Final = 30.0
"""Who has not said a word for so long, though it was asked, is given up: another process's memory can be made such that
reading it never ends. Nothing is lost by it: whatever it would say now comes too late.
"""

Then = Callable[[Sighting], None]

_NOBODY: Final = 0
"""The number of no question."""

_OFF, _GONE, _BUSY, _LATE = (Sighting(None, reason) for reason in (OFF, GONE, BUSY, TIMEOUT))


class _Job:
    """One question: who it is about, and who waits for the answer."""

    __slots__ = ("hold", "subject", "then")

    def __init__(self, subject: str, then: Then | None, hold: Patience | None) -> None:
        self.subject = subject
        self.then = then
        self.hold = hold

    def release(self, sighting: Sighting) -> None:
        """Tell who waits for it, once."""
        then, self.then = self.then, None
        if then is not None:
            then(sighting)


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
        self._hung_s = HUNG_S
        self._publish = publish
        self._loop = loop
        self._capacity = capacity
        self._ended = ended
        self._jobs: dict[int, _Job] = {}
        self._last = 0
        self._open = Patience(loop, timeout_s, self._late)
        self._holds: dict[float, Patience] = {}
        """Of who waits less long, by how long: there are few lengths."""
        self._unsent: dict[int, bytes] = {}
        """What is asked and has not been sent. Together it costs one system call, and wakes the other side once."""
        self._rest = b""
        self._silent_since: float | None = None
        """When it first owed an answer, of those since it has last said anything."""
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
        self._put(_NOBODY, words.ask_to_prepare())

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
        refusal = self._refusal()
        if clue is None or refusal is not None:
            self._tell(subject, refusal or _GONE)
            if then is not None:
                then(refusal or _GONE)
            return
        self._last += 1
        hold = self._hold(within_s) if then is not None and within_s < self._open.seconds else None
        self._jobs[self._last] = _Job(subject, then, hold)
        if hold is not None:
            hold.add(self._last)
        self._put(self._last, words.ask(self._last, self._open.add(self._last), (clue, *or_else)))

    def close(self) -> None:
        """Ask no more; what is still open is told as timed out."""
        self._let_go()
        self._give_up(_LATE)
        for patience in (self._open, *self._holds.values()):
            patience.close()

    def _refusal(self) -> Sighting | None:
        """What there is to say at once, instead of asking."""
        if self._sock is None:
            return _OFF
        return _BUSY if len(self._jobs) >= self._capacity else None

    def _hold(self, seconds: float) -> Patience:
        hold = self._holds.get(seconds)
        if hold is None:
            hold = self._holds[seconds] = Patience(
                self._loop, seconds, lambda number: self._jobs[number].release(_LATE)
            )
        return hold

    def _put(self, number: int, line: bytes) -> None:
        """Have it sent, with all that is asked until a turn of the loop asks nothing more."""
        self._unsent[number] = line
        if len(self._unsent) == 1:
            self._loop.call_soon(self._flush_unless, 1)
        elif len(self._unsent) >= AT_ONCE:
            self._flush()

    def _flush_unless(self, there: int) -> None:
        """Send, unless there is more than a turn ago: then the next turn may bring more still.

        So a crowd is asked about together, and one alone without delay: to wake the other side takes as long as five
        answers, for its caches are cold by then (measured).
        """
        more = len(self._unsent)
        if more > there:
            self._loop.call_soon(self._flush_unless, more)
        else:
            self._flush()

    def _flush(self) -> None:
        lines, self._unsent = self._unsent, {}
        if lines and (said := self._send(b"".join(lines.values()))) is not None:
            for number in lines:
                self._settle(number, said)

    def _send(self, lines: bytes) -> Sighting | None:
        """What there is to say instead of an answer, if they cannot be sent: the kernel takes all of them, or none."""
        if self._sock is None:
            return _OFF
        try:
            if self._sock.send(lines) == len(lines):
                return None
        except BlockingIOError:
            if not self._is_hung():
                return _BUSY
        except OSError:
            pass
        self._lost(self._sock)
        return _OFF

    def _late(self, number: int) -> None:
        self._settle(number, _LATE)
        if self._sock is not None and self._is_hung():
            self._lost(self._sock)

    def _is_hung(self) -> bool:
        """One answer is owed, and none has come for too long."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        return now - self._silent_since >= self._hung_s

    def _read(self) -> None:
        self._silent_since = None
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
        """The process has ended, or says nothing, or what nobody understands."""
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
        self._silent_since = None

    def _give_up(self, sighting: Sighting) -> None:
        self._unsent.clear()
        for number in list(self._jobs):
            self._settle(number, sighting)

    def _settle(self, number: int, sighting: Sighting) -> None:
        job = self._jobs.pop(number, None)
        if job is None:  # late: it has been told as timed out
            return
        self._open.discard(number)
        if job.hold is not None:
            job.hold.discard(number)
        self._tell(job.subject, sighting)
        job.release(sighting)

    def _tell(self, subject: str, sighting: Sighting) -> None:
        self.counts[sighting.reason or "found"] += 1
        self._publish(ProcessIdentified(time.time(), subject, sighting.process, sighting.reason))
