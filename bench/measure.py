"""One measurement: the load generator against one server, and what that cost each process.

Never decides what is compared with what: that is figures.py.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cost import LATE_S, machine_busy, settle, tree, tree_cpu, tree_memory_kib
from peers import LOOPBACK, Peer
from prepare import Missing
from server import Server

IDLE_TIMEOUT_S = 25
"""At most so long the idle tunnels may take to be opened, and to be tried again."""


@dataclass(frozen=True)
class Test:
    """What the load generator does, and in which unit the relay's CPU is counted."""

    name: str
    title: str
    command: tuple[str, ...]
    unit: str  # "connection", "GiB" or "message"
    quick: bool = False
    extra: bool = False  # only when asked for

    @property
    def units_in(self) -> float:
        return 2**30 if self.unit == "GiB" else 1


def _bulk(name: str, title: str, way: str, conns: int, *more: str, quick: bool = False) -> Test:
    return Test(name, title, (way, "--conns", str(conns), *more), "GiB", quick, extra=bool(more))


TESTS: dict[str, Test] = {
    t.name: t
    for t in (
        Test("setup", "Connections, 16 at a time", ("setup", "--conns", "16"), "connection", True),
        Test("latency", "Connections, one after another", ("setup", "--conns", "1"), "connection", True),
        _bulk("down1", "Download, 1 connection", "down", 1, quick=True),
        _bulk("down8", "Download, 8 connections", "down", 8, quick=True),
        _bulk("down64", "Download, 64 connections", "down", 64),
        _bulk("up1", "Upload, 1 connection", "up", 1),
        _bulk("up8", "Upload, 8 connections", "up", 8),
        _bulk("up64", "Upload, 64 connections", "up", 64),
        _bulk("light1", "Download, 1 connection, light ends", "down", 1, "--light"),
        _bulk("light8", "Download, 8 connections, light ends", "down", 8, "--light"),
        Test("ping1", "64 bytes to and fro, 1 tunnel", ("ping", "--conns", "1"), "message", True),
        Test("ping16", "64 bytes to and fro, 16 tunnels", ("ping", "--conns", "16"), "message"),
    )
}


@dataclass
class Sample:
    """One run of one test against one peer. `cpu` is the relay's seconds per unit, None where there is no relay."""

    test: str
    peer: str
    round: int
    rate: float  # per second; bytes for bulk
    count: int
    cpu: float | None
    p50_us: float | None = None
    p99_us: float | None = None
    fairness: float | None = None
    errors: int = 0
    first_error: str = ""
    relay_share: float = 0.0  # of one core, as are the next three
    loadgen_share: float = 0.0
    upstream_share: float = 0.0
    foreign_share: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


