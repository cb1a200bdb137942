"""Measures the shim against other relays in one interleaved run and prints the tables.

Every server is up from start to end, verified byte for byte before anything is timed, and measured in rounds whose
order turns and is reversed each time. Only ratios within one round are worth comparing; see README.md. A relay that
fails is left out, and what was measured until then is kept, however the run ends.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import features
import plot
import prepare
import publish
import report
from measure import TESTS, Bench, Sample, Test
from peers import BY_DEFAULT, ROOT, Peer, Site
from prepare import Missing
from server import Server

TRACED = ("shim", "haproxy", "microsocks")
OUT_OF_ROUNDS = ("idle", "syscalls")
FILES_PER_TUNNEL = 2
SPARE_FILES = 500
OUT = prepare.HERE / "out"
GROUPS = {"peers": BY_DEFAULT, "features": ("shim", *features.FEATURES)}
ALONE_S = 30
FOR_ROUNDS = 0.75  # of the whole time; the rest is for what is measured alone


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    every = ",".join((*TESTS, *OUT_OF_ROUNDS))
    some = ",".join((*GROUPS, *features.rows({})))
    parser.add_argument("--quick", action="store_true", help="2 short rounds of the main tests, no features")
    parser.add_argument("--rounds", type=int, help="rounds to take medians over (default 5)")
    parser.add_argument("--seconds", type=float, help="length of one timed run (default 0.6)")
    parser.add_argument("--minutes", type=float, default=12, help="begin nothing that would end later (default 12)")
    parser.add_argument("--tests", help=f"comma-separated, of {every}")
    parser.add_argument("--peers", help=f"comma-separated, of {some}; or all (default peers,features)")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=ARGS", help="also `shim run ARGS`")
    parser.add_argument("--idle", type=int, help="tunnels of the idle test (default 10000)")
    parser.add_argument("--python", help="interpreter for asyncio-socks-server's environment")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for benchmarks.json, .md and .svg")
    parser.add_argument("--publish", action="store_true", help="put the results into docs/ as well")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (2 if chosen.quick else 5)
    chosen.seconds = chosen.seconds or (0.5 if chosen.quick else 0.6)
    chosen.idle = chosen.idle or (1000 if chosen.quick else 10000)
    chosen.variant = dict(_variant(parser, text) for text in chosen.variant)
    chosen.tests = _names(parser, chosen.tests, _default_tests(chosen.quick), (*TESTS, *OUT_OF_ROUNDS))
    known = tuple(features.rows(chosen.variant))
    wanted = _groups(known if chosen.peers == "all" else (chosen.peers or _default_peers(chosen.quick)).split(","))
    chosen.peers = _names(parser, ",".join(dict.fromkeys((*wanted, *chosen.variant))), [], known)
    return chosen


def _default_tests(quick: bool) -> list[str]:
    return [name for name, test in TESTS.items() if test.quick or not (quick or test.extra)] + list(OUT_OF_ROUNDS)


def _default_peers(quick: bool) -> str:
    return "peers" if quick else "peers,features"


def _groups(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield from GROUPS.get(name, (name,))


def _variant(parser: argparse.ArgumentParser, text: str) -> tuple[str, str]:
    name, equals, args = text.partition("=")
    if not equals or not name or name in features.rows({}):
        parser.error(f"--variant wants NEWNAME=ARGS, not {text!r}")
    return name, args


def _names(parser: argparse.ArgumentParser, text: str | None, default: list[str], known: tuple[str, ...]) -> list[str]:
    names = text.split(",") if text else default
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is not one of {', '.join(known)}")
    return names


def raise_file_limit() -> int:
    """As many open files as this user may have; the servers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (max(hard, 65536), hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            return wanted
    return hard


# --- the run -------------------------------------------------------------------------------------------------------


class Run:
    """One run: what is to be measured, what has been, and who was left out why."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.left_out: dict[str, str] = {}
        self.peers: dict[str, dict[str, str]] = {}
        self.checks: dict[str, dict[str, str]] = {}
        self.samples: list[Sample] = []
        self.calls: dict[str, Any] = {}
        self._began = time.monotonic()
        self._rows = features.rows(chosen.variant)
        limit = raise_file_limit()
        self._idle = min(chosen.idle, (limit - SPARE_FILES) // FILES_PER_TUNNEL)

    def record(self) -> dict[str, Any]:
        """What the reports are made of."""
        return {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": machine(),
            "rounds": 1 + max((sample.round for sample in self.samples), default=-1),
            "seconds": self.chosen.seconds,
            "peers": {name: about for name, about in self.peers.items() if name not in self.left_out},
            "left_out": self.left_out,
            "verify": self.checks,
            "samples": [dataclasses.asdict(sample) for sample in self.samples],
            "syscalls": self.calls,
        }

    def everything(self, stack: contextlib.ExitStack) -> None:
        loadgen, upstream = prepare.build_programs()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = Bench(loadgen, upstream)
        stack.callback(bench.close)
        site = Site(bench.ports, folder, self.chosen.python)
        servers = [server for name in self.chosen.peers if (server := self._started(name, site, stack))]
        servers = [server for server in servers if self._verified(bench, server)]
        self._rounds(bench, servers)
        for server in servers:
            if not server.alive():
                self.left_out[server.peer.name] = "it ended in the middle of the run"
            server.stop()
        self._alone(bench, site, [server.peer for server in servers if server.peer.name not in self.left_out])

    def _late(self, seconds: float, share: float = 1.0) -> bool:
        """Whether what takes that long would end after its time."""
        return bool(time.monotonic() - self._began + seconds > 60 * self.chosen.minutes * share)

    def _started(self, name: str, site: Site, stack: contextlib.ExitStack) -> Server | None:
        try:
            peer = self._rows[name](site)
            server = Server(peer)
            stack.callback(server.stop)
            server.start()
        except (Missing, OSError) as why:
            self.left_out[name] = str(why)
            return None
        self.peers[name] = {"kind": peer.kind, "version": peer.version}
        return server

    def _verified(self, bench: Bench, server: Server) -> bool:
        """Whether it brings every byte; what it did in each check is kept."""
        name = server.peer.name
        result: dict[str, str] = bench.verify(server)
        self.checks[name] = result
        say(f"verify {name}: {result}")
        if result.get("echo") != "ok":
            self.left_out[name] = f"not timed, it failed the comparison of bytes: {result.get('echo')}"
        return result.get("echo") == "ok"

    def _rounds(self, bench: Bench, servers: list[Server]) -> None:
        for server in servers:
            bench.load(server.peer, ("setup", "--conns", "16"), "--bytes", "300")  # warm: caches, lazy imports
        took = 0.0
        for number in range(self.chosen.rounds if servers else 0):
            if number and self._late(took, FOR_ROUNDS):
                say(f"no time for more than {number} rounds")
                break
            began = time.monotonic()
            for name in self.chosen.tests:
                if name in TESTS:
                    self._round(bench, servers, TESTS[name], number)
            took = time.monotonic() - began
            say(f"round {number + 1} of {self.chosen.rounds}: {took:.0f} s")

    def _round(self, bench: Bench, servers: list[Server], test: Test, number: int) -> None:
        for server in order(servers, number):
            if server.alive() and (not server.peer.only or test.name in server.peer.only):
                self.samples.append(bench.measure(server, test, number, self.chosen.seconds))

    def _alone(self, bench: Bench, site: Site, relays: list[Peer]) -> None:
        """What needs a fresh server to itself: memory of idle tunnels, and counts of system calls."""
        for peer in relays:
            if not peer.command or peer.only:
                continue
            tests = [name for name in OUT_OF_ROUNDS if name in self.chosen.tests]
            traced = peer.name in TRACED or peer.name in self.chosen.variant
            for test in tests:
                if test == "syscalls" and not traced:
                    continue
                if self._late(ALONE_S):
                    say(f"no time for {test} of {peer.name}")
                    continue
                with contextlib.suppress(Missing, OSError), self._fresh(peer.name, site) as server:
                    self._measure_alone(bench, server, test)
            say(f"alone: {peer.name}")

    def _measure_alone(self, bench: Bench, server: Server, test: str) -> None:
        if test == "idle":
            self.samples.append(bench.idle(server, self._idle))
            return
        for conns in (1, 16):
            self.calls[f"{server.peer.name}, {conns} at a time"] = bench.syscalls(server, 500, conns)

    @contextlib.contextmanager
    def _fresh(self, name: str, site: Site) -> Iterator[Server]:
        server = Server(self._rows[name](site))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def order(servers: list[Server], number: int) -> list[Server]:
    """Turned by one each round and reversed each second, so that no one always follows the same one."""
    turn = number % len(servers)
    turned = servers[turn:] + servers[:turn]
    return turned[::-1] if number % 2 else turned


def machine() -> dict[str, Any]:
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    cores = len(os.sched_getaffinity(0))
    congestion = ""  # one that paces costs everybody
    with contextlib.suppress(OSError):
        congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    versions = {"kernel": platform.release(), "python": platform.python_version(), "congestion": congestion}
    return {"cpu": model, "cores": cores, **versions}


def write(record: dict[str, Any], folder: Path) -> None:
    """The results as data, as tables and as a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / "benchmarks.md").write_text(report.markdown(record))
    (folder / "benchmarks.svg").write_text(plot.svg(record))


def main() -> int:
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended on the way out
    run, status = Run(chosen), 0
    try:
        with contextlib.ExitStack() as stack:
            run.everything(stack)
    except Missing as why:
        say(f"bench: {why}")
        return 2
    except KeyboardInterrupt:
        status = 130
    finally:
        if measured := bool(run.samples or run.calls):
            write(run.record(), chosen.out)
    for name, reason in run.left_out.items():
        say(f"left out: {name}: {reason}")
    if chosen.publish and not status:
        publish.everything(chosen.out, ROOT / "docs")
    print((chosen.out / "benchmarks.md").read_text() if measured else "nothing was measured")
    return status


if __name__ == "__main__":
    sys.exit(main())
