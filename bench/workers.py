"""Whether two workers do twice the work of one where a second core is free, shown on a machine that has none to spare.

Load generator and upstream take the cores that a second worker would need. So each worker is held to a share of one
core by a control group, and what is compared is the connections per second of one such worker and of two. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import prepare
import publish
from cost import machine_busy, tree, tree_cpu
from figures import Spread
from measure import Bench
from peers import ROOT, Site, shim
from prepare import Missing
from report import table
from server import Server

GOAL = 1.5
PERIOD_US = 10_000
CONNS = "64"
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


@contextlib.contextmanager
def held(pid: int, share: float) -> Iterator[None]:
    """The process, and what it then starts, gets at most this share of one core."""
    old = (V1 / "cpu.cfs_quota_us").exists()
    top = V1 if old else V2
    group, quota = top / f"bench-{os.getpid()}-{pid}", int(share * PERIOD_US)
    try:
        group.mkdir()
        if old:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as why:
        raise Missing(f"no control group for CPU time: {why}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (top / "cgroup.procs").write_text(str(pid))
        with contextlib.suppress(OSError):
            group.rmdir()


def rate(bench: Bench, site: Site, workers: int, share: float, seconds: float) -> tuple[float, float]:
    """Connections per second of so many workers, and the CPU they used, in cores."""
    server = Server(shim(site, f"workers-{workers}", f"--workers {workers}"))
    server.start()
    try:
        bench.load(server.peer, ("setup", "--conns", CONNS), "--bytes", "1000")
        with contextlib.ExitStack() as stack:
            for pid in tree(server.pid):
                stack.enter_context(held(pid, share))
            used, began = tree_cpu(server.pid), time.monotonic()
            got = bench.load(server.peer, ("setup", "--conns", CONNS), "--seconds", str(seconds))
            used = (tree_cpu(server.pid) - used) / (time.monotonic() - began)
    finally:
        server.stop()
    if got["errors"]:
        raise Missing(f"{workers} workers: {got['first_error']}")
    return got["rate"], used


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--share", type=float, default=0.25, help="of one core, for each worker (default 0.25)")
    parser.add_argument("--publish", action="store_true", help="put the table into docs/benchmarks.md")
    chosen = parser.parse_args()
    loadgen, upstream = prepare.build_programs()
    results: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = Bench(loadgen, upstream)
        stack.callback(bench.close)
        busy, began = machine_busy(), time.monotonic()
        for number in range(chosen.rounds):
            for workers in (1, 2) if number % 2 else (2, 1):
                results[workers].append(rate(bench, Site(bench.ports, folder), workers, chosen.share, chosen.seconds))
        busy = (machine_busy() - busy) / (time.monotonic() - began)
    text = markdown(results, chosen.share, busy)
    if chosen.publish:
        publish.between(ROOT / "docs" / "benchmarks.md", "workers", text)
    print(text)
    return 0


def markdown(results: dict[int, list[tuple[float, float]]], share: float, busy: float) -> str:
    """The table, and what the machine did meanwhile."""
    rows = []
    for workers, got in results.items():
        rates, used = (Spread.of([pair[place] for pair in got]) for place in (0, 1))
        ratio = Spread.of([two[0] / one[0] for one, two in zip(results[1], got, strict=True)])
        assert rates is not None
        assert used is not None
        rows.append([str(workers), f"{rates.median:,.0f}", f"{used.median:.2f}", str(ratio)])
    heads = ["workers", "connections/s", "cores used", "× one worker"]
    said = (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {len(results[1])} interleaved rounds, each worker held to "
        f"{share:g} of a core. Goal: {GOAL:g}. All processes of the machine together took {busy:.2f} cores."
    )
    return f"{said}\n\n{table(heads, rows)}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as why:
        sys.exit(f"bench: {why}")
