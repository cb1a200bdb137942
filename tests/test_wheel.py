"""The timer wheel: never early, late by a tick or so, silent while nothing is due, not stopped by a bug."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.plane import HandClock

from shim.proxy.wheel import TICK_S, Slot, TimerWheel


class Item:
    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.fired = 0
        self.then = then

    def expire(self) -> None:
        self.fired += 1
        self.then()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def wheel(clock: HandClock) -> TimerWheel:
    return TimerWheel(clock)


@given(seconds=st.floats(min_value=0, max_value=30), before=st.integers(min_value=0, max_value=5))
def test_fires_once_never_early_and_at_most_two_ticks_late(seconds: float, before: int) -> None:
    clock = HandClock()
    wheel = TimerWheel(clock)
    wheel.add(Item(), 60)  # keeps it turning
    clock.turn(before)
    item = Item()
    wheel.add(item, seconds)
    turns = 0
    while not item.fired:
        clock.turn()
        turns += 1
    # The first turn after `add` may come at once, so n turns prove only n - 1 ticks.
    assert (turns - 1) * TICK_S >= seconds
    assert (turns - 2) * TICK_S < seconds
    clock.turn(10)
    assert item.fired == 1


def test_asks_for_one_timer_however_many_items(clock: HandClock, wheel: TimerWheel) -> None:
    for _ in range(100):
        wheel.add(Item(), 1)
    assert [delay for delay, _ in clock.waiting] == [TICK_S]
    assert len(wheel) == 100


def test_stands_still_while_nothing_is_due(clock: HandClock, wheel: TimerWheel) -> None:
    assert clock.waiting == []
    wheel.add(Item(), 0)
    clock.turn()
    now = wheel.now
    assert clock.waiting == []
    item = Item()
    wheel.add(item, 0)
    clock.turn()
    assert (item.fired, wheel.now) == (1, now + 1)


def test_a_cancelled_deadline_does_not_fire(clock: HandClock, wheel: TimerWheel) -> None:
    kept, dropped = Item(), Item()
    wheel.add(kept, 1)
    wheel.add(dropped, 1).discard(dropped)
    clock.advance(5)
    assert (kept.fired, dropped.fired) == (1, 0)
    assert len(wheel) == 0
    assert clock.waiting == []


def test_cancelling_what_has_fired_is_ignored(clock: HandClock, wheel: TimerWheel) -> None:
    item = Item()
    slot = wheel.add(item, 0)
    clock.turn()
    slot.discard(item)
    assert item.fired == 1


def test_what_is_added_in_the_next_tick_is_due_a_tick_later(clock: HandClock, wheel: TimerWheel) -> None:
    first, second = Item(), Item()
    wheel.add(first, 1)
    clock.turn()
    wheel.add(second, 1)
    while not first.fired:
        clock.turn()
    assert second.fired == 0
    clock.turn()
    assert second.fired == 1


def test_an_item_may_add_itself_again_while_it_fires(clock: HandClock, wheel: TimerWheel) -> None:
    item = Item(lambda: wheel.add(item, 0))
    wheel.add(item, 0)
    clock.turn(5)
    assert item.fired == 5


def test_one_that_fires_may_cancel_another_of_the_same_tick(clock: HandClock, wheel: TimerWheel) -> None:
    slots: list[Slot] = []

    def cancel_all() -> None:
        for item, slot in zip(items, slots, strict=True):
            slot.discard(item)

    items = [Item(cancel_all), Item(cancel_all)]
    slots += [wheel.add(item, 1) for item in items]
    clock.advance(5)
    assert sum(item.fired for item in items) == 1


def test_an_item_that_raises_stops_neither_the_wheel_nor_its_neighbours(clock: HandClock, wheel: TimerWheel) -> None:
    def bug() -> None:
        raise RuntimeError("bug")

    others = [Item() for _ in range(20)]
    for item in (*others[:10], Item(bug), *others[10:]):
        wheel.add(item, 0)
    later = Item()
    wheel.add(later, 1)
    with pytest.raises(RuntimeError):  # the loop's exception handler publishes it
        clock.turn()
    clock.advance(5)
    assert [item.fired for item in others] == [1] * 20
    assert later.fired == 1
