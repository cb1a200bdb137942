"""Runs the rows of a survey, one `shim check` each, and keeps every result as soon as it is there.

Judges nothing, and touches no settings of the user: each row has an empty home of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from shim.lab.preparing import fill
from shim.lab.survey.catalogue import Row

URL = "http://www.example.com/"
_START = "import sys; from shim.cli import main; sys.argv[0] = 'shim'; main()"
_SPARE_S = 40
_NUMBER = re.compile(r"\d+(?:\.\d+)+")

Result = dict[str, Any]
_NOTHING: Result = {"sent": "", "dns": 0, "direct": [], "remedy": "", "reason": ""}
"""The columns of a row without a report."""


def survey(
    rows: Iterable[Row], lang: str, known: Mapping[str, Result], told: Callable[[Row, Result], None]
) -> list[Result]:
    """Every row's result, in order; those in `known` are not run again. `told` hears of each as it comes."""
    results = []
    versions: dict[tuple[str, ...], str] = {}
    for row in rows:
        result = known.get(row.id)
        if result is None:
            if row.version not in versions:
                versions[row.version] = _version(row)
            result = run(row, versions[row.version], lang)
            told(row, result)
        results.append(result)
    return results


def run(row: Row, version: str, lang: str) -> Result:
    """One row. A program that is not there is told as such, never left out."""
    about = {"id": row.id, "client": row.client, "setting": row.setting_in(lang), "version": version}
    if shutil.which(row.program) is None:
        return {**about, **_NOTHING, "verdict": "not_installed"}
    with tempfile.TemporaryDirectory(prefix="leakshim-survey-") as home:
        report = _checked(row, Path(home), lang)
    return {**about, **summary(report)}


def summary(report: Mapping[str, Any] | None) -> Result:
    """What a report says, in a row's columns."""
    if report is None:
        return {**_NOTHING, "verdict": "inconclusive", "reason": "fault"}
    leaks = report["leaks"]
    kinds = {leak["kind"] for leak in leaks}
    address = bool(kinds & {"address_only", "local_resolution"})
    sent = "address" if address else "address_as_text" if "address_as_text" in kinds else "name"
    return {
        "verdict": report["verdict"],
        "sent": sent if report["requests"] else "nothing",
        "dns": sum(leak["count"] for leak in leaks if leak["protocol"] == "dns"),
        "direct": sorted({leak["protocol"] for leak in leaks if leak["kind"] == "direct_traffic"}),
        "remedy": _remedy(leaks),
        "reason": report["reason"] or "",
    }


def _remedy(leaks: list[dict[str, Any]]) -> str:
    """That of the request where there is one: it knows the program's setting, a query is only what comes of it."""
    told = [leak for leak in leaks if leak.get("advice")]
    told.sort(key=lambda leak: leak["protocol"] == "dns")
    return str(told[0]["advice"]) if told else ""


def _checked(row: Row, home: Path, lang: str) -> dict[str, Any] | None:
    for name, text in row.files:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fill(_placed(text, home)))
    report = home / ".report.json"
    words = [_placed(word, home) for word in row.command]  # the other places are filled in by the check itself
    command = [sys.executable, "-c", _START, "check", "--lang", lang, "--format", "json", "--output", str(report)]
    command += ["--timeout", str(row.timeout), *(["--proxy-env"] if row.proxy_env else []), "--", *words]
    environ = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    try:
        subprocess.run(  # noqa: S603 - running programs is what a survey is
            command, env=environ, capture_output=True, check=False, timeout=row.timeout + _SPARE_S
        )
        return json.loads(report.read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _placed(text: str, home: Path) -> str:
    return text.replace("{home}", str(home)).replace("{url}", URL)


def _version(row: Row) -> str:
    if not row.version or shutil.which(row.version[0]) is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603
            row.version, capture_output=True, check=False, timeout=20, text=True, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _NUMBER.search(done.stdout + done.stderr)
    return found[0] if found else ""
