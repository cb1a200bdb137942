"""The thread that searches: together, within its time, never in the way of what is soon found, and through any bug."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from rig.lookers import NAMED, TIMEOUT_S, Scripted, clue
from rig.waiting import until

from shim.events import Fault
from shim.witness.looking import GONE, Found, Sighting, Trace
from shim.witness.searcher import DEBT_S, RESTS, Pace, Search, Searcher

NOBODY = Sighting(None, GONE)


class Bench:
    """A searcher with a scripted looker, and what it has handed over."""

    def __init__(self) -> None:
        self.looker = Scripted()
        self.ends: queue.Queue[tuple[int, Sighting]] = queue.Queue()
        self.faults: queue.Queue[Fault] = queue.Queue()
        self.searcher = Searcher(self.looker, self._found, self.faults.put)

    def _found(self, search: Search, found: Found) -> None:
        assert found.trace is search.trace
        self.ends.put((search.trace.clue.client.port, found.sighting))  # type: ignore[union-attr]

    def ask(self, *ports: int, seconds: float = TIMEOUT_S) -> None:
        for port in ports:
            self.searcher.add(Search(Trace(clue(port)), time.monotonic() + seconds))

    def answer(self, *results: Sighting | Exception) -> None:
        for result in results:
            self.looker.results.put(result)

    def told(self, count: int) -> list[tuple[int, Sighting]]:
        return [self.ends.get(timeout=TIMEOUT_S) for _ in range(count)]

    def searching(self) -> list[int]:
        return ports(self.looker.searches.get(timeout=TIMEOUT_S))

    def skimming(self) -> list[int]:
        return ports(self.looker.skimmed.get(timeout=TIMEOUT_S))


def ports(traces: list[Trace]) -> list[int]:
    return [trace.clue.client.port for trace in traces]  # type: ignore[union-attr]


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "witness"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.searcher.close()
    assert not threads()


def test_it_does_not_run_before_there_is_something_to_do(bench: Bench) -> None:
    assert not threads()
    bench.searcher.start()
    bench.searcher.start()
    assert len(threads()) == 1


def test_what_is_soon_found_is_not_searched_for(bench: Bench) -> None:
    bench.looker.likely = {clue(1): NAMED}
    bench.ask(1)
    assert bench.told(1) == [(1, NAMED)]
    assert bench.looker.searches.empty()


def test_what_waits_is_searched_for_together(bench: Bench) -> None:
    bench.ask(0)
    assert bench.searching() == [0]
    bench.ask(*range(1, 50))
    bench.answer(*[NAMED] * 50)
    assert bench.searching() == list(range(1, 50))
    assert bench.told(50) == [(port, NAMED) for port in range(50)]


def test_what_comes_in_the_middle_of_a_search_is_skimmed_for_at_once(bench: Bench) -> None:
    bench.ask(1, 2)
    assert bench.skimming() == [1] or bench.searching()
    bench.looker.likely = {clue(3): NAMED}
    bench.ask(3, 4)
    bench.answer(NOBODY)
    assert bench.told(2) == [(1, NOBODY), (3, NAMED)]
    bench.answer(NOBODY, NOBODY)
    assert bench.told(2) == [(2, NOBODY), (4, NOBODY)]


def test_what_is_late_is_not_searched_for(bench: Bench) -> None:
    bench.ask(1)
    assert bench.searching() == [1]
    bench.ask(2, seconds=-1)
    bench.ask(3)
    bench.answer(NAMED, NAMED)
    assert bench.searching() == [3]
    assert bench.told(2) == [(1, NAMED), (3, NAMED)]


def test_a_search_that_its_own_wait_has_made_late_is_given_up(bench: Bench) -> None:
    bench.ask(1)
    assert bench.searching() == [1]
    bench.ask(2, seconds=0.05)
    time.sleep(0.06)
    bench.answer(NAMED)
    bench.told(1)
    bench.ask(3)
    bench.answer(NAMED)
    assert bench.told(1) == [(3, NAMED)]


def test_it_ends_in_the_middle_of_a_search() -> None:
    bench = Bench()
    bench.ask(1, 2, 3)
    bench.searching()
    closing = threading.Thread(target=bench.searcher.close)
    closing.start()
    until(lambda: bench.searcher._ending, "the end to be asked for")
    bench.answer(NAMED)
    closing.join(TIMEOUT_S)
    assert not threads()
    assert bench.looker.closed == 1
    assert bench.ends.qsize() <= 2


def test_what_waits_when_it_ends_is_left(bench: Bench) -> None:
    bench.ask(1)
    bench.searching()
    bench.ask(2)
    bench.answer(NAMED)
    bench.searcher.close()
    assert not threads()


def test_a_bug_does_not_end_it(bench: Bench) -> None:
    bench.ask(1)
    bench.answer(RuntimeError("no name of a destination comes out of here"))
    fault = bench.faults.get(timeout=TIMEOUT_S)
    assert (fault.error, fault.place.partition(":")[0]) == ("RuntimeError", "rig.lookers")
    bench.looker.likely = {clue(2): NAMED}
    bench.ask(2)
    assert bench.told(1) == [(2, NAMED)]


@pytest.mark.parametrize("step", ["prepare", "skim"])
def test_nor_does_one_before_any_search(bench: Bench, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(bench.looker, step, broken)
        bench.searcher.start()
        if step == "skim":
            bench.ask(1)
        bench.faults.get(timeout=TIMEOUT_S)
    bench.ask(2)
    bench.answer(NAMED, NAMED)
    assert (2, NAMED) in bench.told(2 if step == "skim" else 1)


def test_preparing_gives_way_to_what_is_asked_and_goes_on(bench: Bench) -> None:
    begun, resumed = threading.Event(), threading.Event()

    def preparing(interrupted: Callable[[], bool]) -> bool:
        if begun.is_set():
            resumed.set()
            return True
        begun.set()
        while not interrupted():
            time.sleep(0.001)
        return False

    bench.looker.preparing = preparing
    bench.searcher.start()
    assert begun.wait(TIMEOUT_S)
    bench.ask(1)
    bench.answer(NAMED)
    assert bench.told(1) == [(1, NAMED)]
    assert resumed.wait(TIMEOUT_S)
    assert bench.looker.done == ["prepare", "search", "prepare"]


def test_what_is_asked_comes_before_preparing(bench: Bench) -> None:
    bench.answer(NAMED)
    bench.ask(1)
    bench.told(1)
    assert bench.looker.done[0] == "search"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def searches(self, pace: Pace, taken: float) -> None:
        self.now += taken
        pace.searched(self.now - taken)


def test_searching_all_the_time_gets_a_quarter_of_it() -> None:
    clock = Clock()
    pace = Pace(clock)
    rests = []
    for _ in range(10):
        clock.searches(pace, 0.125)
        rests.append(pace.rest())
        clock.now += pace.rest()
    assert rests == [0.0] * int(DEBT_S / 0.125) + [RESTS * 0.125] * 6


def test_who_waits_between_searches_need_not_rest() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(50):
        clock.searches(pace, 0.125)
        assert pace.rest() == 0.0
        clock.now += 0.125
    for _ in range(5):
        clock.searches(pace, 0.125)
    assert pace.rest() == RESTS * 0.125
    clock.now += 100
    assert pace.rest() == 0.0
    clock.searches(pace, 0.25)
    assert pace.rest() == 0.0


def test_while_it_rests_it_skims(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "rest", lambda self: 0.01)
    bench.looker.likely = {clue(2): NAMED}
    bench.ask(1, 2, 3)
    assert bench.told(1) == [(2, NAMED)]
    bench.ask(2)
    assert bench.told(1) == [(2, NAMED)]
    assert bench.looker.searches.empty()
    monkeypatch.undo()
    bench.answer(NOBODY, NOBODY)
    assert bench.told(2) == [(1, NOBODY), (3, NOBODY)]
