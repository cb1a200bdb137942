"""The machine misbehaves: no descriptors, no memory, full disks, clocks that jump, a process that is stopped.

Descriptors are taken from the running process; what cannot be provoked, fails by a library that is loaded before libc.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.faults import DEADLINES, Census, census, quick, serves
from rig.inject import Injector, used
from rig.shim import Shim, program
from rig.upstream import Upstream
from rig.wire import GREETING, NO_AUTH, Client, refused5, socks5, tunnel5

ASK = GREETING + socks5(b"echo.test", 80)


@pytest.fixture(scope="module")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Injector:
    return Injector(tmp_path_factory.mktemp("inject"))


@pytest.fixture(scope="module")
def shim(upstream: Upstream, injector: Injector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim]:
    config = quick(tmp_path_factory.mktemp("quick"))
    with Shim(config=config, upstream=upstream.address, prefix=injector.prefix) as process:
        yield process


@pytest.fixture
def inject(injector: Injector) -> Iterator[Injector]:
    yield injector
    injector.stop()
    injector.jump(0)


def outcome(client: Client) -> bytes:
    """What became of a request: a tunnel that carries bytes, a refusal, or the end."""
    try:
        client.send(ASK + b"bytes")
        client.end()
        return client.read_all()
    except OSError:
        return b""


SERVED = NO_AUTH + b"\5\0\0\1" + bytes(6) + b"bytes"


only_root_counts = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may count the descriptors of a process that lets nobody look into it"
)


class TestDescriptors:
    @only_root_counts
    def test_none_are_left_for_clients_and_tunnels_go_on(self, upstream: Upstream, tmp_path: Path) -> None:
        with Shim(upstream=upstream.address) as shim, tunnel5(shim.socks, b"echo.test", 80) as before:
            mine = shim.process.pid
            soft, hard = resource.prlimit(mine, resource.RLIMIT_NOFILE)
            resource.prlimit(mine, resource.RLIMIT_NOFILE, (used(mine) + 3, hard))
            with census(shim) as people:
                waiting = [people.join() for _ in range(20)]
                shim.wait_for("listener_paused", error="EMFILE")
                before.send(b"tunnels go on")
                assert before.read(13) == b"tunnels go on"
                resource.prlimit(mine, resource.RLIMIT_NOFILE, (soft, hard))
                assert [outcome(client) for client in waiting] == [SERVED] * 20
            serves(shim)

    @only_root_counts
    def test_none_is_left_for_the_upstream(self, upstream: Upstream) -> None:
        """It fails closed: the client hears of a failure, and nothing goes elsewhere."""
        with Shim(upstream=upstream.address) as shim:
            mine = shim.process.pid
            soft, hard = resource.prlimit(mine, resource.RLIMIT_NOFILE)
            with census(shim) as people:
                client = people.join()
                client.send(GREETING)
                assert client.read(2) == NO_AUTH
                highest = max(map(int, os.listdir(f"/proc/{mine}/fd")))
                resource.prlimit(mine, resource.RLIMIT_NOFILE, (min(highest, used(mine)), hard))
                client.send(socks5(b"echo.test", 80))
                assert client.read_all() == refused5(1)
                assert shim.wait_for("upstream_failed")["error"] == "too_many_open_files"
                resource.prlimit(mine, resource.RLIMIT_NOFILE, (soft, hard))
            serves(shim)

    def test_none_is_left_for_pipes_so_it_copies(self, shim: Shim, inject: Injector) -> None:
        inject.fail("pipe2", "EMFILE", 1 << 20)
        with census(shim) as people:
            bulk(people)
        assert inject.stop() > 0
        serves(shim)


def bulk(people: Census) -> None:
    """Four megabytes to and fro: enough to be spliced."""
    client = people.join()
    client.send(ASK)
    assert len(client.read(12)) == 12
    for _ in range(64):
        piece = os.urandom(1 << 16)
        client.send(piece)
        assert client.read(len(piece)) == piece


FAILURES = [
    *(("accept4", error) for error in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPERM", "EPROTO")),
    *(("socket", error) for error in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES")),
    *(("connect", error) for error in ("ENOBUFS", "EADDRNOTAVAIL", "EPERM", "ENETUNREACH", "ETIMEDOUT")),
    *(("send", error) for error in ("EPIPE", "ECONNRESET", "ENOBUFS", "ENOMEM", "ETIMEDOUT")),
    *(("recv", error) for error in ("ECONNRESET", "ENOMEM", "ENOBUFS", "ETIMEDOUT", "EHOSTUNREACH")),
    *(("epoll_ctl", error) for error in ("ENOMEM", "ENOSPC")),
]


@pytest.mark.parametrize(("call", "error"), FAILURES)
def test_a_call_fails_a_few_times(call: str, error: str, shim: Shim, inject: Injector) -> None:
    """Whoever is hit is ended, told if possible, and counted; whoever comes after is served."""
    with census(shim) as people:
        inject.fail(call, error, 7)
        outcomes = [outcome(people.join()) for _ in range(12)]
        assert inject.stop() == 7, "all of them were made"
    for got in outcomes:
        assert SERVED.startswith(got) or got == NO_AUTH + refused5(1), got.hex()
    assert outcomes[-1] == SERVED
    serves(shim)


@pytest.mark.parametrize("error", ["ENOMEM", "ECONNRESET", "EPIPE", "EINVAL"])
def test_splicing_fails(error: str, shim: Shim, inject: Injector) -> None:
    with census(shim) as people:
        client = people.join()
        client.send(ASK)
        assert len(client.read(12)) == 12
        inject.fail("splice", error, 1)
        with pytest.raises((OSError, AssertionError)):
            for _ in range(64):
                client.send(bytes(1 << 16))
                assert len(client.read(1 << 16)) == 1 << 16
        assert inject.stop() == 1
    serves(shim)


class TestClocks:
    @pytest.mark.parametrize("seconds", [86_400, -86_400, 10 * 365 * 86_400, -10 * 365 * 86_400])
    def test_the_wall_clock_jumps(self, seconds: int, shim: Shim, inject: Injector) -> None:
        """Deadlines are kept by another clock: they neither fire at once nor never."""
        with census(shim) as people:
            inside, silent = people.join(), people.join()
            inside.send(ASK)
            assert len(inside.read(12)) == 12
            silent.send(GREETING)
            assert silent.read(2) == NO_AUTH
            inject.jump(seconds)
            inside.send(b"on")
            assert inside.read(2) == b"on"
            assert silent.closed(), "its deadline still comes"
            assert outcome(people.join()) == SERVED
            inject.jump(0)
            assert outcome(people.join()) == SERVED
        assert all(0 <= line["seconds"] < 60 for line in shim.find("connection_closed", people.mark))

    def test_a_jump_ends_no_handshake(self, upstream: Upstream, inject: Injector) -> None:
        with Shim(upstream=upstream.address, prefix=inject.prefix) as shim, census(shim) as people:
            client = people.join()
            client.send(GREETING)
            assert client.read(2) == NO_AUTH
            inject.jump(10 * 86_400)
            assert outcome(people.join()) == SERVED
            client.send(socks5(b"echo.test", 80))
            assert len(client.read(10)) == 10


def test_it_is_stopped_and_goes_on(upstream: Upstream) -> None:
    with Shim(upstream=upstream.address) as shim:
        with census(shim) as people:
            inside = people.join()
            inside.send(ASK)
            assert len(inside.read(12)) == 12
            shim.signal(signal.SIGSTOP)
            inside.send(b"wait")
            waiting = [people.join() for _ in range(200)]
            for client in waiting[::2]:
                client.send(ASK + b"bytes")
            for client in waiting[1::4]:
                client.reset()
            shim.signal(signal.SIGCONT)
            assert inside.read(4) == b"wait"
            for client in waiting[::2]:
                client.end()
                assert client.read_all() == SERVED
        serves(shim)


def test_deadlines_that_passed_while_it_was_stopped_end_those_who_are_late(upstream: Upstream, tmp_path: Path) -> None:
    with Shim(config=quick(tmp_path), upstream=upstream.address) as shim:
        with census(shim) as people:
            late = [people.join() for _ in range(50)]
            for client in late:
                client.send(GREETING)
                assert client.read(2) == NO_AUTH
            shim.signal(signal.SIGSTOP)
            subprocess.run(["sleep", "2"], check=True)
            shim.signal(signal.SIGCONT)
            assert all(client.closed() for client in late)
        serves(shim)


BAD = {
    "missing": None,
    "a folder": Path,
    "a FIFO that nobody writes to": os.mkfifo,
    "binary": os.urandom(4096),
    "half a line": b"[limits]\nhandsha",
    "wrong": DEADLINES.encode() + b"[nonsense]\n",
    "endless": b"# \n" * 700_000,
    "nothing but brackets": b"a=" + b"[" * 50_000,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_at_every_hangup_while_bytes_pass(kind: str, upstream: Upstream, tmp_path: Path) -> None:
    config = quick(tmp_path)
    with Shim(config=config, upstream=upstream.address) as shim:
        with census(shim) as people:
            client = people.join()
            client.send(ASK)
            assert len(client.read(12)) == 12
            config.unlink()
            contents = BAD[kind]
            if isinstance(contents, bytes):
                config.write_bytes(contents)
            elif contents is Path:
                config.mkdir()
            elif contents is os.mkfifo:
                os.mkfifo(config)
            for turn in range(5):
                mark = shim.mark()
                shim.signal(signal.SIGHUP)
                client.send(bytes([turn]) * 1000)
                assert client.read(1000) == bytes([turn]) * 1000
                shim.wait_for("config_rejected", mark)
        serves(shim)


@pytest.mark.parametrize("option", ["--socks", "--http", "--dns"])
def test_an_address_that_is_taken_ends_the_start_before_anything_is_served(option: str, upstream: Upstream) -> None:
    with Shim(upstream=upstream.address) as other:
        argv = [*program(), "run", "--socks", "127.0.0.1:0", option, other.socks, "--upstream", upstream.address]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode not in (0, 1, 2, 3)
        assert other.socks in done.stderr and "Traceback" not in done.stderr
        serves(other)
