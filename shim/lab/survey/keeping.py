"""The results of a survey as far as they are there, in a file if one is wanted: what was broken off goes on.

Runs nothing.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from shim import __version__
from shim.lab.survey import table
from shim.lab.survey.catalogue import Row
from shim.lab.survey.running import Result, labelled


def read(file: Path) -> tuple[dict[str, str], list[Result]]:
    """An earlier survey: about it, and its rows. OSError, ValueError."""
    try:
        return table.read(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


class Kept:
    """By id, in the order of the catalogue; `about` says when, where and by which version the survey was begun."""

    def __init__(self, catalogue: Mapping[str, Row], file: Path | None) -> None:
        """OSError, ValueError for a file that is no survey."""
        self._catalogue = catalogue
        self._file = file
        begun, known = read(file) if file is not None and file.exists() else ({}, [])
        self.about = _about() | begun  # what was measured then is not of today, nor of another version
        self._results = {result["id"]: result for result in known if _is_measured(result)}

    def of(self, rows: Iterable[Row]) -> list[Result]:
        """What there is of these rows, under today's names: what a row is called is not measured."""
        return [labelled(row, self._results[row.id]) for row in rows if row.id in self._results]

    def missing(self, rows: Iterable[Row]) -> list[Row]:
        """Those that must still be run."""
        return [row for row in rows if row.id not in self._results]

    def add(self, result: Result) -> None:
        """One more, kept at once."""
        self._results[result["id"]] = result
        self.write()

    def write(self) -> None:
        """All of them, those of other rows and catalogues too."""
        if self._file is not None:
            known = self.of(self._catalogue.values())
            others = [result for id, result in self._results.items() if id not in self._catalogue]
            self._file.write_text(table.as_json([*known, *others], self.about), "utf-8")


def _is_measured(result: Result) -> bool:
    """What failed, or was not there, may be had now."""
    return not (result["verdict"] == "not_installed" or result["reason"] == "fault")


def _about() -> dict[str, str]:
    """Where and when this is made."""
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = platform.system()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{system}, {platform.system()} {platform.release()}",
        "program_version": __version__,
    }
