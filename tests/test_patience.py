"""Numbers that wait equally long: each is told once, in its order and not before its time; a bug stops no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import uvloop

from shim.witness.patience import Patience

TIMEOUT_S = 20.0
WAIT_S = 0.03
EARLY_S = 0.002
"""So much the loop's timers are too early, and what is not waited for once more."""

FACTORIES = pytest.mark.parametrize(
    "factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


@FACTORIES
def test_each_is_told_in_its_order_and_not_before_its_time(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    told: list[tuple[int, float]] = []
    added: dict[int, float] = {}

    async def main() -> None:
        enough = asyncio.Event()

        def late(number: int) -> None:
            told.append((number, time.monotonic()))
            if number == 9:
                enough.set()

        patience = Patience(asyncio.get_running_loop(), WAIT_S, late)
        for number in range(10):
            added[number] = time.monotonic()
            assert patience.add(number) >= added[number] + WAIT_S
            await asyncio.sleep(WAIT_S / 5)
        for number in (3, 7, 99):
            patience.discard(number)
        await asyncio.wait_for(enough.wait(), TIMEOUT_S)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    numbers = [number for number, _ in told]
    assert numbers == sorted(set(numbers)) and set(range(10)) - set(numbers) <= {3, 7}
    assert all(at >= added[number] + WAIT_S - EARLY_S for number, at in told)


@FACTORIES
def test_a_bug_of_one_stops_no_other(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    told: list[int] = []
    bugs: list[BaseException] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: bugs.append(context["exception"]))
        enough = asyncio.Event()

        def late(number: int) -> None:
            told.append(number)
            if number == 1:
                raise RuntimeError("a bug")
            if number == 3:
                patience.add(4)  # who is told may ask again
            if number == 4:
                enough.set()

        patience = Patience(loop, 0.001, late)
        for number in (1, 2, 3):
            patience.add(number)
        await asyncio.wait_for(enough.wait(), TIMEOUT_S)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert told == [1, 2, 3, 4]
    assert list(map(str, bugs)) == ["a bug"]


async def test_none_is_told_once_it_is_closed() -> None:
    told: list[int] = []
    patience = Patience(asyncio.get_running_loop(), 0.0, told.append)
    patience.add(1)
    patience.close()
    patience.close()
    await asyncio.sleep(0.005)
    assert told == []
