"""A descriptor of any kind: some bytes at once, or none and no waiting; after closing, nothing."""

from __future__ import annotations

import os
import pty
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from shim.record import outlet
from shim.record.outlet import Outlet

MORE_THAN_FITS = b"x" * (8 << 20)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reader, end = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reader)
        stack.callback(os.close, end)
        yield end, reader


@contextmanager
def stream() -> Iterator[tuple[int, int]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours.fileno(), theirs.fileno()


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    with ExitStack() as stack:
        stack.callback(os.close, slave)
        stack.callback(os.close, master)
        yield slave, master


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


@pytest.mark.parametrize("kind", [pipe, stream, terminal])
def test_some_go_at_once_then_none_then_some_again(kind: Callable[[], Iterator[tuple[int, int]]]) -> None:
    with kind() as (fd, reader):
        out = Outlet(fd)
        assert 0 < out.send(MORE_THAN_FITS) < len(MORE_THAN_FITS)
        with pytest.raises(BlockingIOError):
            for _ in range(10_000):  # a stream socket may take a little more, but not for ever
                out.send(MORE_THAN_FITS)
        out.wait(0.01)
        while select.select([reader], [], [], 0)[0]:
            os.read(reader, 1 << 20)
        out.wait(5)
        assert out.send(b"more\n") == 5
        out.close()


@pytest.mark.parametrize("kind", [pipe, stream, terminal])
def test_after_closing_it_fails_and_the_descriptor_lives_on(kind: Callable[[], Iterator[tuple[int, int]]]) -> None:
    with kind() as (fd, _):
        before = open_descriptors()
        out = Outlet(fd)
        out.close()
        out.close()
        assert open_descriptors() <= before
        with pytest.raises(OSError, match="Bad file descriptor"):
            out.send(b"late")
        os.fstat(fd)


def test_what_cannot_be_opened_again_takes_a_page_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    with pipe() as (fd, _):
        monkeypatch.setattr(outlet.os, "open", refuse)
        out = Outlet(fd)
        monkeypatch.undo()
        assert out.send(MORE_THAN_FITS) == select.PIPE_BUF
        with pytest.raises(BlockingIOError):
            for _ in range(1000):
                out.send(MORE_THAN_FITS)


def test_waiting_is_short_even_when_nobody_reads() -> None:
    with pipe() as (fd, _):
        out = Outlet(fd)
        out.send(MORE_THAN_FITS)
        out.wait(3600)  # an hour would be the suite's timeout
        with pytest.raises(BlockingIOError):
            out.send(MORE_THAN_FITS)
        out.close()


def test_a_file_is_written_where_the_callers_descriptor_stands(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"before\n")
    out = Outlet(fd)
    assert out.send(b"line\n") == 5
    os.write(fd, b"after\n")
    assert path.read_bytes() == b"before\nline\nafter\n"
    assert not out.is_terminal
    os.close(fd)
