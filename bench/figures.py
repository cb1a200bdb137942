"""From samples to figures: medians, and ratios of two peers taken within one round.

A sample with an error counts for nothing here. Never compares absolute figures of different rounds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import Any

Values = list[float]


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest value it was taken from."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Values) -> Spread | None:
        return cls(median(values), min(values), max(values)) if values else None

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
            self._by[sample["test"], sample["peer"]][sample["round"]] = sample

    def tests(self) -> set[str]:
        return {test for test, _ in self._by}

    def peers(self, test: str) -> list[str]:
        """Those measured in `test`, in the order of the record."""
        return [name for name in self.record["peers"] if (test, name) in self._by]

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


@dataclass(frozen=True)
class Goal:
    """A figure the shim is to reach: its ratio to `against` in one test, at most or at least `limit`."""

    says: str
    test: str
    metric: str
    against: str
    at_most: bool
    limit: float

    def reached(self, got: Spread) -> bool:
        return got.median <= self.limit if self.at_most else got.median >= self.limit

    def wanted(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}"


def _most(says: str, test: str, metric: str, against: str, limit: float) -> Goal:
    return Goal(says, test, metric, against, True, limit)


def _least(says: str, test: str, against: str, limit: float) -> Goal:
    return Goal(says, test, "rate", against, False, limit)


GOALS = (
    _most("CPU per connection", "setup", "cpu", "haproxy", 1.25),
    _least("connection rate", "setup", "haproxy", 0.8),
    *(_least("connection rate", "setup", name, 1) for name in ("3proxy", "dante", "sing-box", "asyncio-socks-server")),
    _least("connection rate", "setup", "pproxy", 3),
    _most("CPU per GiB, 1 connection", "down1", "cpu", "haproxy", 1),
    _most("CPU per GiB, 8 connections", "down8", "cpu", "haproxy", 1),
    _least("throughput, 8 connections", "down8", "direct", 0.7),
    _least("throughput, 8 connections", "down8", "haproxy", 1),
    _least("throughput, 64 connections", "down64", "haproxy", 1),
    _least("throughput, 1 connection", "down1", "haproxy", 0.85),
    *(_least("throughput, 1 connection", "down1", name, 5) for name in ("microsocks", "asyncio-socks-server")),
    *(_least("throughput, 8 connections", "down8", name, 5) for name in ("microsocks", "asyncio-socks-server")),
    _most("time of a lone 64-byte round trip (p50)", "ping1", "p50_us", "haproxy", 1.25),
)
IDLE_KIB_MOST = 1.2  # resident memory per idle tunnel
