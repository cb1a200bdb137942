"""How many instructions the shim takes in user space for one connection: a figure that other load does not move.

Valgrind runs the interpreter and counts; the kernel's work is not in it. Two runs of different length, so that what
starting and ending cost falls out. Times nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import shutil
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
PATIENCE = 20.0  # an interpreter is so many times as slow under valgrind, and more


def counted(peer: Peer, out: Path) -> Peer:
    """The same row under valgrind; without the randomness of hashes, which moves the figure by a percent."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Missing("valgrind is not on PATH")
    python = () if peer.command[0].endswith("python") else (str(ROOT / ".venv" / "bin" / "python"),)
    tool = ("--tool=callgrind", f"--callgrind-out-file={out}")
    return dataclasses.replace(peer, command=("env", "PYTHONHASHSEED=0", valgrind, "-q", *tool, *python, *peer.command))


def instructions(bench: Bench, peer: Peer, connections: int, out: Path) -> int:
    """All that one run takes, from start to end."""
    server = Server(counted(peer, out), PATIENCE)
    server.start()
    try:
        for count in (WARM, connections):
            got = bench.load(peer, ("setup", "--conns", "16"), "--bytes", str(count), timeout=120)
            if got["errors"]:
                raise Missing(got["first_error"])
    finally:
        server.stop()
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
            took = []
            for count in (100, 100 + chosen.connections):
                peer = features.rows({})[name](site)
                took.append(instructions(bench, peer, count, folder / "counts"))
            print(f"{name}: {(took[1] - took[0]) / chosen.connections:,.0f} instructions a connection", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as why:
        sys.exit(f"bench: {why}")
