"""Measures the sensor against dnsmasq and unbound: queries per second, and per second of CPU.

All of them answer from their own memory, and dnsperf asks. Rounds are interleaved as in run.py, and ratios are taken
within one round. Goal: half of dnsmasq's queries per CPU second.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import prepare
import publish
from cost import machine_busy, settle, tree_cpu
from figures import Spread
from peers import LOOPBACK, ROOT, Peer, free_port
from prepare import Missing
from report import table
from server import Server

ZONE = "bench.test"
NAMES = 2000
GOAL = 0.5
BASE = "dnsmasq"
CLIENTS = ("-c", "4", "-q", "100")
UNBOUND = """server:
  interface: {host}
  port: {port}
  num-threads: 1
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: "/dev/null"
  do-daemonize: no
  local-zone: "{zone}." redirect
  local-data: "{zone}. 3600 IN A 192.0.2.1"
"""


@dataclass(frozen=True)
class Run:
    """One timed run; `cpu` is the server's seconds for all of its queries."""

    peer: str
    round: int
    queries: int
    lost: int
    seconds: float
    cpu: float
    foreign_share: float

    @property
    def per_cpu_second(self) -> float:
        return self.queries / self.cpu if self.cpu else 0.0


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        raise Missing(f"{name} is not on PATH")
    return found


