"""Numbers that all wait equally long: one timer of the loop for whichever has waited longest, instead of one each.

Knows nothing of what they are waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

_COARSE_S: Final = 0.001
"""The loop's timers may fire so much too early: whose time comes within that is not waited for once more."""


class Timer(Protocol):
    """What loop.call_later returns."""

    def cancel(self) -> None: ...


class Patience:
    """Calls `late` with each number that is still here `seconds` after it was added. Belongs to one event loop."""

    __slots__ = ("_due", "_late", "_loop", "_timer", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, late: Callable[[int], None]) -> None:
        self.seconds = seconds
        self._loop = loop
        self._late = late
        self._due: dict[int, float] = {}  # the first to come is the first that is due
        self._timer: Timer | None = None

    def add(self, number: int) -> float:
        """Let this one wait; until when (monotonic)."""
        due = self._due[number] = time.monotonic() + self.seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self.seconds, self._ring)
        return due

    def discard(self, number: int) -> None:
        """It waits no more, if it did."""
        self._due.pop(number, None)

    def close(self) -> None:
        """Nobody waits any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        now = time.monotonic() + _COARSE_S
        try:
            while (number := next(iter(self._due), None)) is not None and self._due[number] <= now:
                del self._due[number]
                self._late(number)
        finally:  # a bug of one who was called must not stop the clock of the others
            self._timer = self._next()

    def _next(self) -> Timer | None:
        due = next(iter(self._due.values()), None)
        return None if due is None else self._loop.call_later(max(due - time.monotonic(), 0.0), self._ring)
