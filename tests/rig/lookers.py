"""Lookers in tests: how to use one, and one that finds what its test tells it to, when its test tells it to."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence

from shim.model import Process
from shim.witness.clues import Clue, Endpoint, Flow
from shim.witness.looking import Checked, Found, Holding, Looker, Sighting, Trace
from shim.witness.proc import Stat

TIMEOUT_S = 20.0
CURL = Process(4242, "curl", "/usr/bin/curl")
NAMED = Sighting(CURL, None, 1000)
HOLDING = Holding(Stat(4242, "curl", 1, 1, 5, 6), CURL, 1000, 5)


def clue(port: int) -> Flow:
    """A connection from this port."""
    return Flow("tcp", Endpoint("127.0.0.1", port), Endpoint("127.0.0.1", 9250))


def look(looker: Looker, *traces: Trace, seconds: float = TIMEOUT_S) -> list[Found]:
    """All of a look-up but its first glance; the ends in the order of the traces."""
    found = {id(end.trace): end for end in looker.skim(traces)}
    rest = [trace for trace in traces if id(trace) not in found]
    found |= {id(end.trace): end for end in looker.search(rest, time.monotonic() + seconds) if end is not None}
    return [found[id(trace)] for trace in traces]


class Scripted:
    """Knows at a glance, or when it skims, what it is told; its searches wait until the test lets them go on."""

    def __init__(self) -> None:
        self.known: dict[Clue, Sighting] = {}
        self.likely: dict[Clue, Sighting] = {}
        self.searches: queue.Queue[list[Trace]] = queue.Queue()
        """Each search as it begins."""
        self.results: queue.Queue[Sighting | Exception] = queue.Queue()
        """What a search finds, for all that it looks for."""
        self.skimmed: queue.Queue[list[Trace]] = queue.Queue()
        """Each time there was something to skim for."""
        self.preparing: Callable[[Callable[[], bool]], bool] = lambda interrupted: True
        self.done: list[str] = []
        self.remembered: list[Holding] = []
        self.closed = 0
        self.checked: list[int] = []
        """How many others each glance shared its `checked` with before it."""

    def glance(self, clue: Clue, checked: Checked | None = None) -> Sighting | Trace:
        if checked is not None:
            self.checked.append(len(checked))
            checked.add(clue)
        return self.known.get(clue) or Trace(clue, 5, 1000)

    def skim(self, traces: Sequence[Trace]) -> Iterator[Found]:
        if traces:
            self.skimmed.put(list(traces))
        for trace in traces:
            if trace.clue in self.likely:
                yield Found(trace, self.likely[trace.clue], HOLDING)

    def search(self, traces: Sequence[Trace], until: float) -> Iterator[Found | None]:
        self.done.append("search")
        self.searches.put(list(traces))
        for trace in traces:
            yield None
            result = self.results.get(timeout=TIMEOUT_S)
            if isinstance(result, Exception):
                raise result
            yield Found(trace, result, HOLDING if result.process else None)

    def prepare(self, interrupted: Callable[[], bool]) -> bool:
        self.done.append("prepare")
        return self.preparing(interrupted)

    def remember(self, holding: Holding) -> None:
        self.remembered.append(holding)

    def close(self) -> None:
        self.closed += 1
