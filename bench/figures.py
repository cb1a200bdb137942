"""From samples to figures: medians, and ratios of two peers taken within one round.

A sample with an error counts for nothing here. Never compares absolute figures of different rounds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

Values = list[float]
Record = dict[str, Any]
"""What a run leaves: run.Run.record."""

BASE = "haproxy"
"""Whose cost others are compared with: it parses nothing, and only forwards."""


UNSAID: Mapping[str, Any] = {
    **dict.fromkeys(("cpu", "p50_us", "p99_us", "fairness")),
    **dict.fromkeys(("relay_share", "loadgen_share", "upstream_share", "foreign_share", "rate"), 0.0),
    "count": 0,
    "errors": 0,
    "first_error": "",
    "extra": {},
}
"""What a sample means by leaving it out."""


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest value it was taken from."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Values) -> Spread | None:
        return cls(median(values), min(values), max(values)) if values else None

    def times(self, factor: float) -> Spread:
        return Spread(self.median * factor, self.least * factor, self.greatest * factor)

    def __str__(self) -> str:
        if self.least == self.greatest:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({self.least:.2f}..{self.greatest:.2f})"


class Figures:
    """All samples of one record, by test, peer and round."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self._by: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
        for sample in record["samples"]:
            self._by[sample["test"], sample["peer"]][sample["round"]] = {**UNSAID, **sample}

    def tests(self) -> set[str]:
        return {test for test, _ in self._by}

    def peers(self, test: str) -> list[str]:
        """Those measured in `test`, in the order of the record."""
        return [name for name in self.record["peers"] if (test, name) in self._by]

    def foreign(self) -> Spread | None:
        """What anything else on the machine took of one core, over all samples."""
        return Spread.of([s.get("foreign_share", 0.0) for s in self.record["samples"] if s["test"] != "idle"])

    def sample(self, test: str, peer: str) -> dict[str, Any] | None:
        """The one sample of a test that is run once."""
        return next(iter(self._by.get((test, peer), {}).values()), None)

    def errors(self, test: str, peer: str) -> list[str]:
        return [s["first_error"] or "unknown" for s in self._by[test, peer].values() if s["errors"]]

    def values(self, test: str, peer: str, metric: str) -> Values:
        return list(self._of(test, peer, metric).values())

    def spread(self, test: str, peer: str, metric: str) -> Spread | None:
        return Spread.of(self.values(test, peer, metric))

    def middle(self, test: str, peer: str, metric: str) -> float | None:
        values = self.values(test, peer, metric)
        return median(values) if values else None

    def ratio(self, test: str, metric: str, peer: str, against: str) -> Spread | None:
        """`peer` divided by `against`, round by round."""
        ours, theirs = self._of(test, peer, metric), self._of(test, against, metric)
        return Spread.of([ours[number] / theirs[number] for number in ours if theirs.get(number)])

    def _of(self, test: str, peer: str, metric: str) -> dict[int, float]:
        rounds = self._by.get((test, peer), {})
        return {n: s[metric] for n, s in rounds.items() if not s["errors"] and s[metric] is not None}


Reached = tuple[str, Spread]
"""Who the shim was compared with, and the ratio."""


@dataclass(frozen=True)
class Goal:
    """A figure the shim is to reach: its ratio in one test to each of `against`, at most or at least `limit`."""

    says: str
    test: str
    metric: str
    against: tuple[str, ...]
    at_most: bool
    limit: float
    row: str = "shim"

    def measured(self, figures: Figures) -> Reached | None:
        """The ratio to the one that is hardest to match."""
        ratios = [(name, figures.ratio(self.test, self.metric, self.row, name)) for name in self.against]
        found = [(name, ratio) for name, ratio in ratios if ratio]
        if not found:
            return None
        return (max if self.at_most else min)(found, key=lambda pair: pair[1].median)

    def reached(self, got: Spread) -> bool:
        return got.median <= self.limit if self.at_most else got.median >= self.limit

    def wanted(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}"


def _most(says: str, test: str, metric: str, limit: float, row: str = "shim") -> Goal:
    return Goal(says, test, metric, (BASE,), True, limit, row)


def _least(says: str, test: str, limit: float, *against: str) -> Goal:
    return Goal(says, test, "rate", against, False, limit)


SLOWER = ("3proxy", "dante", "sing-box", "pproxy", "asyncio-socks-server")
"""Those that are to be passed in connections per second; microsocks and haproxy do less for one."""

RELAYS = (BASE, "microsocks", *SLOWER)
BULK = {"down8": "download, 8 connections", "up8": "upload, 8 connections", "down64": "download, 64 connections"}
BULK |= {"up64": "upload, 64 connections"}
GOALS = (
    _most("CPU per connection", "setup", "cpu", 1.4),
    _most("CPU per connection, each one's program looked up", "setup", "cpu", 1.9, "shim-attributed"),
    *(_least("connection rate", "setup", 1, name) for name in SLOWER),
    *(_most(f"CPU per GiB, {says}", test, "cpu", 1) for test, says in BULK.items()),
    _most("CPU per GiB, download, 1 connection", "down1", "cpu", 1),
    _least("throughput, download, 8 connections", "down8", 0.8, "direct"),
    *(_least(f"throughput, {says}, against the fastest relay", test, 1, *RELAYS) for test, says in BULK.items()),
    _least("throughput, download, 1 connection", "down1", 0.9, BASE),
    _most("time of a lone 64-byte round trip (p50)", "ping1", "p50_us", 1.25),
)
IDLE_KIB_MOST = 1.5  # resident memory per idle tunnel
