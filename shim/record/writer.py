"""Lines to a descriptor without ever waiting for whoever reads them.

No threads, no formats: it is given finished lines, keeps what does not fit yet, and counts what it must drop.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable

from shim.record.outlet import Outlet

CLOSE_WAIT_S = 2.0
"""How long `close` waits for a reader that does not read."""

_CHUNK = 65536
"""Bytes of one write: the size of a pipe."""

_NEWLINE = b"\n"

_GAP = b""
"""Stands in the queue where lines are missing, at most once; no line is empty."""


class LineWriter:
    """A bounded buffer before a descriptor.

    What does not fit is dropped by whole lines, and the line that `on_dropped` makes of their number stands where the
    first of them is missing. A kind of line may hold as many bytes as are still free: one kind alone gets half of the
    buffer, two a third each. So a flood of one kind leaves room for all others. `atomic` is for several processes at
    one descriptor: each write is whole lines of at most PIPE_BUF bytes (a longer line is a write of its own), so that
    lines do not mix.
    """

    __slots__ = (
        "_chunk_bytes",
        "_held",
        "_kinds",
        "_limit",
        "_lines",
        "_missing",
        "_outlet",
        "_rest",
        "_size",
        "_torn",
        "on_dropped",
    )

    def __init__(self, fd: int, limit_bytes: int = 8 << 20, *, atomic: bool = False) -> None:
        self.on_dropped: Callable[[int], bytes] = lambda count: b"%d lines dropped\n" % count
        self._outlet = Outlet(fd)
        self._limit = limit_bytes
        self._chunk_bytes = select.PIPE_BUF if atomic else _CHUNK
        self._lines: deque[bytes] = deque()
        self._kinds: deque[str] = deque()  # of each of _lines
        self._held: dict[str, int] = {}  # bytes of _lines by kind
        self._rest = b""  # what the last write left over: goes before _lines
        self._size = 0  # bytes of _lines and _rest
        self._missing = 0
        self._torn = False  # what went out last was not the end of a line

    @property
    def is_terminal(self) -> bool:
        """True where a person reads."""
        return self._outlet.is_terminal

    @property
    def missing(self) -> int:
        """Lines that were dropped and of which no line tells yet."""
        return self._missing

    def write(self, line: bytes, kind: str = "") -> None:
        """Take one line, its newline included. `kind` is whom it shares its part of the buffer with."""
        size = self._size + len(line)
        held = self._held.get(kind, 0) + len(line)
        if held > self._limit - size:
            self._count(1)
            return
        self._held[kind] = held
        self._size = size
        self._lines.append(line)
        self._kinds.append(kind)

    def flush(self) -> bool:
        """Write what goes without waiting. False when something is left: flush again soon."""
        try:
            while self._rest or self._lines:
                if self._rest or self._lines[0]:
                    self._send_lines()
                else:
                    self._send_notice()
        except BlockingIOError:
            return False
        except OSError:  # nobody reads any more, or the disk is full: the next line will try again
            self._give_up()
        return True

    def close(self) -> None:
        """Write all that is left, waiting at most CLOSE_WAIT_S in all; what then remains is lost."""
        deadline = time.monotonic() + CLOSE_WAIT_S
        while not self.flush() and (left := deadline - time.monotonic()) > 0:
            self._outlet.wait(left)
        self._give_up()
        self._outlet.close()

    def _send_lines(self) -> None:
        self._rest = self._rest or self._chunk()
        written = self._send(self._rest)
        self._rest = self._rest[written:]
        self._size -= written

    def _send_notice(self) -> None:
        """Those that go missing from now on are in another gap."""
        notice = _NEWLINE * self._torn + self.on_dropped(self._missing)
        written = self._send(notice)
        self._take()
        self._missing = 0
        self._rest = notice[written:]
        self._size += len(self._rest)

    def _send(self, data: bytes) -> int:
        written = self._outlet.send(data)
        if not written:
            raise BlockingIOError
        self._torn = not data.endswith(_NEWLINE, 0, written)
        return written

    def _chunk(self) -> bytes:
        """Whole lines for one write; at least one."""
        lines = self._lines
        if self._size <= self._chunk_bytes and not self._missing:
            whole = b"".join(lines)
            self._clear()
            return whole
        taken = [self._take()]
        room = self._chunk_bytes - len(taken[0])
        while lines and lines[0] and (room := room - len(lines[0])) >= 0:
            taken.append(self._take())
        return b"".join(taken)

    def _take(self) -> bytes:
        """The line that goes next."""
        line, kind = self._lines.popleft(), self._kinds.popleft()
        self._held[kind] = self._held.get(kind, 0) - len(line)
        return line

    def _count(self, missing: int) -> None:
        """So many more are missing: told of here, unless there is an earlier gap of which nothing is told yet."""
        if missing and not self._missing:
            self._lines.append(_GAP)
            self._kinds.append("")
        self._missing += missing

    def _give_up(self) -> None:
        lost = self._rest.count(_NEWLINE) + sum(map(bool, self._lines)) + self._missing
        self._clear()
        self._rest = b""
        self._size = self._missing = 0
        self._count(lost)

    def _clear(self) -> None:
        self._lines.clear()
        self._kinds.clear()
        self._held.clear()
