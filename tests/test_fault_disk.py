"""The disk of the log and of the state file is full, for good or for a while: a small file system in a namespace.

The shim goes on, says afterwards how many lines are missing, and ends in good order.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig.asking import address, answers, ask, wire
from rig.faults import serves
from rig.programs import require_namespaces
from rig.shim import ROOT, Line, Shim, environment, program
from rig.upstream import Upstream
from rig.waiting import PATIENCE_S, until
from rig.wire import tunnel5

MOUNT = 'mount -t tmpfs -o size=$1 none "$0" && head -c $2 /dev/zero >"$0/filler"; shift 2; '


def inside(script: str, folder: Path, size: int, filler: int) -> list[str]:
    """Words before a command: a file system of `size` bytes at `folder`, `filler` of them taken."""
    folder.mkdir()
    return ["unshare", "-rm", "sh", "-c", MOUNT + script, str(folder), str(size), str(filler)]


@contextmanager
def logging_to(folder: Path, upstream: Upstream) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """A shim whose log is a file of a small disk: its process, where it listens, and the disk as seen from here."""
    socks = f"unix:{folder.parent}/socks"
    argv = inside('exec "$@" 2>"$0/log"', folder, 64 << 10, 48 << 10)
    argv += [*program(), "run", "--log-format", "json", "--socks", socks, "--upstream", upstream.address]
    with subprocess.Popen(argv, cwd=ROOT, env=environment()) as process:
        disk = Path(f"/proc/{process.pid}/root{folder}")
        try:
            until(lambda: b'"ready"' in (disk / "log").read_bytes() if (disk / "log").exists() else False)
            yield process, socks, disk
        finally:
            process.kill()


def use(socks: str, times: int) -> None:
    """Tunnels that carry a byte."""
    for _ in range(times):
        with tunnel5(socks, b"echo.test", 80) as client:
            client.send(b"x")
            assert client.read(1) == b"x"


def test_the_disk_of_the_log_is_full_for_a_while(upstream: Upstream, tmp_path: Path) -> None:
    require_namespaces()
    with logging_to(tmp_path / "disk", upstream) as (process, socks, disk):
        use(socks, 200)
        full = (disk / "log").stat().st_size
        assert full <= 16 << 10
        assert process.poll() is None
        (disk / "filler").unlink()
        use(socks, 5)
        until(lambda: lines(disk / "log", "lines_dropped"))
        (gap,) = lines(disk / "log", "lines_dropped")
        assert gap["count"] > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_the_disk_of_the_log_stays_full(upstream: Upstream, tmp_path: Path) -> None:
    require_namespaces()
    with logging_to(tmp_path / "disk", upstream) as (process, socks, _disk):
        use(socks, 300)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def lines(log: Path, event: str) -> list[Line]:
    """The whole lines of this event."""
    told = log.read_text().splitlines()
    return [json.loads(text) for text in told if f'"event":"{event}"' in text and text.endswith("}")]


@pytest.mark.parametrize("descriptor", ["/dev/full", "a pipe that nobody reads", "none"])
def test_a_log_that_goes_nowhere(descriptor: str, upstream: Upstream, tmp_path: Path) -> None:
    """ENOSPC, EPIPE, EBADF at the first line already."""
    words = {
        "/dev/full": 'exec "$@" 2>/dev/full',
        "a pipe that nobody reads": 'exec "$@" 2> >(:)',
        "none": 'exec "$@" 2>&-',
    }
    socks = f"unix:{tmp_path}/socks"
    argv = ["bash", "-c", words[descriptor], "bash", *program(), "run", "--socks", socks]
    with subprocess.Popen([*argv, "--upstream", upstream.address], cwd=ROOT, env=environment()) as process:
        try:
            until((tmp_path / "socks").exists)
            use(socks, 50)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


def test_the_disk_of_the_state_is_full(upstream: Upstream, tmp_path: Path) -> None:
    """Names still get their addresses; that they would not survive a restart is said once."""
    require_namespaces()
    disk, config = tmp_path / "disk", tmp_path / "shim.toml"
    config.write_text(f'[dns]\nmode = "issue"\nstate = "{disk}/state.json"\n')
    prefix = inside('exec "$@"', disk, 4096, 4096)
    with Shim("--dns", "127.0.0.1:0", config=config, upstream=upstream.address, prefix=prefix) as shim:
        where = address(shim.ready["dns"][0])
        assert all(answers(ask(where, wire(f"name{number}.test"))) for number in range(200))
        assert shim.wait_for("state_failed")["error"] == "no_space_left_on_device"
        serves(shim)
    assert len(shim.find("state_failed")) == 1
