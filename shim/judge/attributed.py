"""Findings with their programs: held until the look-up of their sender has ended, then told with its name.

A fold like the correlator's: that a look-up is under way, and how it ended, are events too. Chooses no advice itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shim.advice import Table
from shim.events import Event, LeakFound, ProcessIdentified, ProcessSought
from shim.judge.correlate import Correlator
from shim.judge.recent import Recent
from shim.judge.remedies import Remedies, Told
from shim.judge.tally import Tally
from shim.model import Process
from shim.value import remaker

_ENTRIES = 4096
_WINDOW_S = 600.0
"""How long later revisions of a finding still get their program's name."""

_LOST = "busy"

_LOOKUPS = frozenset((ProcessSought, ProcessIdentified))

Outcome = tuple[Process | None, str | None]
Findings = tuple[LeakFound, ...]


Tell = Callable[[LeakFound, Process | None, str | None], Told]
"""What a finding is told with, of this program or of one that is unknown for this reason."""

_retold = remaker(LeakFound, "process", "process_reason", "advice", "confidence", "evidence", "count")


def _unchanged(found: LeakFound, _process: Process | None, _reason: str | None) -> Told:
    return Told(found.advice, found.confidence, found.evidence)


class Attributed:
    """Feeds `inner`; its findings come out at once, or when their `conn` or `stream` has been looked up.

    None is ever lost.

    Without `tell` a finding is told with what it came with.
    """

    __slots__ = ("_inner", "_known", "_tally", "_tell", "_waiting")

    def __init__(self, inner: Callable[[Event], Findings], tell: Tell = _unchanged) -> None:
        self._inner = inner
        self._tell = tell
        self._tally = Tally()
        self._known: Recent[str, Outcome] = Recent(_ENTRIES, _WINDOW_S)
        self._waiting: dict[str, list[LeakFound]] = {}

    def feed(self, event: Event) -> Findings:
        """What this event adds to what is known, and what it releases."""
        if type(event) in _LOOKUPS:
            return self._sought(event) if isinstance(event, ProcessSought) else self._identified(event)  # type: ignore[arg-type]
        findings = self._inner(event)
        return tuple(self._ready(findings)) if findings else findings  # of nearly all events there are none

    def rest(self) -> Findings:
        """All that still waits, once no more events will come: told without its program."""
        return tuple(found for subject in list(self._waiting) for found in self._release(subject, (None, _LOST)))

    def _sought(self, event: ProcessSought) -> Findings:
        self._waiting[event.subject] = []
        if len(self._waiting) <= _ENTRIES:
            return ()
        oldest = next(iter(self._waiting))  # whoever looks up has lost it: tell it without its program
        return self._release(oldest, (None, _LOST))

    def _identified(self, event: ProcessIdentified) -> Findings:
        outcome = event.process, None if event.process is not None else event.reason
        self._known.put(event.subject, outcome, event.at)
        findings, released = self._inner(event), self._release(event.subject, outcome)
        return (*self._ready(findings), *released) if findings else released

    def _release(self, subject: str, outcome: Outcome) -> Findings:
        held = self._waiting.pop(subject, None)
        return tuple(self._told(found, outcome) for found in held) if held else ()  # of nearly all nothing waits

    def _ready(self, findings: Findings) -> Iterable[LeakFound]:
        for found in findings:
            subject = found.conn or found.stream
            if found.query is not None:  # its program was looked up before it was answered
                subject = None
            if subject is not None and (held := self._waiting.get(subject)) is not None:
                held.append(found)
                continue
            outcome = None if subject is None else self._known.get(subject, found.at)
            yield self._told(found, outcome or (found.process, found.process_reason))

    def _told(self, found: LeakFound, outcome: Outcome) -> LeakFound:
        process, reason = outcome
        return _retold(found, process, reason, *self._tell(found, process, reason), self._tally.count(found, process))


def fold(table: Table, prefix: str = "f") -> Attributed:
    """From events to findings as they are told, live and in replay: joined, named, advised, counted."""
    return Attributed(Correlator(prefix).feed, Remedies(table).tell)
