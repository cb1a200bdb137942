"""What a guardian is told, and that nobody stays behind who was told nothing; its life is in test_run_sandbox.py."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from pathlib import Path

import pytest
from rig.family import children
from rig.waiting import until, until_in_loop

from shim.guardian import Duties, Guardian, Leftover
from shim.guardian import link as link_module
from shim.guardian.link import WITNESS
from shim.tor.child import TorChild

LEFTOVERS = Leftover("/run/shim/socks", 5, 7), Leftover("/run/shim/\udcff 日本", 5, 8)
ALL = Duties(("tor", "/var/lib/tor", "/tmp/x"), LEFTOVERS, looking=True, confined=False)
NOTHING = Duties(looking=False)


def pid_of(guardian: Guardian) -> int:
    return guardian._pid


@pytest.mark.parametrize("duties", [ALL, NOTHING, Duties()], ids=["all", "nothing", "looking"])
def test_duties_arrive_as_they_were_told_and_take_no_command_along(duties: Duties) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(duties.to_bytes() + b"W")
        assert Duties.receive(theirs) == duties
        assert theirs.recv(9) == b"W"


@pytest.mark.parametrize("told", [b"", b"\0\0", ALL.to_bytes()[:-1]], ids=["nothing", "part of a size", "part"])
def test_who_ends_before_it_has_told_all_has_told_nothing(told: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(told)
        assert Duties.receive(theirs) is None


def test_each_duty_is_one() -> None:
    assert not NOTHING
    assert Duties(ALL.tor, looking=False) and Duties(None, LEFTOVERS, looking=False) and Duties()


def test_its_tor_is_the_one_that_the_workers_know() -> None:
    child = TorChild("tor", Path("/var/lib/tor"))
    assert TorChild.of(child.words).address == child.address


@pytest.mark.parametrize("told", [False, True], ids=["not told", "told that there is nothing"])
def test_who_has_nothing_to_do_is_ended_and_buried(told: bool) -> None:
    with Guardian.fork(2) as guardian:
        pid = pid_of(guardian)
        os.kill(pid, 0)
        if told:
            guardian.brief(NOTHING)
        assert guardian.link(0) is None
        guardian.wait()  # for nobody
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_was_left_is_removed_when_the_shim_has_ended_and_nothing_that_took_its_place(tmp_path: Path) -> None:
    mine, taken = tmp_path / "mine", tmp_path / "taken"
    mine.touch()
    taken.touch()
    with Guardian.fork(1) as guardian:
        guardian.brief(Duties(None, (Leftover.of(str(mine)), Leftover.of(str(taken))), looking=False))
        link = guardian.link(0)
        assert link is not None and mine.exists()
        (tmp_path / "other").touch()
        (tmp_path / "other").rename(taken)
        link.shut()
        guardian.wait()
    assert taken.exists() and not mine.exists()


def test_a_worker_that_asks_for_many_to_look_up_programs_has_one() -> None:
    """Else one in wrong hands could fill the machine with processes, which it may not start itself."""
    with Guardian.fork(1) as guardian:
        guardian.brief(Duties())
        link = guardian.link(0)
        assert link is not None
        held = [link.hire() for _ in range(5)]
        assert all(held)
        for _ in range(20):
            link.send(WITNESS)
            last = link.hire()
            assert last is not None
            held.append(last)
        until(lambda: len(children(pid_of(guardian))) == 1)
        for sock in filter(None, held):
            sock.close()
        link.shut()
        guardian.wait()


async def test_a_guardian_without_room_for_a_process_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It said nothing: once a program that looks up programs could not be started, there was never another one."""
    hired: list[socket.socket] = []
    monkeypatch.setattr(link_module, "REST_S", 0.01)
    with Guardian.fork(1) as guardian:
        guardian.brief(Duties())
        link = guardian.link(0)
        assert link is not None
        first = link.hire()
        assert first is not None
        pid = pid_of(guardian)
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, hard))
        asked: list[bytes] = []
        monkeypatch.setattr(link, "send", lambda command, send=link.send: (asked.append(command), send(command)))
        link.attach(asyncio.get_running_loop(), hired.append, lambda: None)
        link.hire_again()
        await until_in_loop(lambda: len(asked) >= 3)
        assert not hired
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        await until_in_loop(lambda: hired)
        for sock in (first, *hired):
            sock.close()
        link.shut()
        guardian.wait()
