"""Lines into real pipes, files, sockets and terminals: none torn or lost without being counted, and no waiting."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import socket
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shim.record import outlet, writer
from shim.record.writer import LineWriter

LINE = "x" * 199  # 200 bytes with its newline


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, end = os.pipe()
    yield reader, end
    for fd in (reader, end):
        try:
            os.close(fd)
        except OSError as error:
            assert error.errno == errno.EBADF


def read_all(fd: int) -> bytes:
    """What can be read now."""
    found = b""
    while select.select([fd], [], [], 0)[0]:
        if not (more := os.read(fd, 1 << 20)):
            break
        found += more
    return found


def line(text: str) -> bytes:
    """As the renderers give it."""
    return f"{text}\n".encode()


def dropped(count: int) -> bytes:
    return line(f"dropped {count}")


def numbered(line_writer: LineWriter, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        line_writer.write(line(f"{number:06d} {LINE[7:]}"))


def numbers(data: bytes) -> list[int]:
    lines = data.decode().splitlines()
    assert {len(line) for line in lines} <= {199}
    return [int(line[:6]) for line in lines]


def drain(line_writer: LineWriter, fd: int) -> bytes:
    """Flush and read in turn until all is out."""
    data = b""
    for _ in range(10_000):
        done = line_writer.flush()
        data += read_all(fd)
        if done:
            return data
    raise AssertionError("the writer never finishes")


def test_a_file_gets_every_line_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    lines = LineWriter(fd)
    numbered(lines, 2000)
    lines.write(line("日本語"))
    assert path.read_bytes() == b""
    assert lines.flush()
    text = path.read_text().splitlines()
    assert numbers("\n".join(text[:2000]).encode()) == list(range(2000))
    assert text[2000:] == ["日本語"]
    lines.close()
    os.close(fd)


def test_a_full_pipe_never_blocks_and_loses_nothing(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    lines = LineWriter(end)
    numbered(lines, 2000)
    assert not lines.flush()
    assert not lines.flush()
    assert numbers(drain(lines, reader)) == list(range(2000))
    assert lines.missing == 0


def test_the_shared_description_of_a_pipe_stays_blocking(pipe: tuple[int, int]) -> None:
    _, end = pipe
    LineWriter(end).close()
    assert not fcntl.fcntl(end, fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_pipe_that_cannot_be_opened_again_is_polled(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, end = pipe
    monkeypatch.setattr(outlet.os, "open", _refuse)
    lines = LineWriter(end)
    numbered(lines, 2000)
    assert not lines.flush()
    assert numbers(drain(lines, reader)) == list(range(2000))


def _refuse(*_: object) -> int:
    raise PermissionError


def test_overflow_drops_whole_lines_counts_them_and_says_so_in_the_gap(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    lines = LineWriter(end, 10_000)
    lines.on_dropped = dropped
    numbered(lines, 1000)  # 25 fit into the half that one kind gets
    assert lines.missing == 975
    assert lines.flush()
    assert lines.missing == 0
    numbered(lines, 1, start=1000)
    assert lines.flush()
    text = read_all(reader).decode().splitlines()
    assert [line[:6] for line in text[:25]] == [f"{n:06d}" for n in range(25)]
    assert text[25] == "dropped 975"
    assert text[26].startswith("001000")


def test_a_flood_of_one_kind_pushes_out_no_other(pipe: tuple[int, int]) -> None:
    """Two kinds flood; the others' lines are all there, in order, and what is missing is counted."""
    reader, end = pipe
    lines = LineWriter(end, 100_000)
    lines.on_dropped = dropped
    for number in range(1000):
        lines.write(line(f"query   {number:04d} {LINE[13:]}"), "dns_query")
        lines.write(line(f"finding {number:04d} {LINE[13:]}"), "dns")
        if not number % 20:
            lines.write(line(f"closed  {number:04d} {LINE[13:]}"), "connection_closed")
    text = drain(lines, reader).decode().splitlines()
    assert [int(one[8:12]) for one in text if one.startswith("closed")] == list(range(0, 1000, 20))
    kept = [sum(one.startswith(kind) for one in text) for kind in ("query", "finding")]
    assert min(kept) > 100, "they share what there is"
    gaps = [int(one.split()[1]) for one in text if one.startswith("dropped")]
    assert sum(gaps) == 2000 - sum(kept)
    assert len(gaps) == 1


