"""`auto`: the first Tor that answers, for as long as it answers, and none in its place; with real listeners."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig.programs import require_program
from rig.waiting import until_in_loop

from shim.address import Address
from shim.events import Event, TorBootstrapped, UpstreamChanged, UpstreamFailed
from shim.tor import child as child_module
from shim.tor import discover, keeper
from shim.tor.child import TorChild
from shim.tor.discover import CANDIDATES, answers
from shim.tor.keeper import UpstreamKeeper


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(keeper, "RETRY_S", 0.03)
    monkeypatch.setattr(child_module, "RESTART_S", 0.05)
    monkeypatch.setattr(child_module.tempfile, "gettempdir", lambda: str(tmp_path))


@contextlib.asynccontextmanager
async def listening(address: Address, says: bytes | None = b"\5\0", ends: bool = False) -> AsyncIterator[list[bytes]]:
    """Something that answers a greeting with `says`; what was asked of it."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        if says is None:
            await over.wait()
        elif not ends:
            writer.write(says)
        writer.close()

    if address.is_unix:
        server = await asyncio.start_unix_server(serve, address.path)
    else:
        server = await asyncio.start_server(serve, address.host, address.port)
    async with server:
        yield asked
        over.set()
        await asyncio.sleep(0)
    if address.is_unix:
        Path(address.path).unlink(missing_ok=True)


class Kept:
    """A keeper and all that it said."""

    def __init__(self, *candidates: Address, child: TorChild | None = None) -> None:
        self.events: list[Event] = []
        self.used: list[Address | None] = []
        self.keeper = UpstreamKeeper(candidates, child, self.used.append, self.events.append)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.keeper.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def failures(self) -> list[tuple[str, str]]:
        return [(event.upstream, event.error) for event in self.events if isinstance(event, UpstreamFailed)]

    @property
    def changes(self) -> list[str | None]:
        return [event.upstream for event in self.events if isinstance(event, UpstreamChanged)]


@pytest.fixture
def places(tmp_path: Path) -> list[Address]:
    """Three places where a Tor may be."""
    return [Address(path=str(tmp_path / name)) for name in "abc"]


# --- asking -----------------------------------------------------------------------------------------------------------


def test_where_auto_looks_and_in_which_order() -> None:
    assert [str(address) for address in CANDIDATES] == ["unix:/run/tor/socks", "127.0.0.1:9050", "127.0.0.1:9150"]


async def test_only_a_greeting_is_ever_sent(places: list[Address]) -> None:
    async with listening(places[0]) as asked:
        assert await answers(places[0])
    assert asked == [b"\5\1\0"]


async def test_over_tcp(unused_tcp_port: int) -> None:
    address = Address("127.0.0.1", unused_tcp_port)
    assert not await answers(address)
    async with listening(address):
        assert await answers(address)


