"""Workers as real processes: each knows its place, signals are passed on, and none outlives the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rig.family import alive
from rig.waiting import PATIENCE_S, until

from shim.workers import Workers

_HEAD = """
import os, signal, sys, time
from shim.workers import Workers, _end_with

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

"""


@contextmanager
def script(text: str) -> Iterator[subprocess.Popen[str]]:
    """A program that forks workers, in a process group of its own; nothing of it is left afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HEAD + text],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    with process.stdout:
        yield process
        process.kill()
        process.wait(PATIENCE_S)


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """The next lines it says, in no particular order."""
    assert process.stdout
    return sorted(process.stdout.readline().strip() for _ in range(count))


def test_one_worker_is_this_process() -> None:
    before = os.getpid()
    family = Workers.fork(1)
    assert (family.index, os.getpid()) == (0, before)
    assert (family.several, family.prefix) == (False, "")
    family.signal(signal.SIGKILL)
    family.wait()


def test_each_knows_its_place() -> None:
    with script(
        "me = Workers.fork(4); say(me.index, os.getppid(), me.several, f'{me.prefix}c1'); me.wait()"
    ) as process:
        said = [line.split() for line in lines(process, 4)]
        assert [place for place, *_ in said] == list("0123")
        assert [int(parent) for _, parent, *_ in said] == [os.getpid(), *[process.pid] * 3]
        assert [several for *_, several, _ in said] == ["True"] * 4
        assert [conn for *_, conn in said] == ["c1", "w1c1", "w2c1", "w3c1"]
        assert process.wait(PATIENCE_S) == 0


_TOLD = """
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
me = Workers.fork(3)
say("here", me.index)
if me.index:
    while not told:
        time.sleep(0.01)
    say("told", me.index)
    sys.exit(me.index)
sys.stdin.readline()
me.signal(signal.SIGUSR1)
me.wait()
say("all over")
me.signal(signal.SIGUSR1)
me.wait()
"""


def test_a_signal_is_passed_on_and_the_first_waits_for_the_others() -> None:
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _HEAD + _TOLD],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=read,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(read)
    assert process.stdout
    with process.stdout:
        assert lines(process, 3) == ["here 0", "here 1", "here 2"]
        os.write(write, b"\n")
        os.close(write)
        assert lines(process, 2) == ["told 1", "told 2"]
        assert lines(process, 1) == ["all over"]
        assert process.wait(PATIENCE_S) == 0, "to those that have ended nothing is sent"


_WAITING = """
me = Workers.fork(3)
say(os.getpid())
time.sleep(60)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_none_outlives_the_first(signum: signal.Signals) -> None:
    with script(_WAITING) as process:
        pids = [int(line) for line in lines(process, 3)]
        assert process.pid in pids
        process.send_signal(signum)
        process.wait(PATIENCE_S)
        until(lambda: not any(map(alive, pids)), "the end of the others")


def test_one_whose_parent_died_too_early_to_be_told_ends_at_once() -> None:
    with script("_end_with(os.getpid()); say('still here')") as process:
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout
        assert process.stdout.read() == ""


_INTERRUPTED = """
got = []
for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, lambda number, _: got.append(number))
me = Workers.fork(2)
say("here", me.index)
while not got:
    time.sleep(0.01)
me.signal(got[0])
time.sleep(0.3)
say(me.index, len(got))
me.wait()
"""


def test_control_c_reaches_each_worker_once() -> None:
    """The terminal signals its whole foreground group. Taken twice, it would mean: stop now, do not drain."""
    with script(_INTERRUPTED) as process:
        assert lines(process, 2) == ["here 0", "here 1"]
        os.killpg(process.pid, signal.SIGINT)
        assert lines(process, 2) == ["0 1", "1 1"]
        assert process.wait(PATIENCE_S) == 0
