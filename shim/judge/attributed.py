"""Findings with their programs: held until the look-up of their sender has ended, then told with its name.

A fold like the correlator's: that a look-up is under way, and how it ended, are events too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from shim.events import Event, LeakFound, ProcessIdentified, ProcessSought
from shim.judge.recent import Recent
from shim.model import Process

_ENTRIES = 4096
_WINDOW_S = 600.0
"""How long later revisions of a finding still get their program's name."""

_LOST = "busy"

Outcome = tuple[Process | None, str | None]
Findings = tuple[LeakFound, ...]


class Attributed:
    """Feeds `inner`; its findings come out at once, or when their `conn` has been looked up. None is ever lost."""

    __slots__ = ("_inner", "_known", "_waiting")

    def __init__(self, inner: Callable[[Event], Findings]) -> None:
        self._inner = inner
        self._known: Recent[str, Outcome] = Recent(_ENTRIES, _WINDOW_S)
        self._waiting: dict[str, list[LeakFound]] = {}

    def feed(self, event: Event) -> Findings:
        """What this event adds to what is known, and what it releases."""
        if isinstance(event, ProcessSought):
            return self._sought(event)
        if isinstance(event, ProcessIdentified):
            return self._identified(event)
        return tuple(self._ready(self._inner(event)))

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
        return self._release(event.subject, outcome)

    def _release(self, subject: str, outcome: Outcome) -> Findings:
        return tuple(_named(found, outcome) for found in self._waiting.pop(subject, ()))

    def _ready(self, findings: Findings) -> Iterable[LeakFound]:
        for found in findings:
            subject = found.conn
            if subject is None:
                yield found
            elif (held := self._waiting.get(subject)) is not None:
                held.append(found)
            elif (outcome := self._known.get(subject, found.at)) is not None:
                yield _named(found, outcome)
            else:
                yield found


def _named(found: LeakFound, outcome: Outcome) -> LeakFound:
    process, reason = outcome
    return replace(found, process=process, process_reason=reason)
