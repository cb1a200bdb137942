"""shim.sensor.unanswered: every query above the limit is told of once, and a flood of them is not a flood of lines."""

from __future__ import annotations

import asyncio

import pytest

from shim.events import Event, QueriesDropped
from shim.model import Peer
from shim.sensor import unanswered
from shim.sensor.unanswered import Unanswered

HERE, THERE = Peer("127.0.0.1", 1), Peer("127.0.0.2", 2)


def counts(events: list[Event]) -> list[int]:
    return [event.count for event in events if isinstance(event, QueriesDropped)]


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_first_at_once_and_the_others_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unanswered, "TELL_EVERY_S", 0.01)
    events: list[Event] = []
    dropped = Unanswered(events.append, "send_queue")
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(dropped.tell())
        dropped.add(HERE)
        await turns()
        assert counts(events) == [1]
        for _ in range(1000):
            dropped.add(THERE)
        await turns()
        assert counts(events) == [1]
        while len(events) < 2:
            await asyncio.sleep(0.005)
        assert counts(events) == [1, 1000]
        assert isinstance(last := events[-1], QueriesDropped) and last.peer == THERE
        assert {event.reason for event in events if isinstance(event, QueriesDropped)} == {"send_queue"}
        telling.cancel()


async def test_what_is_left_is_told_at_the_end() -> None:
    events: list[Event] = []
    dropped = Unanswered(events.append, "send_queue")
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(dropped.tell())
        dropped.add(HERE)
        await turns()
        for _ in range(7):
            dropped.add(HERE)
        telling.cancel()
    assert counts(events) == [1, 7]


async def test_nothing_is_told_of_nothing() -> None:
    events: list[Event] = []
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(Unanswered(events.append, "send_queue").tell())
        await turns()
        telling.cancel()
    assert events == []
