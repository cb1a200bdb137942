"""The bus: order, batches, one timer, consequences, and subscribers that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from shim.events import ConnectionClosed, Event, Fault, UpstreamChanged
from shim.record.bus import Bus


class Timer:
    """A scheduler in the hand: remembers what it was asked, runs it when told."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, delay_s: float, run: Callable[[], None]) -> None:
        self.waiting.append((delay_s, run))

    def fire(self) -> None:
        due, self.waiting = self.waiting, []
        for _, run in due:
            run()


def closed(number: int) -> ConnectionClosed:
    return ConnectionClosed(
        at=float(number), conn=f"c{number}", sent=0, received=0, seconds=0.0, reason="client_closed"
    )


@pytest.fixture
def timer() -> Timer:
    return Timer()


def test_events_come_in_order_when_the_timer_fires(timer: Timer) -> None:
    bus, seen = Bus(timer, delay_s=0.5), []
    bus.subscribe(seen.append)
    events = [closed(n) for n in range(5)]
    for event in events:
        bus.publish(event)
    assert seen == []
    assert [delay for delay, _ in timer.waiting] == [0.5]
    timer.fire()
    assert seen == events


def test_one_timer_at_a_time_and_a_new_one_for_what_comes_later(timer: Timer) -> None:
    bus, seen = Bus(timer), []
    bus.subscribe(seen.append)
    bus.publish(closed(1))
    bus.flush()
    bus.publish(closed(2))
    assert len(timer.waiting) == 1
    timer.fire()
    bus.publish(closed(3))
    assert len(timer.waiting) == 1
    timer.fire()
    assert [event.conn for event in seen] == ["c1", "c2", "c3"]


def test_a_full_batch_is_delivered_inline_and_nothing_is_lost(timer: Timer) -> None:
    bus, seen = Bus(timer, batch=4), []
    bus.subscribe(seen.append)
    for number in range(10):
        bus.publish(closed(number))
        assert number + 1 - len(seen) < 4
    bus.flush()
    assert [event.conn for event in seen] == [f"c{n}" for n in range(10)]
    assert len(timer.waiting) == 1


def test_consequences_reach_all_subscribers_right_after_their_cause(timer: Timer) -> None:
    bus, first, last = Bus(timer), [], []

    def correlator(event: Event) -> Iterator[Event]:
        if isinstance(event, ConnectionClosed):
            yield UpstreamChanged(at=event.at, upstream="a")
            yield UpstreamChanged(at=event.at, upstream="b")

    bus.subscribe(first.append)
    bus.subscribe(correlator)
    bus.subscribe(last.append)
    bus.publish(closed(1))
    bus.publish(closed(2))
    timer.fire()
    expected = [
        closed(1),
        UpstreamChanged(1.0, "a"),
        UpstreamChanged(1.0, "b"),
        closed(2),
        UpstreamChanged(2.0, "a"),
        UpstreamChanged(2.0, "b"),
    ]
    assert first == expected
    assert last == expected


def test_what_a_subscriber_publishes_goes_out_in_the_same_flush_after_the_batch(timer: Timer) -> None:
    bus, seen = Bus(timer, batch=2), []

    def talkative(event: Event) -> None:
        seen.append(event)
        if isinstance(event, ConnectionClosed):
            bus.publish(UpstreamChanged(event.at, None))

    bus.subscribe(talkative)
    bus.publish(closed(1))
    bus.publish(closed(2))
    assert seen == [closed(1), closed(2), UpstreamChanged(1.0, None), UpstreamChanged(2.0, None)]


def test_a_subscriber_that_publishes_for_ever_yields_to_the_loop(timer: Timer) -> None:
    bus, calls = Bus(timer), []

    def endless(event: Event) -> None:
        calls.append(event)
        bus.publish(event)

    bus.subscribe(endless)
    bus.publish(closed(1))
    bus.flush()
    done = len(calls)
    assert 0 < done < 100
    timer.fire()
    assert done < len(calls) < 200


def test_a_raising_subscriber_stops_nobody_and_becomes_a_fault(timer: Timer) -> None:
    bus, seen = Bus(timer), []

    def broken(event: Event) -> None:
        if isinstance(event, ConnectionClosed):
            raise ValueError("secret.example.org")

    bus.subscribe(broken)
    bus.subscribe(seen.append)
    bus.publish(closed(7))
    timer.fire()
    assert seen[0] == closed(7)
    (found,) = seen[1:]
    assert isinstance(found, Fault)
    assert (found.at, found.error) == (7.0, "ValueError")
    assert found.place.startswith("test_bus:")
    assert "secret" not in repr(found)
    assert bus.faults == 1


def test_a_bug_met_by_every_event_is_one_fault_a_flush_but_counted_each_time(timer: Timer) -> None:
    bus, seen = Bus(timer), []

    def broken(event: Event) -> None:
        raise KeyError(event.at)

    bus.subscribe(broken)
    bus.subscribe(lambda event: seen.append(event) if isinstance(event, Fault) else None)
    for number in range(3):
        bus.publish(closed(number))
    bus.flush()
    assert len(seen) == 1
    assert bus.faults == 4  # three events, and the Fault itself, which makes no further one
    bus.publish(closed(9))
    bus.flush()
    assert len(seen) == 2


def test_what_a_generator_gave_before_it_broke_off_is_delivered(timer: Timer) -> None:
    bus, seen = Bus(timer), []

    def halfway(event: Event) -> Iterator[Event]:
        if isinstance(event, ConnectionClosed):
            yield UpstreamChanged(event.at, "a")
            raise RuntimeError

    bus.subscribe(halfway)
    bus.subscribe(seen.append)
    bus.publish(closed(1))
    bus.flush()
    assert [type(event) for event in seen] == [ConnectionClosed, UpstreamChanged, Fault]


def test_a_subscriber_that_answers_itself_is_cut_off_and_told(timer: Timer) -> None:
    bus, seen = Bus(timer), []

    def echo(event: Event) -> list[Event]:
        return [event, event]

    bus.subscribe(echo)
    bus.subscribe(seen.append)
    bus.publish(closed(1))
    bus.flush()
    assert len(seen) < 2000
    assert [event.error for event in seen if isinstance(event, Fault)] == ["OverflowError"]
