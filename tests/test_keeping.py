"""shim.sensor.keeping: the state file is private, whole or not there, and nobody else's file is touched."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import stat
import threading
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from rig.waiting import until_in_loop

from shim.events import Event, StateFailed
from shim.judge.issued import IssuedPool
from shim.model import Standing
from shim.sensor import keeping
from shim.sensor.keeping import StateFile

NAME = "kept.example.com"


class Watched(IssuedPool):
    """Counts how often the keeper looks whether anything has changed: once a round, twice if something has."""

    looks = 0

    @property
    def used_at(self) -> float:
        self.looks += 1
        return super().used_at


class Kept:
    """A pool and its file, read as at a start."""

    def __init__(self, path: Path, start: int = 0) -> None:
        self.events: list[Event] = []
        self.pool = Watched(start=start)
        self.file = StateFile(path, self.pool, self.events.append)
        self.was_read = self.file.read()

    def issue(self, name: str = NAME) -> Any:
        return self.pool.issue(name, keeping.time.time())

    def keep(self, *steps: Any) -> None:
        """Keep the file while each step is taken, once what the one before has changed is written; then end it."""

        async def main() -> None:
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(self.file.keep())
                await self._round(task)
                for step in steps:
                    step()
                    await self._round(task)
                task.cancel()

        asyncio.run(main())

    async def _round(self, keeper: asyncio.Task[None]) -> None:
        """A whole round of the keeper, from its look to what it writes."""
        upto = self.pool.looks + 3
        await until_in_loop(lambda: self.pool.looks >= upto or keeper.done(), "a round")

    @property
    def troubles(self) -> list[str]:
        return [event.error for event in self.events if isinstance(event, StateFailed)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "WRITE_EVERY_S", 0.005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_what_was_issued_stands_after_a_restart(path: Path) -> None:
    before = Kept(path)
    address = before.issue()
    before.keep()
    after = Kept(path, start=12345)
    assert after.was_read
    assert after.pool.lookup(address, keeping.time.time()).names == (NAME,)
    assert after.issue() == address
    assert (before.events, after.events) == ([], [])


def test_the_file_is_private_and_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        kept = Kept(path)
        kept.issue()
        kept.keep()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["state"]


def test_changes_are_written_while_it_runs(path: Path) -> None:
    kept, seen = Kept(path), list[str]()
    kept.keep(lambda: kept.issue("a.example"), lambda: seen.append(path.read_text()), kept.issue)
    assert "a.example" in seen[0] and NAME not in seen[0]
    assert NAME in path.read_text()


def test_what_has_not_changed_is_not_written_again(path: Path) -> None:
    kept, numbers = Kept(path), list[int]()
    look = lambda: numbers.append(path.stat().st_ino)  # noqa: E731
    kept.keep(kept.issue, look, look, look)
    assert len(set(numbers)) == 1


def test_a_file_that_others_could_read_becomes_private(path: Path) -> None:
    path.write_text("")
    path.chmod(0o644)
    kept = Kept(path)
    assert not kept.was_read and kept.events == []
    kept.issue()
    kept.keep()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Kept(path).was_read


def test_no_file_is_no_trouble(path: Path) -> None:
    kept = Kept(path)
    assert (kept.was_read, kept.events) == (False, [])


def deep() -> bytes:
    return b"[" * 200_000


@pytest.mark.parametrize(
    "contents",
    [
        b"precious notes\n",
        b"\xff\xfe",
        b"{}",
        b"[]",
        b'{"version": 2, "next": [], "entries": []}',
        b'{"version": 1, "next": ["x"], "entries": []}',
        b'{"version": 1, "next": [], "entries": [["198.18.0.1", "a.example", NaN, 0]]}',
        deep(),
    ],
    ids=["text", "not UTF-8", "object", "list", "version", "address", "time", "deep"],
)
def test_what_is_no_state_is_left_alone_and_told(contents: bytes, path: Path) -> None:
    path.write_bytes(contents)
    kept = Kept(path)
    kept.issue()
    kept.keep()
    assert kept.troubles == ["not_a_state"]
    assert path.read_bytes() == contents


def test_a_symbolic_link_is_neither_read_nor_replaced(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    before = Kept(target)
    address = before.issue()
    before.keep()
    written = target.read_bytes()
    path.symlink_to(target)
    kept = Kept(path)
    assert not kept.was_read
    assert kept.pool.lookup(address, keeping.time.time()).standing is Standing.STALE
    kept.keep(kept.issue)
    assert (path.is_symlink(), target.read_bytes(), kept.troubles) == (True, written, ["symbolic_link"])


def test_a_symbolic_link_that_comes_later(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("precious")
    kept = Kept(path)

    def swap() -> None:
        path.unlink()
        path.symlink_to(target)
        kept.issue()

    kept.keep(swap)
    assert (path.is_symlink(), target.read_text(), kept.troubles) == (True, "precious", ["symbolic_link"])


def test_a_link_in_the_place_of_the_new_file_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("precious")
    (tmp_path / ".state.new").symlink_to(target)
    kept = Kept(path)
    kept.issue()
    kept.keep()
    assert target.read_text() == "precious"
    assert Kept(path).was_read


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_could_write_is_not_believed(mode: int, path: Path) -> None:
    before = Kept(path)
    address = before.issue()
    before.keep()
    path.chmod(mode)
    kept = Kept(path)
    assert (kept.was_read, kept.troubles) == (False, ["not_private"])
    assert kept.pool.lookup(address, keeping.time.time()).standing is Standing.STALE


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_somebody_elses_file_is_not_believed(path: Path) -> None:
    before = Kept(path)
    before.issue()
    before.keep()
    os.chown(path, 65534, 65534)
    assert Kept(path).troubles == ["not_private"]


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_file_holds_up_nothing(kind: str, path: Path) -> None:
    (os.mkdir if kind == "directory" else os.mkfifo)(path)
    kept = Kept(path)
    kept.issue()
    kept.keep()
    assert kept.troubles == ["not_a_file"]


def test_a_file_too_large_to_be_one(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(keeping.MAX_BYTES + 1)
    assert Kept(path).troubles == ["not_a_state"]


def test_a_folder_that_is_not_there(path: Path) -> None:
    kept = Kept(path / "below")
    assert kept.events == []
    kept.keep(kept.issue, lambda: kept.issue("b.example"))
    assert kept.troubles == ["no_such_file_or_directory"], "told once, however often it is tried"


def test_a_disk_that_is_full_for_a_while(path: Path) -> None:
    """The kernel refuses to let any file grow: the old state stays whole, and the next change is written later."""
    kept, whole, seen = Kept(path), list[bytes](), list[Any]()
    kept.issue()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        whole.append(path.read_bytes())
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        kept.issue("b.example")

    def look() -> None:
        seen.append((path.read_bytes(), os.listdir(path.parent), kept.troubles))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        kept.keep(fill, look, lambda: seen.append("b.example" in path.read_text()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert seen == [(*whole, ["state"], ["file_too_large"]), True]
    assert kept.troubles == ["file_too_large"]
    assert "b.example" in path.read_text()


def test_a_machine_without_room_for_a_thread_for_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that may have no more processes: it ended the sensor, and the shim with it."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    kept, seen = Kept(path), list[Any]()
    kept.issue()

    def look() -> None:
        seen.append((path.exists(), kept.troubles))
        monkeypatch.undo()
        monkeypatch.setattr(keeping, "WRITE_EVERY_S", 0.005)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    kept.keep(look, lambda: seen.append(NAME in path.read_text()))
    assert seen == [(False, ["no_thread"]), True]
    assert kept.troubles == ["no_thread"]


def test_the_last_write_is_the_newest(path: Path) -> None:
    """A write that is under way when the end comes must not replace what is written at the end."""
    kept = Kept(path)
    for number in range(2000):
        kept.issue(f"{number}.example")
    begun, ended = threading.Event(), threading.Event()
    sizes, write = list[int](), kept.file._write

    def slowly(cursors: list[str], parts: list[str]) -> str | None:
        sizes.append(sum(len(json.loads(f"[{part}]")) for part in parts))
        if not begun.is_set():
            begun.set()
            ended.wait(0.3)  # long enough for the last write to overtake this one, were it not to wait for it
            return write(cursors, parts)
        error = write(cursors, parts)
        ended.set()
        return error

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(kept.file.keep())
            await until_in_loop(begun.is_set, "the first write")
            kept.issue()
            task.cancel()

    kept.file._write = slowly  # type: ignore[method-assign]
    asyncio.run(main())
    assert sizes == [2000, 2001]
    assert len(json.loads(path.read_text())["entries"]) == 2001


def test_what_changes_while_it_is_collected_spoils_nothing(path: Path) -> None:
    """Between two pieces names go and come back elsewhere: what is written can be read, and no name comes twice."""
    file = Kept(path).file
    pool, now = IssuedPool(start=0, live_s=5.0, quarantine_s=0.0), keeping.time.time()
    for number in range(3 * keeping.PIECE):
        pool.issue(f"{number}.example", now)
    pieces = pool.pieces(keeping.PIECE)
    taken = [next(pieces)]
    pool.issue("later.example", now + 6.0)  # all that were there are forgotten
    for number in range(3 * keeping.PIECE):
        pool.issue(f"{number}.example", now + 6.0)
    taken += pieces
    assert [len(piece) for piece in taken] == [keeping.PIECE, 0, 0]
    assert file._write(pool.next(), list(map(keeping._text, taken))) is None
    again = IssuedPool(start=3, live_s=5.0, quarantine_s=0.0)
    again.restore(json.loads(path.read_text()), now + 6.0)
    names = [row[1] for row in again.dump()["entries"]]
    assert len(names) == len(set(names))
    assert file._write(pool.next(), list(map(keeping._text, pool.pieces(keeping.PIECE)))) is None
    again.restore(json.loads(path.read_text()), now + 6.0)
    assert sorted(again.dump()["entries"]) == sorted(pool.dump()["entries"])


@pytest.mark.parametrize("count", [0, 1, keeping.PIECE - 1, keeping.PIECE, 2 * keeping.PIECE + 1])
def test_pieces_are_what_a_dump_is(count: int, path: Path) -> None:
    kept = Kept(path)
    for number in range(count):
        kept.issue(f"{number}.example")
    pieces = list(kept.pool.pieces(keeping.PIECE))
    assert all(len(piece) <= keeping.PIECE for piece in pieces)
    kept.file._write(kept.pool.next(), list(map(keeping._text, pieces)))
    assert path.read_text() == json.dumps(kept.pool.dump())


def test_an_address_beside_the_pool_is_left_out(path: Path) -> None:
    path.write_text(json.dumps({"version": 1, "next": [], "entries": [["192.0.2.1", "a.example", 0.0, 0.0]]}))
    kept = Kept(path)
    assert kept.was_read
    assert kept.pool.lookup(IPv4Address("192.0.2.1"), 1.0).standing is Standing.UNKNOWN
