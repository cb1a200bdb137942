"""What a row needs beside a program of the system: packages of pip or npm, or a small program built from source.

Made in a cache of its own, once. Fetches nothing unless that was asked for, and never writes into the user's settings.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Final

from shim.value import value

KINDS: Final = ("pip", "npm", "go", "c")
FETCHED: Final = ("pip", "npm")
"""Those that a package index is asked for."""

_DONE: Final = ".done"
_TIMEOUT_S: Final = 300
_SOURCES: Final = {"go": "main.go", "c": "main.c"}


@value
class Environment:
    """One of KINDS, and its packages; or, of a program to be built, its source."""

    name: str
    kind: str
    packages: tuple[str, ...] = ()
    source: str = ""

    @property
    def folder(self) -> str:
        """What it is called in the cache: another one as soon as anything in it is another."""
        parts = self.kind, *self.packages, self.source, *(sys.version_info[:2] if self.kind == "pip" else ())
        return f"{self.name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}"


def cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Where they are kept (XDG Base Directory Specification)."""
    home = environ.get("XDG_CACHE_HOME", "")
    root = Path(home) if os.path.isabs(home) else Path(environ.get("HOME") or "/") / ".cache"
    return root / "leakshim" / "survey"


class Environments:
    """All of a survey, made when they are first wanted; one that cannot be made is not tried again."""

    def __init__(self, root: Path, *, fetch: bool) -> None:
        self._root = root
        self._fetch = fetch
        self._lock = Lock()
        self._locks: dict[str, Lock] = {}
        self._failed: set[str] = set()

    def ready(self, wanted: Environment) -> Path | None:
        """Its folder; None where it is not there and could not be made. Safe to be called from several threads."""
        with self._lock:
            lock = self._locks.setdefault(wanted.folder, Lock())
        with lock:
            folder = self._root / wanted.folder
            if (folder / _DONE).exists():
                return folder
            if wanted.folder in self._failed or (wanted.kind in FETCHED and not self._fetch):
                return None
            if _make(wanted, folder):
                return folder
            self._failed.add(wanted.folder)
            return None


def _make(wanted: Environment, folder: Path) -> bool:
    """Whether it is there now. What is half made is taken away."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True, mode=0o700)
        if wanted.kind in _SOURCES:
            (folder / _SOURCES[wanted.kind]).write_text(wanted.source, encoding="utf-8")
        environ = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOCACHE": str(folder / "build")}
        for command in _commands(wanted, folder):
            subprocess.run(  # noqa: S603 - what the catalogue asks for, which is the user's or ours
                command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_TIMEOUT_S
            )
        shutil.rmtree(folder / "build", ignore_errors=True)
        (folder / _DONE).touch()
    except (OSError, subprocess.SubprocessError):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def _commands(wanted: Environment, folder: Path) -> Iterator[Sequence[str]]:
    built = str(folder / "program")
    match wanted.kind:
        case "pip":
            yield sys.executable, "-m", "venv", str(folder)
            pip = str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"
            yield *pip, *wanted.packages
        case "npm":
            quiet = "--ignore-scripts", "--no-audit", "--no-fund", "--silent"
            yield "npm", "install", "--prefix", str(folder), *quiet, *wanted.packages
        case "go":
            yield "go", "build", "-o", built, str(folder / _SOURCES["go"])
        case "c":
            yield "cc", "-static", "-o", built, str(folder / _SOURCES["c"])
