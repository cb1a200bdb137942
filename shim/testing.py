"""`shim check` for the tests of an application: run a command, and assert that it leaked nothing.

Makes no namespace in this process, which may have threads: the check is a program of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECK = (sys.executable, "-P", "-c", "from shim.cli import main; main()", "check", "--format", "json")
"""Without the current folder in its path, where something else might be called shim."""

TIMEOUT_S = 60.0
GRACE_S = 60.0
"""What a check may take beyond the time of its command."""

SHOWN_LINES = 20
"""Of what the command wrote, at the end of a failure."""


@dataclass(frozen=True)
class Checked:
    """What one check has found. `report` is the whole of it: the JSON of `shim check`, see docs/check.md."""

    report: Mapping[str, Any]
    stdout: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)

    @property
    def verdict(self) -> str:
        """`leak`, `no_leak_observed` or `inconclusive`."""
        return str(self.report["verdict"])

    @property
    def leaks(self) -> Sequence[Mapping[str, Any]]:
        """The findings that make the verdict."""
        return tuple(self.report["leaks"])

    @property
    def requests(self) -> int:
        """How many requests reached the proxy."""
        return int(self.report["requests"])

    @property
    def command_status(self) -> int | None:
        """The command's own exit status, negative for the signal that ended it; None if it never ran."""
        status = self.report["command_status"]
        return None if status is None else int(status)

    @property
    def isolated(self) -> bool:
        """Whether there was a network for it; without one nothing was run."""
        return bool(self.report["reason"] != "isolation")

    def assert_no_leak(self) -> None:
        """AssertionError with all findings if anything leaked, and also if the run proves nothing."""
        __tracebackhide__ = True
        if self.verdict != "no_leak_observed":
            raise AssertionError(self.explain())

    def explain(self) -> str:
        """The report for a person, with the last lines that the command wrote."""
        from shim.lab.formats.text import lines
        from shim.locale import catalogue, preferred_language

        told = [" ".join(self.report["command"]), *lines(dict(self.report), catalogue(preferred_language()))]
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            if last := text.splitlines()[-SHOWN_LINES:]:
                told += [f"--- {name} ---", *last]
        return "\n".join(told)


def check(
    command: Sequence[str | os.PathLike[str]],
    *,
    proxy_env: bool = False,
    ca_env: bool = False,
    visit: Sequence[str] = (),
    timeout: float = TIMEOUT_S,
    linger: float | None = None,
    upstream: str = "sandbox",
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    input: str | None = None,
) -> Checked:
    """Run `command` as `shim check` does, with its options. ValueError where they make no sense to it.

    `env` is put on top of this process's environment.
    """
    words = [*(("--proxy-env",) * proxy_env), *(("--ca-env",) * ca_env)]
    words += [f"--timeout={timeout}", f"--upstream={upstream}", *(f"--visit={url}" for url in visit)]
    words += [] if linger is None else [f"--linger={linger}"]
    with tempfile.TemporaryDirectory(prefix="leakshim-report-") as folder:
        file = Path(folder) / "report.json"
        done = subprocess.run(  # noqa: S603 - our own program
            [*CHECK, *words, "--output", str(file), "--", *[os.fspath(word) for word in command]],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            input=input or "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout + GRACE_S if timeout else None,
            check=False,
        )
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ValueError(done.stderr.strip() or f"exit status {done.returncode}") from None
    return Checked(report, done.stdout, done.stderr)
