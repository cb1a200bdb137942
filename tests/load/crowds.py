"""Starts the programs of a load: far ends and crowds, each a process of its own, ended whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rig.shim import ROOT

_ENV = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}


@dataclass
class Told:
    """What crowds say of themselves, added up."""

    came: int = 0
    whole: int = 0
    bytes: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()

    def add(self, line: dict[str, Any]) -> None:
        """One more crowd."""
        self.came += line["came"]
        self.whole += line["whole"]
        self.bytes += line["bytes"]
        self.failed += line["failed"]
        self.errors += tuple(line["errors"])


def _start(module: str, *words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", f"load.{module}", *words]
    return subprocess.Popen(argv, env=_ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def far(processes: int = 1) -> Iterator[str]:
    """An upstream, and where it listens."""
    with _start("far", str(processes)) as process:
        assert process.stdin and process.stdout
        try:
            yield f"127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.stdin.close()


@contextmanager
def held(socks: str, count: int, crowds: int, how: str = "hold", patience_s: float = 300) -> Iterator[int]:
    """So many tunnels, open; each must still echo when the context ends. `how` may be `half`: begun handshakes."""
    processes = [_start("near", socks, str(10 + number), how, str(count // crowds)) for number in range(crowds)]
    try:
        yield sum(_line(process)["held"] for process in processes)
        alive = 0
        for process in processes:
            out, _ = process.communicate("", timeout=patience_s)
            alive += json.loads(out)["alive"]
        assert alive == count // crowds * crowds, f"{alive} of {count} are still there"
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def lived(
    socks: str,
    seconds: float,
    count: int,
    *,
    dns: str = "",
    how: str = "live",
    crowds: int = 2,
    at_once: int = 32,
    seed: int = 1,
) -> Told:
    """Random lives of so many clients, or as many as fit into so many seconds; with `dns`, some ask there.

    `how` may be `warm`: only lives that lead to a finding.
    """
    told = Told()
    words = [how, str(seconds), str(count // crowds), str(at_once)]
    processes = [_start("near", socks, str(30 + n), *words, str(seed + n), *[dns] * bool(dns)) for n in range(crowds)]
    try:
        for process in processes:
            told.add(_line(process))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return told


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    assert line, "a crowd has ended"
    told: dict[str, Any] = json.loads(line)
    return told
