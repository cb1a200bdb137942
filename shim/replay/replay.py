"""One pass over a log's lines: which of them are events, and what is found by these.

What a line said of a request's verdict is taken as it was said, not judged again: the policy of the moment is not in
the log. Times are those of the log, whole milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from shim.advice import table
from shim.errors import ShimError
from shim.events import LeakFound
from shim.judge.attributed import fold
from shim.replay.lines import READERS, Keys, is_scrubbed, time_of
from shim.replay.untold import Untold

MAX_LINE = 1 << 20
"""Bytes. The longest line the log writes is far below."""


class ReplayError(ShimError):
    """A log that cannot be replayed: `reason` is a short code, `line` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class Replay:
    """One pass over a log; once it is over, the counts say how much the result is worth."""

    def __init__(self) -> None:
        self.inputs = 0
        """Events that findings can come from."""
        self.missing = 0
        """Lines that the log itself says it lost."""
        self.told = 0
        """Findings in the log, each revision: they were told when it was written, and are found anew."""
        self._runs = 0
        self._begin()

    def findings(self, file: BinaryIO) -> Iterator[LeakFound]:
        """The findings of a log, in their order. Each `ready` but the first begins a new run. ReplayError."""
        for number, line in enumerate(_lines(file), 1):
            if len(line) > MAX_LINE:
                raise ReplayError("too_long", number)
            if line.strip():
                yield from self._line(line, number)
        yield from self._end()

    def _begin(self) -> None:
        self._fold = fold(table())
        self._untold = Untold(self._fold.feed)

    def _end(self) -> tuple[LeakFound, ...]:
        return (*self._untold.rest(), *self._fold.rest())

    def _line(self, line: bytes, number: int) -> tuple[LeakFound, ...]:
        keys = _object(line, number)
        name = keys.get("event")
        reader = READERS.get(name) if isinstance(name, str) else None
        if reader is None:
            return self._other(name, keys)
        if is_scrubbed(keys):
            raise ReplayError("scrubbed", number)
        try:
            event = reader(time_of(keys), keys)
        except (KeyError, TypeError, ValueError):
            raise ReplayError("malformed", number) from None
        self.inputs += 1
        return self._untold.feed(event)

    def _other(self, name: object, keys: Keys) -> tuple[LeakFound, ...]:
        if name == "ready":
            self._runs += 1
            if self._runs > 1:
                found = self._end()
                self._begin()
                return found
        elif name == "leak_found":
            self.told += 1
            return self._untold.told(keys)
        elif name == "lines_dropped":
            self.missing += keys["count"] if isinstance(keys.get("count"), int) else 1
        return ()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines, one that is too long cut off behind its limit."""
    while line := file.readline(MAX_LINE + 1):
        yield line


def _object(line: bytes, number: int) -> Keys:
    try:
        keys = json.loads(line)
    except (ValueError, RecursionError):
        raise ReplayError("not_json", number) from None
    if not isinstance(keys, dict):
        raise ReplayError("not_json", number)
    return keys
