"""Runs the rows of a survey, one `shim check` each and some at a time, and tells each result as soon as it is there.

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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

from shim.judge.remedies import EXACT
from shim.lab.preparing import fill
from shim.lab.survey.catalogue import Row
from shim.lab.survey.environments import Environments
from shim.locale import LANGUAGES, catalogue

HOST: Final = "www.example.com"
PLACES: Final = {"url": f"http://{HOST}/", "https_url": f"https://{HOST}/", "host": HOST}
"""Beside those of `shim check`, and a row's own {home} and {environment}."""

_START = "import sys; from shim.cli import main; sys.argv[0] = 'shim'; main()"
_SPARE_S = 60
"""For the check itself, and for a machine that has other work."""

_NUMBER = re.compile(r"\d+(?:\.\d+)+")
_SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Privoxy is, and not on everybody's PATH."""

Result = dict[str, Any]
_NOTHING: Final[Result] = {"sent": "", "dns": 0, "direct": [], "canaries": [], "reason": "", "advice": "", "remedy": {}}
"""The columns of a row without a report."""

_SENT: Final = (
    ("leaks", {"address_only", "local_resolution"}, "address"),
    ("leaks", {"address_as_text"}, "address_as_text"),
    ("notes", {"address_only"}, "given_address"),
    ("notes", {"address_as_text"}, "address_as_text"),
    ("notes", {"not_socks"}, "not_socks"),
)
"""What a request held, by where and as what it was found; the first that fits."""

_KEPT: Final = ("LANG", "LANGUAGE", "TMPDIR")

Told = Callable[[Row, Result], None]


class Survey:
    """Runs rows; what they need is made in `environments`."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self._path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{_SYSTEM_PROGRAMS}"
        self._versions: dict[tuple[str, ...], str] = {}

    def run(self, rows: Sequence[Row], jobs: int, told: Told) -> dict[str, Result]:
        """The results by id. `told` hears of each as it comes, in the caller's thread."""
        results: dict[str, Result] = {}
        pool = ThreadPoolExecutor(jobs)
        try:
            begun: dict[Future[Result], Row] = {pool.submit(self._run, row): row for row in rows}
            for done in as_completed(begun):
                row = begun[done]
                results[row.id] = done.result()
                told(row, results[row.id])
        finally:
            pool.shutdown(cancel_futures=True)
        return results

    def _run(self, row: Row) -> Result:
        """One row. A program that is not there is told as such, never left out."""
        about = _names(row)
        if missing := [name for name in (row.program, *row.needs) if shutil.which(name, path=self._path) is None]:
            return {**about, "version": "", **_NOTHING, "verdict": "not_installed", "reason": missing[0]}
        places = dict(PLACES)
        if row.environment is not None:
            folder = self._environments.ready(row.environment)
            if folder is None:
                return {**about, "version": "", **_NOTHING, "verdict": "not_installed", "reason": row.environment.name}
            places["environment"] = str(folder)
        about["version"] = self._version(tuple(fill(word, places) for word in row.version))
        with tempfile.TemporaryDirectory(prefix="leakshim-survey-", ignore_cleanup_errors=True) as home:
            return {**about, **summary(self._checked(row, places | {"home": home}))}

    def _checked(self, row: Row, places: Mapping[str, str]) -> dict[str, Any] | None:
        home = Path(places["home"])
        for name, text in row.files:
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fill(fill(text, places)))
        report = home / ".report.json"
        command = [sys.executable, "-c", _START, "check", "--format", "json", "--output", str(report)]
        command += ["--timeout", str(row.timeout), *(["--proxy-env"] if row.proxy_env else []), "--"]
        command += [fill(word, places) for word in row.command]  # the other places are filled in by the check itself
        try:
            subprocess.run(  # noqa: S603 - running programs is what a survey is
                command,
                env=self._environ(home),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=row.timeout + _SPARE_S,
            )
            return json.loads(report.read_text())  # type: ignore[no-any-return]
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None

    def _environ(self, home: Path) -> dict[str, str]:
        """No settings of the user's, by file or by variable, but where programs are and the language."""
        kept = {key: value for key, value in os.environ.items() if key in _KEPT or key.startswith("LC_")}
        folders = {"XDG_CONFIG_HOME": ".config", "XDG_CACHE_HOME": ".cache", "XDG_DATA_HOME": ".local/share"}
        return {**kept, "PATH": self._path, "HOME": str(home), **{key: str(home / at) for key, at in folders.items()}}

    def _version(self, command: tuple[str, ...]) -> str:
        """The first number with a dot that it prints."""
        if command and command not in self._versions:
            try:
                with tempfile.TemporaryDirectory(prefix="leakshim-survey-", ignore_cleanup_errors=True) as home:
                    done = subprocess.run(  # noqa: S603
                        command,
                        env=self._environ(Path(home)),
                        stdin=subprocess.DEVNULL,
                        capture_output=True,
                        check=False,
                        timeout=_SPARE_S,
                    )
                found = _NUMBER.search((done.stdout + done.stderr).decode(errors="replace"))
                self._versions[command] = found[0] if found else ""
            except (OSError, subprocess.TimeoutExpired):
                self._versions[command] = ""
        return self._versions.get(command, "")


def labelled(row: Row, result: Result) -> Result:
    """With the words that the catalogue and the table of advice have for it today."""
    remedy = _remedy(result["advice"]) if all(result["advice"] in catalogue(lang) for lang in LANGUAGES) else {}
    return {**result, **_names(row), "remedy": remedy}


def _names(row: Row) -> Result:
    return {"id": row.id, "client": row.client, "kind": row.kind, "setting": row.settings}


def _remedy(advice: str) -> dict[str, str]:
    return {lang: catalogue(lang).text(advice) for lang in LANGUAGES} if advice else {}


def summary(report: Mapping[str, Any] | None) -> Result:
    """What a report says, in a row's columns."""
    if report is None:
        return {**_NOTHING, "verdict": "inconclusive", "reason": "fault"}
    leaks = report["leaks"]
    kinds = {place: {found["kind"] for found in report[place]} for place in ("leaks", "notes")}
    by_name = "name" if report["requests"] else "nothing"
    sent = next((told for place, some, told in _SENT if kinds[place] & some), by_name)
    advice = _advice(leaks, report["notes"])
    return {
        "verdict": report["verdict"],
        "sent": sent,
        "dns": sum(leak["count"] for leak in leaks if leak["protocol"] == "dns"),
        "direct": sorted({leak["packet"] for leak in leaks if leak["packet"]}),
        "canaries": [canary["role"] for canary in report["canaries"] if canary["leaked"]],
        "reason": report["reason"] or "",
        "advice": advice,
        "remedy": _remedy(advice),
    }


def _advice(leaks: Sequence[Mapping[str, Any]], notes: Sequence[Mapping[str, Any]]) -> str:
    """The program's own before any general one, and that of a request before that of the query it came from.

    SOCKS4 first: what is set to it may speak SOCKS5 for IPv6 addresses, as Firefox does, but not the other way round.
    Without a leak, that of a program which does not speak SOCKS to the SOCKS port: it is set up wrong all the same.
    """
    told = sorted(leaks, key=lambda leak: (not leak["advice_id"].startswith(EXACT), _place(leak["protocol"])))
    told += [note for note in notes if note["kind"] == "not_socks"]
    return str(told[0]["advice_id"]) if told else ""


def _place(protocol: str) -> int:
    return {"socks4": 0, "dns": 2}.get(protocol, 1)
