"""All faults at once, in random order: nobody who came is lost, and nothing is said twice."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from rig.family import children
from rig.faults import DEADLINES, serves
from rig.inject import used
from rig.shim import Shim
from rig.upstream import Behaviour, Upstream
from rig.wire import GREETING, GREETING_AUTH, Client, auth, http_connect, socks4, socks5

CLIENTS, EACH = 8, 30
BEHAVIOURS = (
    *(Behaviour(), Behaviour(), Behaviour(reply=5), Behaviour(drip=True), Behaviour(delay_s=0.1)),
    *(Behaviour(stop_at="accept"), Behaviour(stop_at="accept", hold=True), Behaviour(stop_at="accept", say=b"\x15\3")),
    *(Behaviour(stop_at="method"), Behaviour(stop_at="method", say=b"\5\0\5\0\0\1")),
    *(Behaviour(stop_at="reply", hold=True), Behaviour(stop_at="reply", say=b"\5\0\0\3\xff" + b"\x1b[31m\n" * 30)),
)
HOSTS: tuple[str | bytes, ...] = (b"echo.test", b"echo.test", b"page.test", b"x" * 255, b"a\0b", b"\x1b[31m")
ADDRESSES = ("93.184.216.34", "1.2.3.4")


class Crowd:
    """Clients of every kind that do whatever comes to their minds; how many of them were taken."""

    def __init__(self, shim: Shim) -> None:
        self.count = 0
        self._shim = shim
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._come, args=(Random(seed),)) for seed in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    @property
    def is_there(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _come(self, rng: Random) -> None:
        for _ in range(EACH):
            http = rng.random() < 0.2
            wire = said_by_http(rng) if http else said(rng)
            with contextlib.suppress(OSError), Client(self._shim.http if http else self._shim.socks, 1.5) as client:
                with self._lock:
                    self.count += 1
                behave(rng, client, wire)


def said(rng: Random) -> bytes:
    """By a client of SOCKS, or by somebody else."""
    host, command = rng.choice((*HOSTS, *ADDRESSES)), rng.choice((1, 1, 1, 0xF0, 0xF1, 2, 9))
    secret = auth(rng.randbytes(rng.randrange(256)), rng.randbytes(rng.randrange(256)))
    return rng.choice(
        (
            GREETING + socks5(host, rng.choice((80, 0, 23)), command),
            GREETING_AUTH + secret + socks5(host, 80, command),
            socks4(host, 80, command, rng.choice((b"", b"u" * 510, b"\x1b]0;x\x07"))),
            rng.randbytes(rng.randrange(1, 700)),
        )
    )


def said_by_http(rng: Random) -> bytes:
    host = rng.choice((*HOSTS, *ADDRESSES))
    return http_connect(f"{host if isinstance(host, str) else host.decode('latin-1')}:80")


def behave(rng: Random, client: Client, wire: bytes) -> None:
    """Say all of it, or a part, at once or byte by byte; then wait, talk, end, reset or just go."""
    wire = wire[: rng.randrange(len(wire) + 1)] if rng.random() < 0.2 else wire
    for piece in [bytes((byte,)) for byte in wire] if rng.random() < 0.1 else [wire]:
        client.send(piece)
    match rng.choice(("read", "read", "talk", "end", "reset", "close")):
        case "read":
            client.read(rng.choice((2, 12, 100)))
        case "talk":
            client.send(rng.randbytes(rng.choice((10, 400_000))))
            client.read(1000)
        case "end":
            client.end()
            client.read_all()
        case "reset":
            client.reset()


def trouble(rng: Random, shim: Shim, upstream: Upstream) -> None:
    """One of all that may happen meanwhile."""
    upstream.behaviour = rng.choice(BEHAVIOURS)
    mine = shim.process.pid
    match rng.randrange(10):
        case 0:
            upstream.stop()
            upstream.start()
        case 1:
            for looker in children(children(mine)[0]):
                os.kill(looker, rng.choice((signal.SIGKILL, signal.SIGSTOP)))
        case 2:
            shim.signal(signal.SIGHUP)
        case 3:
            shim.signal(signal.SIGSTOP)
            time.sleep(0.05)
            shim.signal(signal.SIGCONT)
        case 4:
            soft, hard = resource.prlimit(mine, resource.RLIMIT_NOFILE)
            resource.prlimit(mine, resource.RLIMIT_NOFILE, (used(mine) + rng.randrange(4), hard))
            time.sleep(0.05)
            resource.prlimit(mine, resource.RLIMIT_NOFILE, (soft, hard))
    time.sleep(0.05)


@pytest.mark.parametrize("mode", ["warn", "block"])
def test_nobody_is_lost(mode: str, tmp_path: Path) -> None:
    config = tmp_path / "shim.toml"
    config.write_text(DEADLINES + ("[policy]\nwait_for_name = true\n" if mode == "block" else ""))
    rng = Random(mode)
    flags = ("--mode", mode, "--http", "127.0.0.1:0", "--log-level", "debug")
    with Upstream() as upstream, Shim(*flags, config=config, upstream=upstream.address) as shim:
        crowd = Crowd(shim)
        while crowd.is_there:
            trouble(rng, shim, upstream)
        upstream.behaviour = Behaviour()
        ended = shim.gather("connection_closed", crowd.count)
        assert len(ended) == crowd.count == len({line["conn"] for line in ended})
        serves(shim)
    sought = Counter(line["subject"] for line in shim.find("process_sought"))
    assert sought == Counter(line["subject"] for line in shim.find("process_identified"))
    assert all(text.rstrip("\n").isprintable() for text in shim.raw)