class Bench:
    """The load generator and the upstream of one run."""

    def __init__(self, loadgen: Path, upstream: Path) -> None:
        self.loadgen = loadgen
        self._upstream = subprocess.Popen([str(upstream)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self._upstream.stdout is not None
        self._ports_line = self._upstream.stdout.readline().strip()
        self.ports: dict[str, int] = json.loads(self._ports_line)

    def close(self) -> None:
        self._upstream.kill()
        self._upstream.wait(5)

    def command(self, peer: Peer, load: tuple[str, ...], *more: str) -> list[str]:
        """The whole command line of the load generator."""
        where = ["--to", f"{LOOPBACK}:{peer.port}", "--via", peer.via, "--host", peer.host, "--ports", self._ports_line]
        return [str(self.loadgen), load[0], *where, *load[1:], *more]

    def load(self, peer: Peer, load: tuple[str, ...], *more: str, timeout: float = 30) -> dict[str, Any]:
        """Run it to its end; its JSON, or one that holds only the error."""
        command = self.command(peer, load, *more, "--timeout", str(timeout))
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout + 20
            )
            return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]
        except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
            return {"errors": 1, "first_error": f"load generator: {type(error).__name__}", "count": 0, "rate": 0.0}

    def measure(self, server: Server, test: Test, number: int, seconds: float) -> Sample:
        """One timed run, with what every process of it cost."""
        root = server.pid
        started, machine = time.monotonic(), machine_busy()
        relay, far = tree_cpu(root), tree_cpu(self._upstream.pid)
        got = self.load(server.peer, test.command, "--seconds", str(seconds))
        settle(root)
        relay, far = tree_cpu(root) - relay, tree_cpu(self._upstream.pid) - far
        wall, machine = time.monotonic() - started, machine_busy() - machine
        mine = got.get("cpu_seconds", 0.0)
        took = max(got.get("seconds", 0.0), 1e-9)
        units = got["count"] / test.units_in
        return Sample(
            test.name,
            server.peer.name,
            number,
            got["rate"],
            got["count"],
            relay / units if root and units else None,
            got.get("p50_us"),
            got.get("p99_us"),
            got.get("fairness"),
            got["errors"],
            got["first_error"],
            relay / took,
            mine / took,
            far / took,
            max(0.0, (machine - relay - far - mine) / wall),
        )

    def verify(self, server: Server) -> dict[str, str]:
        """Each check of the load generator's verification with "ok" or what went wrong."""
        got = self.load(server.peer, ("verify", "--conns", "4"), timeout=60)
        return dict(got.get("checks", {"echo": got["first_error"]}))

    def idle(self, server: Server, tunnels: int) -> Sample:
        """Memory of `tunnels` tunnels, each used once, in a server just started and warmed."""
        self.load(server.peer, ("setup", "--conns", "16"), "--bytes", "300")
        settle(server.pid)
        before = tree_memory_kib(server.pid)
        command = self.command(server.peer, ("idle", "--conns", str(tunnels)), "--timeout", str(IDLE_TIMEOUT_S))
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as load:
            assert load.stdin is not None and load.stdout is not None
            held = json.loads(load.stdout.readline() or '{"held": 0}')["held"]
            settle(server.pid, LATE_S)
            after, cpu, began = tree_memory_kib(server.pid), tree_cpu(server.pid), time.monotonic()
            time.sleep(1)
            idle_cpu = (tree_cpu(server.pid) - cpu) / (time.monotonic() - began)
            load.stdin.close()
            line = load.stdout.readline()
        got = json.loads(line) if line else {"alive": 0, "errors": 1, "first_error": "load generator ended"}
        grown = (after - before) / held if held else 0.0
        extra = {"kib_per_tunnel": grown, "base_mib": before / 1024, "idle_cpu": idle_cpu, "alive": got["alive"]}
        error = (got["errors"], got["first_error"])
        return Sample("idle", server.peer.name, 0, 0, held, None, errors=error[0], first_error=error[1], extra=extra)

    def syscalls(self, server: Server, tunnels: int, conns: int) -> dict[str, float]:
        """System calls per tunnel of the relay's whole tree, by name, counted by strace; not timed."""
        strace = shutil.which("strace")
        if not strace or server.pid is None:
            raise Missing("strace is not on PATH")
        with tempfile.NamedTemporaryFile("r", suffix=".strace") as out:
            self.load(server.peer, ("setup", "--conns", "16"), "--bytes", "100")  # lazy imports are no tunnel's cost
            who = [word for pid in tree(server.pid) for word in ("-p", str(pid))]
            tracer = subprocess.Popen([strace, "-f", "-c", "-o", out.name, *who], stderr=subprocess.DEVNULL)
            time.sleep(0.5)
            got = self.load(server.peer, ("setup", "--conns", str(conns)), "--bytes", str(tunnels))
            settle(server.pid)
            tracer.send_signal(signal.SIGINT)
            try:
                tracer.wait(10)
            except subprocess.TimeoutExpired:
                tracer.kill()
                tracer.wait(10)
            counts = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", out.read(), re.MULTILINE)
        if not counts or not got["count"]:
            raise Missing("strace counted nothing")
        done = got["count"]
        return {name: int(calls) / done for calls, name in counts if name != "total"}
