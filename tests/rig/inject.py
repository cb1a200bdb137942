"""System calls of a running shim that fail on demand, and a wall clock that jumps: a small library loaded before libc.

Judges nothing; what it hits, it hits in the whole process, but only on TCP sockets.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import subprocess
from pathlib import Path

from rig.programs import require_program

SOURCE = Path(__file__).with_name("inject.c")
CALLS = {"accept4": 1, "socket": 2, "connect": 3, "send": 4, "recv": 5, "splice": 6, "epoll_ctl": 7, "pipe2": 8}
_PLAN = struct.Struct("=4iq")


class Injector:
    """The library, built for this test, and the file that it obeys."""

    def __init__(self, folder: Path) -> None:
        compiler = require_program("gcc")
        library, plan = folder / "inject.so", folder / "plan"
        argv = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(argv, check=True, timeout=60)
        plan.write_bytes(bytes(_PLAN.size))
        with plan.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _PLAN.size)
        self.prefix = ["env", f"LD_PRELOAD={library}", f"INJECT_PLAN={plan}"]

    def fail(self, call: str, error: str, count: int) -> None:
        """The next `count` calls fail with this error, named as in errno(3)."""
        _PLAN.pack_into(self._map, 0, CALLS[call], getattr(errno, error), count, 0, self._clock)

    def stop(self) -> int:
        """No more; how many have failed."""
        hits = int(_PLAN.unpack_from(self._map)[3])
        _PLAN.pack_into(self._map, 0, 0, 0, 0, 0, self._clock)
        return hits

    def jump(self, seconds: int) -> None:
        """Move the wall clock so far from where it really is."""
        _PLAN.pack_into(self._map, 0, 0, 0, 0, 0, seconds)

    @property
    def _clock(self) -> int:
        return int(_PLAN.unpack_from(self._map)[4])


def used(process: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{process}/fd"))