def test_each_gap_has_a_notice_of_its_own_where_it_begins(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    lines = LineWriter(end, 200_000)
    lines.on_dropped = dropped
    data, start = b"", 0
    for _ in range(5):
        numbered(lines, 700, start)  # more than fits, less than twice as much
        start += 700
        assert lines.missing
        data += drain(lines, reader)
    expected = 0
    for told in data.decode().splitlines():
        if told.startswith("dropped"):
            expected += int(told.split()[1])
        else:
            assert int(told[:6]) == expected
            expected += 1
    assert expected == start


def test_a_reader_that_is_slower_than_a_flood_gets_what_fits(pipe: tuple[int, int]) -> None:
    """Room that comes free is used at once: nobody waits for an empty buffer to be heard again."""
    reader, end = pipe
    lines = LineWriter(end, 100_000)
    lines.on_dropped = dropped
    data = b""
    for turn in range(200):
        numbered(lines, 100, turn * 100)
        lines.flush()
        data += os.read(reader, 4096)
        lines.write(line(f"other {turn:03d}"), "other")
    text = (data + drain(lines, reader)).decode().splitlines()
    assert [int(one[6:]) for one in text if one.startswith("other")] == list(range(200))
    kept = sum(one[:6].isdecimal() for one in text)
    assert kept + sum(int(one.split()[1]) for one in text if one.startswith("dropped")) == 20_000


def test_a_notice_that_does_not_go_yet_keeps_its_count(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    fill = LineWriter(end)
    fill.write(line("y" * 70_000))
    assert not fill.flush()
    lines = LineWriter(end, 10)
    lines.on_dropped = dropped
    lines.write(line("too long for this buffer"))
    assert not lines.flush()
    lines.write(line("short"))
    read_all(reader)
    assert lines.flush()
    assert read_all(reader) == b"dropped 2\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_counted_and_never_raised() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    lines = LineWriter(fd)
    numbered(lines, 10)
    assert lines.flush()
    assert lines.missing == 10
    numbered(lines, 5)
    assert lines.flush()
    assert lines.missing == 15
    lines.close()
    os.close(fd)


def test_a_torn_line_is_ended_before_the_next_one_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    lines = LineWriter(fd)
    lines.on_dropped = dropped
    answers = iter([250, OSError(errno.ENOSPC, ""), None])

    def nearly_full(to: int, data: bytes, write: Callable[[int, bytes], int] = os.write) -> int:
        match next(answers):
            case OSError() as error:
                raise error
            case limit:
                return write(to, data[:limit])

    monkeypatch.setattr(outlet.os, "write", nearly_full)
    numbered(lines, 3)
    assert lines.flush()
    assert lines.missing == 2
    assert lines.flush()
    text = path.read_text().splitlines()
    assert [line[:9] for line in text] == ["000000 xx", "000001 xx", "dropped 2"]
    assert len(text[1]) == 50
    os.close(fd)


def test_a_reader_that_is_gone_is_counted_and_never_raised(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    lines = LineWriter(end)
    os.close(reader)
    numbered(lines, 3)
    assert lines.flush()
    assert lines.missing == 3
    lines.close()


def test_a_reader_that_leaves_halfway(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    lines = LineWriter(end)
    numbered(lines, 1000)
    assert not lines.flush()
    os.close(reader)
    assert lines.flush()
    missing = lines.missing
    assert 0 < missing < 1000
    assert lines.flush()
    assert lines.missing == missing, "what is given up is counted once"


@pytest.mark.parametrize("close", [True, False])
def test_a_socket_is_written_without_waiting_and_stays_the_callers(close: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lines = LineWriter(ours.fileno())
        numbered(lines, 5000)
        assert not lines.flush()
        assert os.get_blocking(ours.fileno())
        if close:
            theirs.close()
            assert lines.flush()
            assert lines.missing > 0
        else:
            assert numbers(drain(lines, theirs.fileno())) == list(range(5000))
        lines.close()
        assert ours.fileno() > 0


def test_a_terminal_that_nobody_reads_does_not_block() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    lines = LineWriter(slave)
    assert lines.is_terminal
    numbered(lines, 2000)
    assert not lines.flush()
    assert numbers(drain(lines, master)) == list(range(2000))
    lines.close()
    os.close(master)
    os.close(slave)


def test_a_pipe_is_no_terminal(pipe: tuple[int, int]) -> None:
    assert not LineWriter(pipe[1]).is_terminal


def test_atomic_writes_are_whole_lines_of_at_most_a_page(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, end = pipe
    written: list[bytes] = []

    def spy(to: int, data: bytes, write: Callable[[int, bytes], int] = os.write) -> int:
        count = write(to, data)
        written.append(data[:count])
        return count

    monkeypatch.setattr(outlet.os, "write", spy)
    lines = LineWriter(end, atomic=True)
    numbered(lines, 1000)
    lines.write(line("y" * 5000))
    drain(lines, reader)
    assert all(data.endswith(b"\n") for data in written[:-1])
    assert {len(data) for data in written[:-2]} == {4000}
    assert len(b"".join(written)) == 205_001


def test_close_writes_out_the_rest_while_the_reader_reads(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    child = os.fork()
    if not child:
        os.close(end)
        total = 0
        while data := os.read(reader, 65536):
            total += data.count(b"\n")
        os._exit(0 if total == 5000 else 1)
    lines = LineWriter(end)
    numbered(lines, 5000)
    lines.close()
    os.close(end)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_close_gives_up_on_a_reader_that_does_not_read(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CLOSE_WAIT_S", 0.1)
    lines = LineWriter(pipe[1])
    numbered(lines, 1000)
    lines.close()
    assert lines.missing > 0


def test_after_close_lines_are_counted_and_no_foreign_descriptor_is_touched(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    lines = LineWriter(end)
    lines.close()
    lines.close()
    lines.write(line("late"))
    assert lines.flush()
    assert lines.missing == 1
    assert read_all(reader) == b""


def test_a_closed_descriptor_is_counted_and_never_raised() -> None:
    reader, end = os.pipe()
    os.close(reader)
    os.close(end)
    lines = LineWriter(end)
    lines.write(line("x"))
    assert lines.flush()
    assert lines.missing == 1
    lines.close()