def dnsmasq(_: Path) -> Peer:
    path, port = program("dnsmasq"), free_port()
    command = (path, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=")
    where = (f"--listen-address={LOOPBACK}", "--bind-interfaces", f"--port={port}", f"--user={getpass.getuser()}")
    answers = (f"--address=/{ZONE}/192.0.2.1", "--cache-size=10000", "--log-facility=/dev/null")
    version = prepare.program_version(path, "Dnsmasq version", "--version")
    return Peer("dnsmasq", "C, one process", version, port, (*command, *where, *answers))


def unbound(folder: Path) -> Peer:
    path, port = program("unbound"), free_port()
    conf = folder / "unbound.conf"
    conf.write_text(UNBOUND.format(host=LOOPBACK, port=port, zone=ZONE))
    version = prepare.program_version(path, "Version", "-V")
    return Peer("unbound", "C, one thread", version, port, (path, "-d", "-c", str(conf)))


def echo(_: Path) -> Peer:
    port = free_port()
    command = (str(ROOT / ".venv" / "bin" / "python"), str(Path(__file__).with_name("dgram_echo.py")), str(port))
    return Peer("echo", "asyncio-dgram on uvloop, nothing read", "", port, command)


def shim(folder: Path, name: str, dns_mode: str, *flags: str, attribution: bool = True) -> Peer:
    conf, port = folder / f"{name}.toml", free_port()
    who = "true" if attribution else "false"
    conf.write_text(f"[dns]\nqueries_per_second = 0\n[log]\nattribution = {who}\n")
    command = [str(ROOT / ".venv" / "bin" / "shim"), "run", "--config", str(conf), "--dns-mode", dns_mode, *flags]
    command += ["--dns", f"{LOOPBACK}:{port}", "--socks", f"{LOOPBACK}:0", "--upstream", f"unix:{folder}/none"]
    version = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return Peer(name, "Python, one process", version.stdout.strip(), port, tuple(command))


QUIET = ("--log-level", "warning")
ROWS = {
    "dnsmasq": dnsmasq,
    "unbound": unbound,
    "echo": echo,
    "shim-refuse": lambda folder: shim(folder, "shim-refuse", "refuse"),
    "shim-issue": lambda folder: shim(folder, "shim-issue", "issue"),
    "shim-issue-json": lambda folder: shim(folder, "shim-issue-json", "issue", "--log-format", "json"),
    "shim-refuse-warning": lambda folder: shim(folder, "shim-refuse-warning", "refuse", *QUIET),
    "shim-issue-warning": lambda folder: shim(folder, "shim-issue-warning", "issue", *QUIET),
    "shim-refuse-nobody": lambda folder: shim(folder, "shim-refuse-nobody", "refuse", *QUIET, attribution=False),
    "shim-issue-nobody": lambda folder: shim(folder, "shim-issue-nobody", "issue", *QUIET, attribution=False),
}
"""`echo` is asyncio-dgram alone. `-warning` writes findings alone; `-nobody` does not look who asked, either."""


def started(names: list[str], folder: Path, stack: contextlib.ExitStack, left_out: dict[str, str]) -> Iterator[Server]:
    for name in names:
        try:
            server = Server(ROWS[name](folder))
            stack.callback(server.stop)
            server.start()
        except (Missing, OSError) as why:
            left_out[name] = str(why)
        else:
            yield server


def measured(server: Server, questions: Path, number: int, seconds: float) -> Run:
    """One run of dnsperf, with what the server used for it."""
    where = ("-s", LOOPBACK, "-p", str(server.peer.port), "-d", str(questions), "-l", str(seconds), "-t", "2")
    busy, cpu, began = machine_busy(), tree_cpu(server.pid), time.monotonic()
    done = subprocess.run([program("dnsperf"), *where, *CLIENTS], capture_output=True, text=True, timeout=seconds + 30)
    took = time.monotonic() - began
    settle(server.pid)
    cpu, busy = tree_cpu(server.pid) - cpu, machine_busy() - busy
    answered = re.search(r"Queries completed:\s+(\d+)", done.stdout)
    lost = re.search(r"Queries lost:\s+(\d+)", done.stdout)
    if not answered or not lost:
        raise Missing(f"dnsperf says: {done.stderr.strip() or done.stdout.strip()}")
    mine = busy - cpu  # dnsperf's and everybody else's
    return Run(server.peer.name, number, int(answered[1]), int(lost[1]), took, cpu, mine / took)


def all_runs(servers: list[Server], questions: Path, rounds: int, seconds: float) -> Iterator[Run]:
    for server in servers:
        measured(server, questions, -1, 0.3)  # warm: caches, lazy imports
    for number in range(rounds):
        turn = number % len(servers)
        turned = servers[turn:] + servers[:turn]
        for server in turned[::-1] if number % 2 else turned:
            yield measured(server, questions, number, seconds)


def markdown(runs: list[Run], servers: list[Server], left_out: dict[str, str]) -> str:
    """The table, each ratio with its least and greatest value."""
    base = {run.round: run.per_cpu_second for run in runs if run.peer == BASE}
    rows = []
    for server in servers:
        mine = [run for run in runs if run.peer == server.peer.name]
        rate = Spread.of([run.queries / run.seconds for run in mine])
        cost = Spread.of([1e6 / run.per_cpu_second for run in mine])
        ratio = Spread.of([run.per_cpu_second / base[run.round] for run in mine if base.get(run.round)])
        lost = sum(run.lost for run in mine)
        if rate and cost:
            about = [server.peer.name, server.peer.version, f"{rate.median:,.0f}"]
            rows.append([*about, f"{cost.median:.1f} ({cost.least:.1f})", str(ratio or "–"), str(lost)])
    heads = ["server", "version", "queries/s", "CPU µs/query (least)", f"queries/CPU s × {BASE}", "lost"]
    rounds = 1 + max((run.round for run in runs), default=-1)
    foreign = Spread.of([run.foreign_share for run in runs])
    said = f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {rounds} interleaved rounds"
    if foreign:
        said += f"; dnsperf and anything else on the machine took {100 * foreign.median:.0f} % of one core meanwhile"
    text = f"{said}. Goal: {GOAL:g} × {BASE}.\n\n" + table(heads, rows, words=2)
    return text + "".join(f"\n\nLeft out: {name} ({why})." for name, why in left_out.items())


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one run")
    parser.add_argument("--peers", default=",".join(ROWS), help="comma-separated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run")
    parser.add_argument("--publish", action="store_true", help="put the table into docs/benchmarks.md")
    chosen = parser.parse_args()
    chosen.peers = chosen.peers.split(",")
    if unknown := [name for name in chosen.peers if name not in ROWS]:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(ROWS)}")
    return chosen


def main() -> int:
    chosen, left_out = options(), dict[str, str]()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        questions = folder / "questions"
        questions.write_text("".join(f"host{number}.{ZONE} A\n" for number in range(NAMES)))
        try:
            servers = list(started(chosen.peers, folder, stack, left_out))
            runs = list(all_runs(servers, questions, chosen.rounds, chosen.seconds)) if servers else []
        except Missing as why:
            print(f"bench: {why}", file=sys.stderr)
            return 2
        text = markdown(runs, servers, left_out)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n")
    if chosen.publish:
        publish.between(ROOT / "docs" / "benchmarks.md", "dns", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
