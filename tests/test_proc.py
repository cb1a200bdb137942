"""What is read of /proc: pasted files, a made-up tree, and this very process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rig.procfs import Procfs

from shim.witness import proc
from shim.witness.proc import (
    SOCKETS,
    Proc,
    Stat,
    Table,
    age,
    parse_arguments,
    parse_control_group,
    parse_group,
    parse_stat,
    parse_uid,
)

CURL = (
    b"31337 (curl) S 812 31337 790 34816 31337 4194304 512 0 0 0 1 0 0 0 20 0 2 0 543617 91234304 3000 "
    b"18446744073709551615 94210000000000 94210000100000 140722937982592 0 0 0 0 4096 81922 0 0 0 17 1 0 0 0 0 0 "
    b"94210000200000 94210000210000 94210010000000 140720000001000 140720000001100 140720000001100 140720000004000 0\n"
)
TAIL = CURL[CURL.index(b" S 812") :]


def test_a_stat() -> None:
    assert parse_stat(CURL) == Stat(31337, "curl", 812, 790, 543617, 140722937982592)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"a) S 1 (b", "a) S 1 (b"),
        (b"Web Content", "Web Content"),
        (b"(sd-pam)", "(sd-pam)"),
        (b"))) \n(((", "))) \n((("),
        (b"", ""),
        (b"\xe3\x83\x96\xff", "ブ\\xff"),
        (b"kworker/0:1-eve", "kworker/0:1-eve"),
    ],
)
def test_a_name_may_hold_anything(raw: bytes, name: str) -> None:
    stat = parse_stat(b"31337 (" + raw + b")" + TAIL)
    assert stat == Stat(31337, name, 812, 790, 543617, 140722937982592)


@pytest.mark.parametrize("raw", [b"", b"1", b"31337 (curl) S 812 31337 790", CURL[: CURL.index(b" 140722937982592")]])
def test_a_stat_that_is_cut_off_is_none(raw: bytes) -> None:
    assert parse_stat(raw) is None


@pytest.mark.parametrize(
    ("raw", "arguments"),
    [
        (b"", ()),
        (b"curl\0-x\0socks5://127.0.0.1:9250\0", ("curl", "-x", "socks5://127.0.0.1:9250")),
        (b"printf\0\0", ("printf", "")),
        (b"nginx: worker process", ("nginx: worker process",)),
        (b"a\xff\0", ("a\\xff",)),
    ],
)
def test_a_command_line(raw: bytes, arguments: tuple[str, ...]) -> None:
    assert parse_arguments(raw) == arguments


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"", ""),
        (b"0::/user.slice/user-1000.slice/session-2.scope\n", "/user.slice/user-1000.slice/session-2.scope"),
        (b"0::/system.slice/a:b.service\n", "/system.slice/a:b.service"),
        (b"12:cpu,cpuacct:/cpu\n1:name=systemd:/system.slice/cron.service\n0::/\n", "/system.slice/cron.service"),
        (b"12:cpu,cpuacct:/docker/abc\n11:memory:/docker/abc\n", "/docker/abc"),
        (b"0::/\n", "/"),
        (b"nonsense\n", ""),
    ],
)
def test_a_control_group(raw: bytes, path: str) -> None:
    assert parse_control_group(raw) == path


@pytest.mark.parametrize(
    ("raw", "uid"), [(b"Name:\tx\nUid:\t1000\t0\t0\t0\n", 1000), (b"", None), (b"Name:\tx\n", None)]
)
def test_the_real_user(raw: bytes, uid: int | None) -> None:
    assert parse_uid(raw) == uid


@pytest.mark.parametrize(
    ("raw", "group"), [(b"Name:\tx\nTgid:\t4242\nNgid:\t0\nPid:\t4250\n", 4242), (b"", None), (b"Pid:\t4250\n", None)]
)
def test_the_process_of_a_thread_stands_in_its_status(raw: bytes, group: int | None) -> None:
    assert parse_group(raw) == group


def test_the_newest_process_comes_first_also_after_the_numbers_began_anew(tmp_path: Path) -> None:
    tree = Procfs(tmp_path)
    for pid in (1, 2, 400, 401, 32000, 32767):
        tree.add(pid, "x")
    tree.write("loadavg", "0.00 0.01 0.05 1/300 401\n")
    assert tree.last_pid() == 401
    assert tree.pids(401) == [401, 400, 2, 1, 32767, 32000]
    assert tree.pids(402) == [401, 400, 2, 1, 32767, 32000]
    assert tree.pids(32767) == [32767, 32000, 401, 400, 2, 1]
    assert [age(pid, 401) for pid in (401, 400, 1)] == [0, 1, 400]
    assert age(32767, 401) > age(32000, 401) - 1000 > 400


@pytest.mark.parametrize(
    ("status", "sees_all"),
    [
        ("Name:\tshim\nCapEff:\t000001ffffffffff\n", True),
        ("CapEff:\t0000000000080000\n", True),
        ("CapEff:\t0000000000000000\n", False),
        ("CapEff:\tfffffffffff7ffff\n", False),
        ("", False),
    ],
)
def test_who_may_look_into_others(tmp_path: Path, status: str, sees_all: bool) -> None:
    tree = Procfs(tmp_path)
    tree.write("self/status", status)
    assert tree.may_see_all() is sees_all


def test_descriptors_of_a_tree(tmp_path: Path) -> None:
    tree = Procfs(tmp_path)
    tree.add(5, "x", sockets={3: 111, 10: 222, 11: 333})
    tree.open(5, 4, "/dev/null")
    tree.open(5, 5, "pipe:[222]")
    found = tree.table(5)
    assert sorted(found.open) == [3, 4, 5, 10, 11]
    assert found.sockets == {111: 3, 222: 10, 333: 11}
    assert [tree.socket_at(5, descriptor) for descriptor in (3, 4, 5, 99)] == [111, None, None, None]


def test_of_a_very_large_table_so_many_sockets_and_those_that_are_wanted(tmp_path: Path) -> None:
    tree = Procfs(tmp_path)
    tree.add(5, "x", sockets={number: 10_000 + number for number in range(SOCKETS + 50)})
    told = tree.table(5)
    assert (len(told.open), len(told.sockets)) == (SOCKETS + 50, SOCKETS)
    missing = {10_000 + number for number in range(SOCKETS + 50)} - told.sockets.keys()
    wanted = set(list(missing)[:3])
    assert wanted < tree.table(5, wanted).sockets.keys()
    assert len(tree.table(5, wanted).sockets) == SOCKETS + 3


def test_this_process() -> None:
    here, pid = Proc(), os.getpid()
    stat = here.stat(pid)
    assert stat is not None
    assert (stat.pid, stat.parent, stat.session) == (pid, os.getppid(), os.getsid(0))
    assert stat.stack > 0
    assert here.exe(pid) == os.path.realpath("/proc/self/exe")
    assert here.arguments(pid) == tuple(sys.orig_argv)
    assert (here.uid(pid), here.owner(pid)) == (os.getuid(), os.geteuid())
    assert here.control_group(pid).startswith("/")
    assert here.exists(pid)
    assert pid in here.pids(here.last_pid())
    with socket.socket() as sock:
        inode = os.fstat(sock.fileno()).st_ino
        assert here.socket_at(pid, sock.fileno()) == inode
        assert here.table(pid).sockets[inode] == sock.fileno()
    assert inode not in here.table(pid).sockets


def test_a_long_command_line_is_cut() -> None:
    with subprocess.Popen(["sleep", "60", "0" * 100_000]) as child:
        try:
            assert len("".join(Proc().arguments(child.pid))) <= proc.ARGUMENT_BYTES
        finally:
            child.kill()


def test_exec_shows_in_the_stat() -> None:
    """Pid and start stay, and here the name, too: only by its stack a program is told from the one it replaced."""
    again = (
        "import os, sys; print(flush=True); input(); sys.argv[1:] or os.execv(sys.executable, [*sys.orig_argv, 'x'])"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", again], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        before = Proc().stat(child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        after = Proc().stat(child.pid)
        child.communicate(b"\n")
    assert before is not None
    assert after is not None
    assert after == before._replace(stack=after.stack)
    assert after != before


def test_a_process_that_is_kept_open(tmp_path: Path) -> None:
    tree = Procfs(tmp_path)
    tree.add(100, "a) b", sockets={3: 7})
    known = tree.stat(100)
    assert known is not None
    kept = Proc(str(tmp_path)).keep(known)
    assert kept is not None
    assert (kept.socket_at(3), kept.socket_at(4), kept.unchanged()) == (7, None, True)
    tree.write("100/stat", (tmp_path / "100/stat").read_text().replace(" S ", " R "))  # what is not of its Stat
    assert kept.unchanged()
    for changes in ({"start": 2}, {"stack": 2}, {"parent": 2}, {"session": 2}, {"name": "a) c"}):
        tree.add(100, **{"name": "a) b", **changes})  # type: ignore[arg-type]
        assert not kept.unchanged(), changes
    tree.write("100/stat", "")
    assert not kept.unchanged()
    kept.close()
    assert Proc(str(tmp_path)).keep(known._replace(pid=101)) is None


def test_what_was_another_when_it_was_kept_is_never_unchanged(tmp_path: Path) -> None:
    tree = Procfs(tmp_path)
    tree.add(100, "sh", sockets={3: 7})
    known = tree.stat(100)
    assert known is not None
    tree.add(100, "curl", stack=7)
    kept = tree.keep(known)
    assert kept is not None
    assert not kept.unchanged()
    kept.close()


def test_a_kept_process_that_has_ended() -> None:
    """Its number may belong to somebody else by then: what is kept never shows that one."""
    with socket.socket() as sock, subprocess.Popen(["sleep", "60"], pass_fds=[sock.fileno()]) as child:
        known = Proc().stat(child.pid)
        assert known is not None
        kept = Proc().keep(known)
        assert kept is not None
        assert kept.socket_at(sock.fileno()) == os.fstat(sock.fileno()).st_ino
        child.kill()
        child.wait()
        assert (kept.socket_at(sock.fileno()), kept.unchanged()) == (None, False)
        kept.close()


def test_a_process_that_has_ended_is_none_everywhere() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    here, pid = Proc(), child.pid
    assert (here.stat(pid), here.exe(pid), here.uid(pid), here.owner(pid)) == (None, None, None, None)
    assert (here.arguments(pid), here.control_group(pid), here.table(pid)) == ((), "", Table((), {}))
    assert (here.exists(pid), here.socket_at(pid, 0)) == (False, None)


def test_somebody_elses_descriptors_are_not_nobodys() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may look into everything")
    with pytest.raises(PermissionError):
        Proc().table(1)
