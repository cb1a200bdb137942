"""What a finding is told with once the program behind it is known: the exact advice, and what is known of its customs.

Holds no text and no row of the table; of a program that is not in it, findings stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple

from shim.advice import Program, Row, Table
from shim.events import LeakFound
from shim.judge.customs import by_custom
from shim.model import Confidence, Process

GENERAL = "advice."
EXACT = "advice.for."

_REMEMBERED = 1024
"""Programs whose place in the table is remembered: to find it takes 30 to 80 us, to remember it 3 us (measured)."""


class Told(NamedTuple):
    """What depends on the program: the message id of the advice, how sure the finding is, and why."""

    advice: str
    confidence: Confidence
    evidence: tuple[str, ...]


class Remedies:
    """The table, ready to be asked; the same finding always gets the same answer."""

    __slots__ = ("_by_offer", "_by_reason", "_forms", "_of_process")

    def __init__(self, table: Table) -> None:
        self._forms = [_Forms(program) for program in table.programs]
        self._by_reason = {reason: program for program in table.programs for reason in program.reasons}
        self._by_offer = {offer: program for program in table.programs for offer in program.offers}
        self._of_process = lru_cache(_REMEMBERED)(self._find)

    def tell(self, found: LeakFound, process: Process | None, reason: str | None) -> Told:
        """What this finding is told with, of `process` or of a program that is unknown for this `reason`."""
        program = self._program(process, reason)
        if program is None:
            return self._hint(found, process)
        row = _row(program, found.advice.removeprefix(GENERAL))
        return Told(found.advice if row is None else EXACT + row.advice, *by_custom(found, program.typed))

    def advice(self, general: str, process: Process | None, reason: str | None) -> str | None:
        """The message id of the exact advice on what has this general one, for this process; None if there is none."""
        program = self._program(process, reason)
        row = None if program is None else _row(program, general.removeprefix(GENERAL))
        return None if row is None else EXACT + row.advice

    def _hint(self, found: LeakFound, process: Process | None) -> Told:
        """Of a program that is not known, what it resembles: named in the evidence and in the advice, as no more."""
        like = self._by_offer.get(found.offers) if process is None and found.offers else None
        row = None if like is None else _row(like, found.advice.removeprefix(GENERAL))
        if like is None or row is None:
            return Told(found.advice, found.confidence, found.evidence)
        return Told(EXACT + row.advice, found.confidence, (*found.evidence, f"like_{like.like}"))

    def _program(self, process: Process | None, reason: str | None) -> Program | None:
        if process is None:
            return None if reason is None else self._by_reason.get(reason)
        return self._of_process(process.name, process.exe, process.script, process.wrapper)

    def _find(self, name: str, exe: str | None, script: str | None, wrapper: str | None) -> Program | None:
        """The executable is what the kernel knows; a process can call itself as it likes."""
        base = name if exe is None else exe.rpartition("/")[2]
        texts = base, exe or "", script or "", name, wrapper or ""
        return next((forms.program for forms in self._forms if forms.fit(texts)), None)


class _Forms:
    """The patterns of one program."""

    __slots__ = ("_patterns", "program")

    def __init__(self, program: Program) -> None:
        self.program = program
        self._patterns = tuple(
            map(_any_of, (program.names, program.paths, program.scripts, program.titles, program.wrappers))
        )

    def fit(self, texts: tuple[str, str, str, str, str]) -> bool:
        """Whether a process of this name, path, script, title and wrapper is this program."""
        return any(pattern.fullmatch(text) for pattern, text in zip(self._patterns, texts, strict=True))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")


def _row(program: Program, general: str) -> Row | None:
    return next((row for row in program.rows if general in row.found), None)
