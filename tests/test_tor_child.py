"""A tor of our own, real and played by scripts: it listens, reports, is started again, and never outlives the shim."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import uvloop
from rig.family import alive, children
from rig.programs import require_program
from rig.waiting import PATIENCE_S, until, until_in_loop

from shim.tor import child as module
from shim.tor.child import TorChild, data_directory
from shim.tor.discover import answers


class Notes:
    """What the child's watcher was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def tor_progress(self, percent: int, stage: str) -> None:
        self.told.append((percent, stage))

    def tor_listening(self) -> None:
        self.told.append(("listening",))

    def tor_ended(self, how: str) -> None:
        self.told.append(("ended", how))


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.fixture(autouse=True)
def short_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket's folder is made here, where it can be seen."""
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(module, "RESTART_S", 0.05)


def script(folder: Path, text: str) -> str:
    """A program that plays tor."""
    path = folder / "tor"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def real_tor(folder: Path) -> str:
    """The real one, in an empty network where that is permitted."""
    tor = require_program("tor")
    alone = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0
    return script(folder, f'exec {"unshare -rn " if alone else ""}{tor} "$@"')


@contextlib.asynccontextmanager
async def running(child: TorChild) -> AsyncIterator[Notes]:
    """The child until the end of the test; then it is gone."""
    notes = Notes()
    task = asyncio.create_task(child.run(notes))
    try:
        yield notes
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert own_children() == []
        child.discard()
        assert not Path(child.address.path).parent.exists()


def own_children() -> list[int]:
    """The processes that this one has started and that have not ended."""
    return children(os.getpid())


# --- the real tor -----------------------------------------------------------------------------------------------------


def test_tor_listens_where_only_we_can_reach_it(tmp_path: Path) -> None:
    child = TorChild(real_tor(tmp_path), tmp_path / "state" / "tor")
    assert child.available()

    async def scenario() -> None:
        async with running(child) as notes:
            await until_in_loop(lambda: ("listening",) in notes.told)
            assert await answers(child.address)
            path = Path(child.address.path)
            assert path.is_socket()
            for private in (path.parent, tmp_path / "state" / "tor"):
                assert stat.S_IMODE(private.stat().st_mode) == 0o700
            await until_in_loop(lambda: any(isinstance(note[0], int) for note in notes.told))
            assert ("ended",) not in [note[:1] for note in notes.told]
            arguments = Path(f"/proc/{own_children()[0]}/cmdline").read_bytes().split(b"\0")
            assert arguments[arguments.index(b"--__OwningControllerProcess") + 1] == str(os.getpid()).encode()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_tor_is_started_again_on_the_same_socket(tmp_path: Path) -> None:
    child = TorChild(real_tor(tmp_path), tmp_path / "tor-data")

    async def scenario() -> None:
        async with running(child) as notes:
            await until_in_loop(lambda: ("listening",) in notes.told)
            os.kill(own_children()[0], signal.SIGKILL)
            await until_in_loop(lambda: ("ended", "exit_status_-9") in notes.told)
            await until_in_loop(lambda: notes.told.count(("listening",)) == 2)
            assert await answers(child.address)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


_PARENT = """
import asyncio, sys, uvloop
from pathlib import Path
from shim.tor.child import TorChild

class Notes:
    def tor_progress(self, percent, stage): pass
    def tor_listening(self): print("listening", flush=True)
    def tor_ended(self, how): print(how, flush=True)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(TorChild(sys.argv[1], Path(sys.argv[2])).run(Notes()))
"""


def test_tor_does_not_outlive_a_shim_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PARENT, real_tor(tmp_path), str(tmp_path / "tor-data")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "listening\n"
        (tor,) = children(parent.pid)
        parent.kill()
        parent.wait(PATIENCE_S)
        until(lambda: not alive(tor), "the end of tor")


# --- scripts that play tor --------------------------------------------------------------------------------------------


def test_progress_is_read_from_the_log(tmp_path: Path, runner: asyncio.Runner) -> None:
    command = script(
        tmp_path,
        """
        echo 'Nov 01 [notice] Bootstrapped 0% (starting): Starting'
        echo 'Nov 01 [notice] Opened Socks listener connection (ready) on /x'
        printf '\\377\\376 not ASCII \\n'
        echo 'Nov 01 [warn] Problem bootstrapping. Stuck at 45% (requesting_descriptors): x'
        echo 'Nov 01 [notice] Bootstrapped 45%: as older releases say it'
        echo 'Nov 01 [notice] Bootstrapped 100% (done): Done'
        exec sleep 60
        """,
    )

    async def scenario() -> None:
        async with running(TorChild(command, tmp_path / "data")) as notes:
            await until_in_loop(lambda: len(notes.told) == 4)
            assert notes.told == [(0, "starting"), ("listening",), (45, ""), (100, "done")]

    runner.run(scenario())


