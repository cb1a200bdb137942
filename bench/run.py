"""Measures the shim against other relays in one interleaved run and prints the tables.

Every server is up from start to end, verified byte for byte before anything is timed, and measured in rounds whose
order turns and is reversed each time. Only ratios within one round are worth comparing; see README.md.
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
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import peers
import plot
import prepare
import report
from measure import TESTS, Bench, Sample, Test
from peers import Peer, Site
from prepare import Missing
from server import Server

TRACED = ("shim", "haproxy", "microsocks")
OUT_OF_ROUNDS = ("idle", "syscalls")
FILES_PER_TUNNEL = 2
SPARE_FILES = 500


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    every = ",".join((*TESTS, *OUT_OF_ROUNDS))
    parser.add_argument("--quick", action="store_true", help="2 short rounds of the main tests, 1000 idle tunnels")
    parser.add_argument("--rounds", type=int, help="rounds to take medians over (default 5)")
    parser.add_argument("--seconds", type=float, help="length of one timed run (default 1.0)")
    parser.add_argument("--tests", help=f"comma-separated, of {every}")
    parser.add_argument("--peers", help=f"comma-separated, of {','.join(peers.ROWS)}; or all")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=ARGS", help="also `shim run ARGS`")
    parser.add_argument("--idle", type=int, help="tunnels of the idle test (default 4000)")
    parser.add_argument("--python", help="interpreter for asyncio-socks-server's environment")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the plot")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (2 if chosen.quick else 5)
    chosen.seconds = chosen.seconds or (0.5 if chosen.quick else 1.0)
    chosen.idle = chosen.idle or (1000 if chosen.quick else 4000)
    chosen.variant = dict(_variant(parser, text) for text in chosen.variant)
    chosen.tests = _names(parser, chosen.tests, _default_tests(chosen.quick), (*TESTS, *OUT_OF_ROUNDS))
    known = (*peers.ROWS, *chosen.variant)
    wanted = ",".join(known) if chosen.peers == "all" else chosen.peers
    chosen.peers = _names(parser, wanted, [*peers.BY_DEFAULT, *chosen.variant], known)
    return chosen


def _default_tests(quick: bool) -> list[str]:
    return [name for name, test in TESTS.items() if test.quick or not quick] + list(OUT_OF_ROUNDS)


def _variant(parser: argparse.ArgumentParser, text: str) -> tuple[str, str]:
    name, equals, args = text.partition("=")
    if not equals or not name or name in peers.ROWS:
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


def rows(names: list[str], site: Site, left_out: dict[str, str]) -> Iterator[Peer]:
    """The peers that are to be had here; the others go to `left_out` with the reason."""
    for name in names:
        try:
            yield peers.make(name, site)
        except Missing as why:
            left_out[name] = str(why)


def start(peer: Peer, stack: contextlib.ExitStack, left_out: dict[str, str]) -> Server | None:
    server = Server(peer)
    stack.callback(server.stop)
    try:
        server.start()
    except (Missing, OSError) as why:
        left_out[peer.name] = str(why)
        return None
    return server


def verified(bench: Bench, servers: list[Server], left_out: dict[str, str]) -> tuple[list[Server], dict[str, Any]]:
    """The servers that bring every byte; and what each did in each check."""
    checks = {server.peer.name: bench.verify(server) for server in servers}
    for name, result in checks.items():
        say(f"verify {name}: {result}")
        if result.get("echo") != "ok":
            left_out[name] = f"not timed, it failed the comparison of bytes: {result.get('echo')}"
    return [server for server in servers if server.peer.name not in left_out], checks


def order(servers: list[Server], number: int) -> list[Server]:
    """Turned by one each round and reversed each second, so that no one always follows the same one."""
    turn = number % len(servers)
    turned = servers[turn:] + servers[:turn]
    return turned[::-1] if number % 2 else turned


def timed(bench: Bench, servers: list[Server], tests: list[Test], rounds: int, seconds: float) -> Iterator[Sample]:
    for server in servers:
        bench.load(server.peer, ("setup", "--conns", "16"), "--bytes", "300")  # warm: caches, lazy imports
    for number in range(rounds):
        began = time.monotonic()
        for test in tests:
            for server in order(servers, number):
                if server.alive():
                    yield bench.measure(server, test, number, seconds)
        say(f"round {number + 1} of {rounds}: {time.monotonic() - began:.0f} s")


def alone(
    bench: Bench, site: Site, names: list[str], chosen: argparse.Namespace
) -> tuple[list[Sample], dict[str, Any]]:
    """What needs a fresh server to itself: memory of idle tunnels, and counts of system calls."""
    samples: list[Sample] = []
    calls: dict[str, Any] = {}
    for name in names:
        if name == "direct":
            continue
        if "idle" in chosen.tests:
            with fresh(name, site) as server:
                samples.append(bench.idle(server, chosen.idle))
        if "syscalls" in chosen.tests and (name in TRACED or name in site.variants):
            with contextlib.suppress(Missing), fresh(name, site) as server:
                for conns in (1, 16):
                    calls[f"{name}, {conns} at a time"] = bench.syscalls(server, 500, conns)
        say(f"alone: {name}")
    return samples, calls


@contextlib.contextmanager
def fresh(name: str, site: Site) -> Iterator[Server]:
    server = Server(peers.make(name, site))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def machine() -> dict[str, Any]:
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    cores = len(os.sched_getaffinity(0))
    return {"cpu": model, "cores": cores, "kernel": platform.release(), "python": platform.python_version()}


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the record that the reports are made of."""
    left_out: dict[str, str] = {}
    limit = raise_file_limit()
    chosen.idle = min(chosen.idle, (limit - SPARE_FILES) // FILES_PER_TUNNEL)
    loadgen, upstream = prepare.build_programs()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = Bench(loadgen, upstream)
        stack.callback(bench.close)
        site = Site(bench.ports, folder, chosen.python, chosen.variant)
        wanted = list(rows(chosen.peers, site, left_out))
        servers = [server for peer in wanted if (server := start(peer, stack, left_out))]
        servers, checks = verified(bench, servers, left_out)
        tests = [TESTS[name] for name in chosen.tests if name in TESTS]
        samples = list(timed(bench, servers, tests, chosen.rounds, chosen.seconds)) if servers else []
        for server in servers:
            if not server.alive():
                left_out[server.peer.name] = "it ended in the middle of the run"
            server.stop()
        names = [server.peer.name for server in servers if server.peer.name not in left_out]
        idle, calls = alone(bench, site, names, chosen)
    for name, why in left_out.items():
        say(f"left out: {name}: {why}")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "peers": {p.name: {"kind": p.kind, "version": p.version} for p in wanted if p.name not in left_out},
        "left_out": left_out,
        "verify": checks,
        "samples": [dataclasses.asdict(sample) for sample in [*samples, *idle]],
        "syscalls": calls,
    }


def main() -> int:
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended on the way out
    try:
        record = run(chosen)
    except Missing as why:
        say(f"bench: {why}")
        return 2
    except KeyboardInterrupt:
        return 130
    if chosen.json:
        chosen.json.write_text(json.dumps(record, indent=1) + "\n")
    text = report.markdown(record)
    if chosen.markdown:
        chosen.markdown.write_text(text)
    if chosen.svg:
        chosen.svg.write_text(plot.svg(record))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
