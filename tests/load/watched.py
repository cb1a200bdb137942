"""A shim under load: started, counted from inside and outside, and its log read without keeping it.

Knows the names of events, and no other code of the shim.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rig.shim import ROOT, environment

PATIENCE_S = 60.0
PROGRAMS = 64
"""So many programs, or fewer, are kept open by two descriptors each."""

_MAY_GROW = ("Pipe", "garbage", "blocks")
"""Pipes are counted by their ends; memories fill up to their bounds."""

_EVENT = re.compile(rb'"event":"(\w+)"')


@dataclass(frozen=True)
class Holdings:
    """What the processes of a shim hold at one moment."""

    sockets: int
    pipes: int
    others: int
    helpers: int
    """Descriptors of the helper processes, which keep the programs open that they have seen."""
    threads: int
    resident_kib: int
    inside: dict[str, int]

    def leaks(self, before: Holdings, spare_pipes: int) -> list[str]:
        """What there is more of than before; memory aside."""
        now, then = self._counted(), before._counted()
        then["pipe ends"] += 2 * spare_pipes
        then["descriptors of helpers"] += 2 * PROGRAMS
        return [
            f"{name}: {count} after {then.get(name, 0)}" for name, count in now.items() if count > then.get(name, 0)
        ]

    def _counted(self) -> dict[str, int]:
        """All that must go back to what it was."""
        inside = {name: count for name, count in self.inside.items() if name not in _MAY_GROW}
        outside = {"sockets": self.sockets, "pipe ends": self.pipes, "other descriptors": self.others}
        return inside | outside | {"descriptors of helpers": self.helpers, "threads": self.threads}


class Watched:
    """`shim run` that counts itself; use it as a context manager."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.events: Counter[str] = Counter()
        self.told: list[dict[str, Any]] = []
        """The lines of `ready`, `draining`, `fault` and `lines_dropped`."""
        self._counts = folder / "counts"
        env = environment() | {"SHIM_COUNTS": str(self._counts), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        argv = [sys.executable, "-m", "load.counted", "run", "--log-format", "json", "--socks", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(argv, env=env, cwd=folder, stderr=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        self.until(lambda: self.events["ready"], "it is not ready")
        ready = self.lines("ready")[0]
        self.socks = str(ready["socks"][0])
        self.dns = str(ready["dns"][0]) if ready["dns"] else ""
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Those that were kept."""
        return [line for line in self.told if line["event"] == event]

    def until(self, true: Callable[[], object], otherwise: str) -> None:
        """Wait for something that has to come."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert self.process.poll() is None, f"it ended: {self.told[-3:]}"
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.02)

    def settle(self, came: int) -> None:
        """Wait until everyone who came has ended, each with one closing line, and nobody twice."""
        closed = "connection_closed"
        self.until(lambda: self.events[closed] + self.events["lines_dropped"] >= came, "somebody has no closing line")
        assert not self.events["lines_dropped"], "this reader was too slow to tell"
        assert self.events[closed] == came, f"{self.events[closed]} closing lines for {came}"

    def holdings(self) -> Holdings:
        """What all its processes hold now."""
        pids = _family(self.process.pid)
        kinds: Counter[str] = Counter()
        inside: Counter[str] = Counter()
        helpers = 0
        for pid in pids:
            counted = self._ask(pid)
            inside.update(counted)
            if counted:
                kinds.update(_kinds(pid))
            else:
                helpers += _kinds(pid).total()
        return Holdings(
            kinds["socket"],
            kinds["pipe"],
            kinds.total() - kinds["socket"] - kinds["pipe"],
            helpers,
            sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids),
            self.resident_kib(),
            dict(inside),
        )

    def resident_kib(self) -> int:
        """Memory of all its processes that is theirs; pages that they share count once.

        Pages of files are left out: they count less the more other programs of the machine have the same file open.
        """
        return sum(_resident_kib(pid) for pid in _family(self.process.pid))

    def stop(self) -> int:
        """The exit status, after its last line; how many connections were open then is in `draining`."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    def _ask(self, pid: int) -> dict[str, int]:
        """Its own count; nothing of a process that does not count itself: it has not got the file open."""
        if str(self._counts) not in _open(pid):
            return {}
        before = len(self._counted(pid))
        os.kill(pid, signal.SIGUSR1)
        self.until(lambda: len(self._counted(pid)) > before, "it does not count itself")
        return self._counted(pid)[-1]

    def _counted(self, pid: int) -> list[dict[str, int]]:
        """All counts of a process so far."""
        told = [json.loads(line) for line in self._counts.read_text().split("\n")[:-1]]
        return [each["found"] for each in told if each["pid"] == pid]

    def _read(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        match = _EVENT.search(line)
        name = match[1].decode() if match else "(no event)"
        self.events[name] += 1
        if name in ("ready", "draining", "fault", "lines_dropped", "listener_paused"):
            self.told.append(json.loads(line))
        elif not match:
            self.told.append({"event": name, "text": line.decode(errors="replace")})


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _open(pid: int) -> list[str]:
    """What a process has open."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def _kinds(pid: int) -> Counter[str]:
    return Counter(each.partition(":")[0] for each in _open(pid))


def _resident_kib(pid: int) -> int:
    match = re.search(r"^Pss_Anon: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match
    return int(match[1])