def test_a_line_without_an_end_is_passed_over(tmp_path: Path, runner: asyncio.Runner) -> None:
    """Whatever the program is: it is followed on, and started again when it ends."""
    command = script(
        tmp_path,
        """
        head -c 300000 /dev/zero | tr '\\0' x
        echo
        echo 'Nov 01 [notice] Bootstrapped 100% (done): Done'
        head -c 300000 /dev/zero
        exit 3
        """,
    )

    async def scenario() -> None:
        async with running(TorChild(command, tmp_path / "data")) as notes:
            await until_in_loop(lambda: len(notes.told) >= 3)
            assert notes.told[:3] == [(100, "done"), ("ended", "exit_status_3"), (100, "done")]

    runner.run(scenario())


def test_one_that_ends_is_told_and_started_again(tmp_path: Path, runner: asyncio.Runner) -> None:
    command = script(tmp_path, 'echo run >> "$(dirname "$0")/runs"; exit 3')

    async def scenario() -> None:
        async with running(TorChild(command, tmp_path / "data")) as notes:
            await until_in_loop(lambda: len(notes.told) >= 3)
            assert notes.told[:3] == [("ended", "exit_status_3")] * 3

    runner.run(scenario())
    assert len((tmp_path / "runs").read_text().split()) >= 3


def test_nothing_it_writes_is_passed_on(
    tmp_path: Path, runner: asyncio.Runner, capfd: pytest.CaptureFixture[str]
) -> None:
    command = script(tmp_path, "echo secret.example.org; echo secret.example.org >&2; exit 1")

    async def scenario() -> None:
        async with running(TorChild(command, tmp_path / "data")) as notes:
            await until_in_loop(lambda: notes.told)

    runner.run(scenario())
    assert capfd.readouterr() == ("", "")


def test_one_that_will_not_end_is_killed(
    tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT_S", 0.1)
    command = script(tmp_path, "trap '' TERM; echo 'Bootstrapped 0%'; exec sleep 60")

    async def scenario() -> None:
        async with running(TorChild(command, tmp_path / "data")) as notes:
            await until_in_loop(lambda: notes.told)

    runner.run(scenario())  # `running` has looked that it is gone


def test_one_that_never_stops_talking_is_ended_and_leaves_nothing_open(tmp_path: Path) -> None:
    """In a process of its own: what is left open shows as a warning at its end."""
    command = script(tmp_path, "echo 'Bootstrapped 0%'; exec yes")
    parent = _PARENT.replace("pass", "raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", parent, command, str(tmp_path / "data")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "unclosed" not in done.stderr, done.stderr
    assert done.stderr.rstrip().endswith("KeyboardInterrupt"), done.stderr


def test_a_program_that_is_not_there(tmp_path: Path, runner: asyncio.Runner) -> None:
    child = TorChild(str(tmp_path / "none"), tmp_path / "data")
    assert not child.available()

    async def scenario() -> None:
        async with running(child) as notes:
            await until_in_loop(lambda: notes.told)
            assert notes.told[0] == ("ended", "no_such_file_or_directory")

    runner.run(scenario())


def test_without_a_temporary_folder_one_is_still_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` makes it before it has looked whether there is a Tor, and is of use on a file system that is read-only."""

    def nowhere() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert TorChild("tor", Path("/data")).address.path.startswith("/tmp/leakshim-")


def test_a_data_directory_that_cannot_be_made(tmp_path: Path, runner: asyncio.Runner) -> None:
    """The system's own words for it would not say of what, and tor is not started to say it in its own log."""
    (tmp_path / "file").touch()

    async def scenario() -> None:
        async with running(TorChild(script(tmp_path, "exit 0"), tmp_path / "file" / "data")) as notes:
            await until_in_loop(lambda: notes.told)
            assert notes.told[0] == ("ended", "no_state_directory")

    runner.run(scenario())


def test_two_children_never_share_a_socket(tmp_path: Path) -> None:
    assert TorChild("tor", tmp_path).address != TorChild("tor", tmp_path).address
    assert list(tmp_path.iterdir()) == [], "nothing is made before it is needed"


def test_where_tor_keeps_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert data_directory() == Path("/var/state/leakshim/tor")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert data_directory() == Path("/home/someone/.local/state/leakshim/tor")
