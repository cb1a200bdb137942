"""The numbers of findings, and those of them that later evidence may raise.

Decides nothing: what is evidence, and for what, is said by those who write here.
"""

from __future__ import annotations

from shim.events import LeakFound
from shim.judge.memory import MIN_AGE_S
from shim.judge.recent import Recent
from shim.model import Confidence
from shim.value import remaker

_ENTRIES = 4096
_raised = remaker(LeakFound, "at", "revision", "confidence", "evidence", "rule", "advice", "name")
_RANK = {confidence: rank for rank, confidence in enumerate(Confidence)}


class Ledger:
    """Numbers findings f1, f2, … in the order of the events that show them; `prefix` keeps processes apart."""

    __slots__ = ("_kept", "_last", "_prefix")

    def __init__(self, prefix: str = "f") -> None:
        self._prefix = prefix
        self._last = 0
        self._kept: Recent[str, LeakFound] = Recent(_ENTRIES, MIN_AGE_S)

    def take(self) -> str:
        """The number of a new finding."""
        self._last += 1
        return f"{self._prefix}{self._last}"

    def keep(self, found: LeakFound) -> str:
        """Remember a finding's last revision, so that it can be raised; its number."""
        self._kept.put(found.finding, found, found.at)
        return found.finding

    def last(self, finding: str, at: float) -> LeakFound | None:
        """Its last revision, if it is still remembered."""
        return self._kept.get(finding, at)

    def raised(
        self,
        finding: str,
        at: float,
        confidence: Confidence,
        *evidence: str,
        rule: str | None = None,
        advice: str | None = None,
        name: str | None = None,
    ) -> tuple[LeakFound, ...]:
        """The next revision of a finding, with more evidence and no less confidence; nothing when it is forgotten."""
        last = self._kept.get(finding, at)
        if last is None:
            return ()
        found = _raised(
            last,
            at,
            last.revision + 1,
            max(last.confidence, confidence, key=_RANK.__getitem__),
            (*last.evidence, *(code for code in evidence if code not in last.evidence)),
            rule or last.rule,
            advice or last.advice,
            name or last.name,
        )
        self.keep(found)
        return (found,)
