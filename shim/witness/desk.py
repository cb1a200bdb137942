"""The process that looks up programs: it answers what one event loop asks, at a glance or by a search.

It alone sees what other processes have open, and it can do nothing else. Ends when nobody is left to ask.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Final, NoReturn

from shim.events import Fault
from shim.witness import words
from shim.witness.elsewhere import Elsewhere
from shim.witness.looking import BUSY, GONE, OTHER_NAMESPACE, Checked, Found, Holding, Looker, Sighting, Trace
from shim.witness.searcher import Search, Searcher
from shim.witness.witness import Witness
from shim.witness.words import AT_ONCE, MAX_LINE, Answer, Question

CAPACITY: Final = 256
"""Searches under way at most. More would only time out: one through all processes takes up to 0.1 s."""

LONGEST_S: Final = 1.0
"""No search goes on for longer, whatever the question says."""

_MANY = 1 << 20
"""No descriptor has so high a number."""

_ELSEWHERE = (GONE, OTHER_NAMESPACE)
"""Why there is no socket between two ends: perhaps because one of them is not the right one."""


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


def can_look() -> bool:
    """Whether this system has any way of looking up."""
    looker = open_looker()
    if looker is not None:
        looker.close()
    return looker is not None


def start(restrict: Callable[[], None]) -> tuple[int, socket.socket]:
    """Fork such a process, which calls `restrict` before it listens: its number, and our end of the socket. OSError.

    No other thread may run in this process.
    """
    ours, theirs = socket.socketpair()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if not pid:
        _be(theirs, restrict)
    theirs.close()
    return pid, ours


def _be(sock: socket.socket, restrict: Callable[[], None]) -> NoReturn:
    """The whole life of the process."""
    try:
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends with who asks it, not before
            signal.signal(signum, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        keep_only(sock)
        gc.freeze()  # what came with the fork is never collected, so its pages stay shared
        near, far = open_looker(), open_looker()
        restrict()
        if near is not None and far is not None:
            Desk(sock, near, far).run()
    finally:
        os._exit(0)


def keep_only(*sockets: socket.socket) -> None:
    """Close all that this process has inherited but these; standard input and output lead nowhere."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    kept = sorted(sock.fileno() for sock in sockets)
    for low, high in zip((2, *kept), (*kept, _MANY), strict=True):
        os.closerange(low + 1, high)


class _Search(Search):
    """A search, and the number of its question."""

    __slots__ = ("number",)

    def __init__(self, trace: Trace, deadline: float, number: int) -> None:
        super().__init__(trace, deadline)
        self.number = number


class Desk:
    """Answers until the other end is closed. What it finds by searching it sees at a glance the next time."""

    def __init__(self, sock: socket.socket, near: Looker, far: Looker, capacity: int = CAPACITY) -> None:
        self._sock = sock
        self._near = near
        self._searcher = Searcher(far, self._found, self._broken)
        self._capacity = capacity
        self._open: dict[int, float] = {}
        self._learnt: deque[Holding] = deque()
        self._checked: Checked = set()
        self._sending = Lock()

    def run(self) -> None:
        """Read and answer."""
        try:
            for lines in self._batches():
                self._checked.clear()
                if said := b"".join(map(self._said, lines)):
                    self._send(said)
        except OSError:
            pass  # nobody is left
        finally:
            self._searcher.close()
            self._near.close()
            self._sock.close()

    def _batches(self) -> Iterator[list[bytes]]:
        """Whole lines, as many as came together; an endless one ends it all."""
        rest = b""
        while data := self._sock.recv(MAX_LINE):
            *lines, rest = (rest + data).split(b"\n")
            for first in range(0, len(lines), AT_ONCE):
                yield lines[first : first + AT_ONCE]
            if len(rest) > MAX_LINE:
                return

    def _said(self, line: bytes) -> bytes:
        """What there is to say to a line at once."""
        try:
            asked = words.question(line)
        except ValueError:  # not understood: not answered
            return b""
        try:
            return self._take(asked)
        except Exception as error:  # a bug costs one answer
            return words.tell_fault(Fault.of(error, time.time()))

    def _take(self, asked: Question | None) -> bytes:
        if asked is not None:
            return self._answer(asked)
        self._searcher.start()
        return b""

    def _answer(self, asked: Question) -> bytes:
        now = time.monotonic()
        if asked.deadline < now:
            return b""
        while self._learnt:
            self._near.remember(self._learnt.popleft())
        seen = self._glance(asked)
        if isinstance(seen, Trace) and not self._has_room(now):
            seen = Sighting(None, BUSY, seen.uid)
        if isinstance(seen, Sighting):
            return words.tell(Answer(asked.number, seen))
        deadline = min(asked.deadline, now + LONGEST_S)
        self._open[asked.number] = deadline
        self._searcher.add(_Search(seen, deadline, asked.number))
        return b""

    def _glance(self, asked: Question) -> Sighting | Trace:
        for clue in asked.clues:
            seen = self._near.glance(clue, self._checked)
            if isinstance(seen, Trace) or seen.reason not in _ELSEWHERE:
                break
        return seen

    def _has_room(self, now: float) -> bool:
        if len(self._open) >= self._capacity:
            self._open = {number: deadline for number, deadline in self._open.items() if deadline > now}
        return len(self._open) < self._capacity

    def _found(self, search: Search, found: Found) -> None:
        """In the searching thread."""
        assert isinstance(search, _Search)
        if found.holding is not None:
            self._learnt.append(found.holding)
        self._open.pop(search.number, None)
        self._send(words.tell(Answer(search.number, found.sighting)))

    def _broken(self, fault: Fault) -> None:
        self._send(words.tell_fault(fault))

    def _send(self, lines: bytes) -> None:
        with self._sending, contextlib.suppress(OSError):  # if nobody is left, reading tells
            self._sock.sendall(lines)