@pytest.mark.parametrize("says", [b"\5\xff", b"\5\2", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\5", None])
async def test_what_is_no_tor(places: list[Address], says: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "PROBE_TIMEOUT_S", 0.1)
    async with listening(places[0], says):
        assert not await answers(places[0])


async def test_one_that_hangs_up_is_no_tor(places: list[Address]) -> None:
    async with listening(places[0], ends=True):
        assert not await answers(places[0])


# --- choosing ---------------------------------------------------------------------------------------------------------


async def test_the_first_that_answers_is_chosen(places: list[Address]) -> None:
    kept = Kept(*places)
    async with listening(places[0], b"\5\xff"), listening(places[1]), listening(places[2]) as third:
        assert await kept.keeper.find() == places[1]
        assert await kept.keeper.find() == places[1]
    assert kept.keeper.current == places[1]
    assert kept.used == [places[1]]
    assert kept.changes == [str(places[1])]
    assert third == []


async def test_where_there_is_none_none_is_chosen(places: list[Address]) -> None:
    kept = Kept(*places)
    assert await kept.keeper.find() is None
    assert (kept.used, kept.events) == ([], [])


async def test_one_that_comes_later_is_found(places: list[Address]) -> None:
    kept = Kept(*places)
    async with kept.running():
        await until_in_loop(lambda: kept.failures)
        async with listening(places[2]):
            await until_in_loop(lambda: kept.used)
        assert kept.used == [places[2]]


async def test_that_there_is_none_is_told_once_not_at_every_look(places: list[Address]) -> None:
    kept = Kept(*places)
    async with kept.running():
        await until_in_loop(lambda: kept.failures)
        await asyncio.sleep(0.2)
        assert kept.failures == [("auto", "no_tor_found")]
        async with listening(places[0]):
            await until_in_loop(lambda: kept.used)
        kept.keeper.suspect()
        await until_in_loop(lambda: len(kept.failures) == 2)
    assert kept.failures == [("auto", "no_tor_found")] * 2


async def test_one_that_went_is_dropped_and_another_chosen(places: list[Address]) -> None:
    kept = Kept(*places)
    async with listening(places[1]):
        async with listening(places[0]), kept.running():
            await until_in_loop(lambda: kept.used)
        async with kept.running():
            kept.keeper.suspect()
            await until_in_loop(lambda: len(kept.used) == 3)
    assert kept.used == [places[0], None, places[1]]
    assert kept.changes == [str(places[0]), None, str(places[1])]


async def test_suspicion_of_one_that_answers_changes_nothing(places: list[Address]) -> None:
    kept = Kept(*places)
    async with listening(places[0]) as asked, kept.running():
        await until_in_loop(lambda: kept.used)
        before = len(asked)
        for _ in range(100):
            kept.keeper.suspect()
        await until_in_loop(lambda: len(asked) > before)
        await asyncio.sleep(0.05)
        assert len(asked) == before + 1, "many failures are one question"
        assert kept.used == [places[0]]


# --- a tor of our own -------------------------------------------------------------------------------------------------


async def test_without_the_program_there_is_no_tor_of_our_own(places: list[Address], tmp_path: Path) -> None:
    kept = Kept(*places, child=TorChild(str(tmp_path / "no-such-program"), tmp_path / "data"))
    async with kept.running():
        await until_in_loop(lambda: kept.failures)
        assert kept.failures == [("auto", "no_tor_found")]


def _tor_alone(folder: Path) -> str:
    path = folder / "tor"
    path.write_text(f'#!/bin/sh\nunshare -rn true 2>/dev/null && exec unshare -rn {require_program("tor")} "$@"\n')
    with path.open("a") as file:
        file.write(f'exec {require_program("tor")} "$@"\n')
    path.chmod(0o755)
    return str(path)


async def test_where_no_tor_is_found_one_is_started_and_kept(places: list[Address], tmp_path: Path) -> None:
    child = TorChild(_tor_alone(tmp_path), tmp_path / "data")
    kept = Kept(*places, child=child)
    async with kept.running():
        await until_in_loop(lambda: kept.used)
        assert kept.used == [child.address]
        assert await answers(child.address)
        await until_in_loop(lambda: any(isinstance(event, TorBootstrapped) for event in kept.events))
        pid = os.getpid()
        tor = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[-1])
        os.kill(tor, signal.SIGKILL)
        await until_in_loop(lambda: len(kept.used) == 3)
    assert kept.used == [child.address, None, child.address]
    assert kept.failures == [("tor", "exit_status_-9")]


async def test_one_that_is_there_is_preferred_to_one_of_our_own(places: list[Address], tmp_path: Path) -> None:
    started = tmp_path / "started"
    program = tmp_path / "tor"
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o755)
    kept = Kept(*places, child=TorChild(str(program), tmp_path / "data"))
    async with listening(places[0]), kept.running():
        await until_in_loop(lambda: kept.used)
    assert not started.exists()


async def test_another_worker_finds_the_tor_that_the_first_has_started(tmp_path: Path) -> None:
    """Workers share the child's address; only the first keeps the child."""
    child = TorChild("tor", tmp_path / "data")
    kept = Kept(child.address)
    Path(child.address.path).parent.mkdir()
    async with kept.running():
        await until_in_loop(lambda: kept.failures)
        async with listening(child.address):
            await until_in_loop(lambda: kept.used)
    assert kept.used == [child.address]
    kept.keeper.tor_listening()  # nobody's child
    assert kept.used == [child.address]
