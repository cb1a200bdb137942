"""How often the same thing was found: one count for each program, kind of finding and name.

Asks no clock, and forgets what was not found again for ten minutes.
"""

from __future__ import annotations

from shim.events import LeakFound
from shim.judge.memory import MIN_AGE_S
from shim.judge.recent import Recent
from shim.model import Process

_ENTRIES = 4096

Key = tuple[str, str | None, str, str | None]
"""A program by its executable and its script, a kind, a name. What is not known is alike."""


class Tally:
    """Counts findings, not their revisions; but a revision that brings a name counts under that name."""

    __slots__ = ("_counted", "_counts")

    def __init__(self) -> None:
        self._counts: Recent[Key, int] = Recent(_ENTRIES, MIN_AGE_S)
        self._counted: Recent[str, tuple[Key, int]] = Recent(_ENTRIES, MIN_AGE_S)

    def count(self, found: LeakFound, process: Process | None) -> int:
        """The how manieth of its like this finding of that program is, from 1."""
        key = _key(found, process)
        if found.revision > 1:
            before = self._counted.get(found.finding, found.at)
            if before is not None and before[0] == key:
                return before[1]
        count = (self._counts.get(key, found.at) or 0) + 1
        self._counts.put(key, count, found.at)
        self._counted.put(found.finding, (key, count), found.at)
        return count


def _key(found: LeakFound, process: Process | None) -> Key:
    if process is None:
        return "", None, found.kind, found.name
    return process.exe or process.name, process.script, found.kind, found.name
