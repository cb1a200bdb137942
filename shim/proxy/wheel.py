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


class TimerWheel:
    """Items by the tick at which they expire. `schedule` is the event loop's `call_later`."""

    __slots__ = ("_schedule", "_slots", "_turning", "now")

    def __init__(self, schedule: Callable[[float, Callable[[], None]], object]) -> None:
        self.now = 0
        """The current tick: a clock that costs nothing to read. It stands still while nothing is due."""
        self._slots: dict[int, set[Expiring]] = {}
        self._schedule = schedule
        self._turning = False

    def add(self, item: Expiring, seconds: float) -> int:
        """Have `item.expire()` called in `seconds`; the result is needed to cancel it."""
        tick = self.now + 1 + math.ceil(seconds / TICK_S)
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = {item}
            if not self._turning:
                self._turning = True
                self._schedule(TICK_S, self._turn)
        else:
            slot.add(item)
        return tick

    def cancel(self, item: Expiring, tick: int) -> None:
        """Forget a deadline; one that has passed already is ignored."""
        slot = self._slots.get(tick)
        if slot is not None:
            slot.discard(item)

    def _turn(self) -> None:
        self.now += 1
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
