"""Chromium's probes: labels of random letters, several at once, that nobody typed and no host bears.

Joins queries of one machine within two seconds; a single such label stays a single label.
"""

from __future__ import annotations

from shim.events import DnsQueried, LeakFound
from shim.judge.beside import machine_of
from shim.judge.ledger import Ledger
from shim.judge.queries import PROBE, SINGLE, of_query
from shim.judge.recent import Recent

WITHIN_S = 2.0
MACHINES = 1024
BURST_MAX = 16
"""Three labels, two families each, some asked again: what is beyond is no probe but a flood."""


class Probes:
    """Queries for labels that a probe may be."""

    __slots__ = ("_bursts", "_ledger")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._bursts: Recent[str, list[tuple[float, str, str | None]]] = Recent(MACHINES, WITHIN_S)

    def label(self, event: DnsQueried) -> tuple[LeakFound, ...]:
        """The finding of one query; with the second label, those of the first are put right."""
        machine, at = machine_of(event.peer), event.at
        burst = [each for each in self._bursts.get(machine, at) or () if abs(at - each[0]) <= WITHIN_S]
        probing = any(label != event.qname for _, label, _ in burst)
        found = of_query(event, PROBE if probing else SINGLE, self._ledger.take())
        raised: list[LeakFound] = []
        if probing:
            for finding in (each[2] for each in burst if each[2] is not None):
                raised += self._ledger.raised(
                    finding, at, PROBE.confidence, *PROBE.evidence, rule=PROBE.rule, advice=PROBE.advice
                )
            burst = [(seen, label, None) for seen, label, _ in burst]
        burst.append((at, event.qname, None if probing else self._ledger.keep(found)))
        self._bursts.put(machine, burst[-BURST_MAX:], at)
        return found, *raised
