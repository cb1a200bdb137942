"""What processes cost: CPU and memory of a process with all its descendants, read from /proc.

CPU is the scheduler's own account (nanoseconds), and that of children which have ended. Memory is the resident set,
pages that the processes share counted once. Never signals or changes a process.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SETTLE_S = 0.5  # at most so long a relay may still be closing connections after a test
LATE_S = 5.0  # ... and at most so long before it is called idle


def tree(root: int | None) -> list[int]:
    """The process and all its descendants."""
    if root is None:
        return []
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                todo += [int(word) for word in children.read_text().split()]
            except OSError:
                continue  # the thread has just ended
    return found


def tree_cpu(root: int | None) -> float:
    """CPU seconds of the tree so far, ended threads and ended children included."""
    return sum(_cpu(pid) for pid in tree(root))


def _cpu(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # fields 16 and 17 of proc(5): children waited for. The process's own clock is finer than fields 14 and 15.
        return time.clock_gettime((~pid << 3) | 2) + (int(stat[13]) + int(stat[14])) / TICKS
    except (OSError, ValueError):
        return 0.0


def tree_memory_kib(root: int | None) -> int:
    """Resident memory of the tree in KiB (proportional set size: a page shared by n processes counts 1/n in each)."""
    total = 0
    for pid in tree(root):
        try:
            found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        total += int(found[1]) if found else 0
    return total


def machine_busy() -> float:
    """CPU seconds that the whole machine has spent on anything."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    idle = int(fields[3]) + int(fields[4])
    return (sum(int(word) for word in fields) - idle) / TICKS


def settle(root: int | None, at_most: float = SETTLE_S) -> None:
    """Wait till the tree uses no more CPU: it still closes connections when the load generator has ended."""
    until, last = time.monotonic() + at_most, -1.0
    while time.monotonic() < until:
        used = tree_cpu(root)
        if used - last < 0.0005:
            return
        last = used
        time.sleep(0.02)
