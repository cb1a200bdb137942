"""Deadlines of many connections in one coarse wheel: no timer object per connection.

A deadline fires up to one tick late, never early. Reads no clock: the owner turns it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

TICK_S = 0.25
"""One turn of the wheel, in seconds: coarse beside deadlines of 10 s and 120 s, cheap beside their number."""


class Expiring(Protocol):
    """Something with a deadline."""

    def expire(self) -> None: ...


Slot = set[Expiring]
"""All that expire at one tick."""


class TimerWheel:
    """Items by the tick at which they expire. `schedule` is the event loop's `call_later`."""

    __slots__ = ("_by_delay", "_schedule", "_slots", "_turning", "now")

    def __init__(self, schedule: Callable[[float, Callable[[], None]], object]) -> None:
        self.now = 0
        """The current tick: a clock that costs nothing to read. It stands still while nothing is due."""
        self._slots: dict[int, Slot] = {}
        self._by_delay: dict[float, Slot] = {}  # of this tick only: deadlines come in few lengths, and often
        self._schedule = schedule
        self._turning = False

    def add(self, item: Expiring, seconds: float) -> Slot:
        """Have `item.expire()` called in `seconds`. Discard it from the result to forget that: legal at any time."""
        slot = self._by_delay.get(seconds)
        if slot is None:
            slot = self._by_delay[seconds] = self._slot(self.now + 1 + math.ceil(seconds / TICK_S))
        slot.add(item)
        return slot

    def after(self, seconds: float, run: Callable[[], None]) -> None:
        """Have `run` called in `seconds`, without the wheel's coarseness, and without a way to forget it."""
        self._schedule(seconds, run)

    def _slot(self, tick: int) -> Slot:
        if not self._turning:
            self._turning = True
            self._schedule(TICK_S, self._turn)
        return self._slots.setdefault(tick, set())

    def _turn(self) -> None:
        self.now += 1
        self._by_delay.clear()
        fault = None
        due = self._slots.get(self.now)
        while due:  # taken one by one from the slot itself: one that fires may cancel another
            try:
                due.pop().expire()
            except Exception as error:  # one connection's bug must not stop the clock of the others
                fault = error
        self._slots.pop(self.now, None)
        self._turning = bool(self._slots)
        if self._turning:
            self._schedule(TICK_S, self._turn)
        if fault is not None:
            raise fault  # to whoever turns the wheel: the event loop's exception handler

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))
