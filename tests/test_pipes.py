"""Pipes to splice through: lent empty, closed when not, none when descriptors or the user's quota have run out."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.plane import descriptors

from shim.proxy.pipes import DRY, PIPE_BYTES, SPARE, PipePool, can_splice

pytestmark = pytest.mark.skipif(not can_splice(), reason="needs splice(2)")


@pytest.fixture
def pool() -> Iterator[PipePool]:
    before = descriptors()
    pool = PipePool()
    yield pool
    pool.close()
    assert pool.lent == 0
    assert not descriptors() - before


def test_a_pipe_takes_as_much_as_it_says(pool: PipePool) -> None:
    pipe = pool.borrow()
    assert pipe is not None
    assert pipe.capacity == PIPE_BYTES
    assert os.write(pipe.writer, bytes(PIPE_BYTES)) == PIPE_BYTES
    with pytest.raises(BlockingIOError):
        os.write(pipe.writer, b"x")
    pipe.held = PIPE_BYTES
    pool.give_back(pipe)


def test_an_empty_pipe_is_lent_again(pool: PipePool) -> None:
    first = pool.borrow()
    assert first is not None
    pool.give_back(first)
    assert pool.borrow() is first
    assert pool.lent == 1
    pool.give_back(first)


def test_a_pipe_that_holds_bytes_is_never_lent_again(pool: PipePool) -> None:
    pipe = pool.borrow()
    assert pipe is not None
    pipe.held = os.write(pipe.writer, b"left over")
    pool.give_back(pipe)
    second = pool.borrow()
    assert second is not None and second is not pipe
    with pytest.raises(BlockingIOError):
        os.read(second.reader, 1)
    pool.give_back(second)


def test_only_so_many_spare_pipes_are_kept(pool: PipePool) -> None:
    before = len(descriptors())
    pipes = [pool.borrow() for _ in range(SPARE + 5)]
    assert pool.lent == SPARE + 5
    for pipe in pipes:
        assert pipe is not None
        pool.give_back(pipe)
    assert len(descriptors()) == before + 2 * SPARE


def test_descriptors_run_out_and_come_back(pool: PipePool) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lent = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(descriptors()) + 10, hard))
        while (pipe := pool.borrow()) is not None:
            lent.append(pipe)
        assert 0 < len(lent) <= 5
        assert pool.lent == len(lent)
        before = opened()
        assert pool.borrow() is None
        assert opened() == before, "a half-made pipe stayed open"
        pool.give_back(lent.pop())
        lent.append(pool.borrow())
        assert lent[-1] is not None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for pipe in lent:
            pool.give_back(pipe)


def test_where_there_was_none_the_system_is_asked_again_only_after_a_while(
    pool: PipePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def none(_flags: int) -> tuple[int, int]:
        nonlocal asked
        asked += 1
        raise OSError(errno.EMFILE, "none")

    lent = pool.borrow()
    assert lent is not None
    with monkeypatch.context() as system:
        system.setattr(os, "pipe2", none)
        assert [pool.borrow() for _ in range(2 * (DRY + 1))] == [None] * 2 * (DRY + 1)
        assert asked == 2
        assert pool.borrow() is None
    assert [pool.borrow() for _ in range(DRY)] == [None] * DRY
    late = pool.borrow()
    assert late is not None, "others have given some up"
    with monkeypatch.context() as system:
        system.setattr(os, "pipe2", none)
        assert pool.borrow() is None
    pool.give_back(late)
    assert pool.borrow() is late, "one that has come back is lent at once"
    pool.give_back(late)
    pool.give_back(lent)


def opened() -> int:
    """How many are open, asked without opening one: none may be left."""
    count = 0
    for fd in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        try:
            os.fstat(fd)
            count += 1
        except OSError:
            continue
    return count


_BEYOND_THE_QUOTA = """
import os, resource
from shim.proxy.pipes import LEAST_BYTES, PipePool
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
if os.getuid() == 0:
    try:
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
    except PermissionError:  # root of a user namespace: as ordinary as any
        pass
pool = PipePool()
pipes = [pool.borrow() for _ in range(400)]
full = [pipe for pipe in pipes if pipe is not None]
assert 0 < len(full) < 400, len(full)
assert pool.lent == len(full)
assert all(pipe.capacity >= LEAST_BYTES and os.write(pipe.writer, bytes(LEAST_BYTES)) == LEAST_BYTES for pipe in full)
assert len(os.listdir("/proc/self/fd")) < 2 * len(full) + 10, "no pipe that was too small stayed open"
full[0].held = LEAST_BYTES
pool.give_back(full[0])
assert pool.borrow() is not None, "its pages are free again"
"""


def test_an_ordinary_user_beyond_the_quota_of_pipe_pages_gets_no_more() -> None:
    quota = int(Path("/proc/sys/fs/pipe-user-pages-soft").read_text())
    if not 0 < quota * 4096 < 400 * PIPE_BYTES:
        pytest.skip("needs a quota of pipe pages below 400 pipes")
    done = subprocess.run(
        [sys.executable, "-c", _BEYOND_THE_QUOTA], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
