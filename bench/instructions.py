"""How many instructions the shim takes in user space for one connection: a figure that other load does not move.

Valgrind runs the interpreter and counts; the kernel's work is not in it. Two runs of different length, so that what
starting and ending cost falls out. Times nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import features
import prepare
from measure import Bench
from peers import ROOT, Peer, Site
from prepare import Missing
from server import Server

WARM = 300
START_TIMEOUT_S = 90.0


def under_valgrind(peer: Peer, out: Path) -> Peer:
    """The same row, counted; without the randomness of hashes, which moves the figure by a percent."""
    valgrind = prepare.program("valgrind")
    launch, command = peer.command[:1], peer.command[1:]
    python = launch if launch[0].endswith("python") else (str(ROOT / ".venv" / "bin" / "python"), *launch)
    tool = ("--tool=callgrind", f"--callgrind-out-file={out}", "--collect-systime=no")
    counted = ("env", "PYTHONHASHSEED=0", valgrind, "-q", *tool, *python, *command)
    return dataclasses.replace(peer, command=counted)


def instructions(bench: Bench, site: Site, name: str, connections: int, out: Path) -> int:
    """All that one run takes, from start to end."""
    server = Server(under_valgrind(features.rows({})[name](site), out), START_TIMEOUT_S, signal.SIGTERM)
    with contextlib.closing(server):
        server.start()
        for count in (WARM, connections):
            got = bench.load(server.peer, ("setup", "--conns", "16"), "--bytes", str(count), timeout=120)
            if got["errors"]:
                raise Missing(f"{name}: {got['first_error']}")
        server.end(START_TIMEOUT_S)
    total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if total is None:
        raise Missing("callgrind wrote no total")
    return int(total[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default="shim", help="comma-separated: shim, or one of the features")
    parser.add_argument("--connections", type=int, default=2000)
    chosen = parser.parse_args()
    loadgen, upstream = prepare.build_programs()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = Bench(loadgen, upstream)
        stack.callback(bench.close)
        site = Site(bench.ports, folder)
        for name in chosen.rows.split(","):
            try:
                few, many = (instructions(bench, site, name, n, folder / "out") for n in (100, 100 + chosen.connections))
            except Missing as why:
                print(f"{name}: {why}", file=sys.stderr)
                return 2
            print(f"{name}: {(many - few) / chosen.connections:,.0f} instructions a connection", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
