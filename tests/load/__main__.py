"""`python -m load [tunnels] [half] [row] [soak]`: the long runs, with a verdict each; exit status 1 if one went wrong.

Judges by counts; memory and rates are printed as measured.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rig.wire import tunnel5

from load.crowds import Told, far, held, lived
from load.watched import Watched

PARTS = ["tunnels", "half", "row", "soak"]
SPARE_PIPES = 32
PER_PROCESS = 9000
"""Tunnels of one worker, two descriptors each, where a process may have 20,000."""

FLAT = 1.05
"""Memory at the end of a soak against memory after its first fifth."""

SLICE_S = 10.0
TIMED = 1000
WARM = 30_000
"""Findings before a soak: what is remembered of them, of 8,192 at most, is full then and grows no more."""


def tunnels(count: int, folder: Path) -> str:
    """So many open at once, in as many workers as the limit of descriptors asks for."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    workers = -(-count // min(PER_PROCESS, soft // 2 - 500))
    with far(workers + 1) as upstream, Watched(folder, "--upstream", upstream, "--workers", str(workers)) as shim:
        came = lived(shim.socks, 60, 2000).came
        shim.settle(came)
        before, began = shim.holdings(), time.monotonic()
        with held(shim.socks, count, workers + 1, patience_s=600) as there:
            took, full = time.monotonic() - began, shim.holdings()
            assert full.inside["open"] == there == count // (workers + 1) * (workers + 1)
            assert full.sockets == before.sockets + 2 * there
        shim.settle(came + there)
        after = shim.holdings()
        assert not (leaks := after.leaks(before, workers * SPARE_PIPES)), leaks
        _end(shim)
    each = (full.resident_kib - before.resident_kib) / there
    return (
        f"{there} tunnels at once in {workers} processes, opened in {took:.0f} s, {each:.2f} KiB each, all still "
        f"echoing; afterwards {_mib(before.resident_kib)} -> {_mib(after.resident_kib)}, nothing left"
    )


def half(count: int, folder: Path) -> str:
    """How long one tunnel takes after another, from connect to echo, alone and beside so many begun handshakes."""
    config = folder / "half.toml"
    config.write_text(f"[limits]\nhandshakes = {2 * count}\nhandshake_timeout_s = 300\n")
    with far() as upstream, Watched(folder, "--upstream", upstream, "--config", str(config)) as shim:
        _timed(shim.socks)
        alone = _timed(shim.socks)
        with held(shim.socks, count, 2, "half"):
            beside = _timed(shim.socks)
        again = _timed(shim.socks)
        shim.settle(4 * TIMED + count)
        _end(shim)
    ratios = " and ".join(f"{b / (a + c) * 2:.2f}" for a, b, c in zip(alone, beside, again, strict=True))
    return (
        f"one tunnel takes {alone[0]:.0f} us (95 of 100 at most {alone[1]:.0f}) alone, "
        f"{beside[0]:.0f} ({beside[1]:.0f}) beside {count} half handshakes, {again[0]:.0f} ({again[1]:.0f}) "
        f"afterwards: {ratios} times as long"
    )


def _timed(socks: str) -> tuple[float, float]:
    """Median and 95th percentile, in microseconds."""
    took = []
    for _ in range(TIMED):
        began = time.perf_counter()
        with tunnel5(socks, b"echo.test", 80) as client:
            client.send(b"x")
            assert client.read(1) == b"x"
            took.append((time.perf_counter() - began) * 1e6)
    return median(took), sorted(took)[TIMED * 95 // 100]


def row(count: int, folder: Path) -> str:
    """So many connections with random ends, one crowd after another."""
    with far() as upstream, Watched(folder, "--upstream", upstream) as shim:
        told = lived(shim.socks, 60, count // 20)
        shim.settle(told.came)
        before, began = shim.holdings(), time.monotonic()
        more = lived(shim.socks, 3600, count, seed=1000)
        took = time.monotonic() - began
        shim.settle(told.came + more.came)
        after = shim.holdings()
        assert not (leaks := after.leaks(before, SPARE_PIPES)), leaks
        assert not more.failed, more.errors
        _end(shim)
    return f"{_of(more, took)}; {_mib(before.resident_kib)} -> {_mib(after.resident_kib)}, nothing left"


def soak(seconds: float, folder: Path) -> str:
    """Random ends and DNS queries for so long, looked at between slices."""
    resident: list[int] = []
    blocks: list[int] = []
    all_told = Told()
    with far() as upstream, Watched(folder, "--upstream", upstream, "--dns", "127.0.0.1:0") as shim:
        first = lived(shim.socks, 300, WARM, dns=shim.dns, how="warm").came
        shim.settle(first)
        before, began, asked = None, time.monotonic(), shim.events["dns_query"]
        while (passed := time.monotonic() - began) < seconds:
            told = lived(shim.socks, SLICE_S, 1_000_000, dns=shim.dns, seed=int(passed * 1000))
            assert not told.failed, told.errors
            all_told.add(vars(told))
            shim.settle(first + all_told.came)
            now = shim.holdings()
            before = before or now
            assert not (leaks := now.leaks(before, SPARE_PIPES)), leaks
            resident.append(now.resident_kib)
            blocks.append(now.inside["blocks"])
        _end(shim)
        queries = shim.events["dns_query"] - asked
    warm, late = _ends(resident)
    assert late <= warm * FLAT, f"memory grows: {resident}"
    objects = " -> ".join(f"{count / 1000:.0f},000" for count in _ends(blocks))
    return (
        f"{_of(all_told, passed)}, {queries} DNS queries; {_mib(warm)} -> {_mib(late)}, "
        f"blocks of Python's allocator {objects}, nothing left"
    )


def _ends(values: list[int]) -> tuple[float, float]:
    """After the first fifth, and at the end."""
    return median(values[len(values) // 5 :][:3]), median(values[-3:])


def _end(shim: Watched) -> None:
    assert shim.stop() == 0
    assert [line["open"] for line in shim.lines("draining")] == [0] * len(shim.lines("draining"))
    assert not shim.events["fault"] and not shim.events["(no event)"]


def _of(told: Told, seconds: float) -> str:
    share = told.bytes / 2**30
    return (
        f"{told.came} connections in {seconds:.0f} s ({told.came / seconds:.0f}/s), {told.whole} of them to their "
        f"end with {share:.1f} GiB there and back unchanged, one closing line each"
    )


def _mib(kib: float) -> str:
    return f"{kib / 1024:.1f} MiB"


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m load")
    parser.add_argument("what", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--tunnels", type=int, default=20_000)
    parser.add_argument("--handshakes", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=600)
    asked = parser.parse_args()
    runs: dict[str, Callable[[Path], str]] = {
        "tunnels": lambda folder: tunnels(asked.tunnels, folder),
        "half": lambda folder: half(asked.handshakes, folder),
        "row": lambda folder: row(asked.connections, folder),
        "soak": lambda folder: soak(asked.seconds, folder),
    }
    status = 0
    for name in asked.what:
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"{name}: good: {runs[name](Path(folder))}", flush=True)
            except AssertionError as error:
                status = 1
                print(f"{name}: BAD: {error}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
