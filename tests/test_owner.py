"""Whose process listens where Tor usually does: by tables as the kernel writes them, and by real listeners."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shim.address import Address
from shim.events import Event, UpstreamChanged, UpstreamFailed
from shim.tor import keeper as keeper_module
from shim.tor import owner
from shim.tor.keeper import UpstreamKeeper
from shim.tor.owner import is_squatted

PERSON, OTHER = 1000, 1001
TOR = Address("127.0.0.1", 9050)
HERE, ALL, ALL_6 = "0100007F:235A", "00000000:235A", f"{'0' * 32}:235A"
MAPPED = "0000000000000000FFFF00000100007F:235A"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
SQUATTER = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
with socket.create_server(("127.0.0.1", 0)) as sock:
    print(sock.getsockname()[1], flush=True)
    while True:
        client, _ = sock.accept()
        with client:
            client.recv(100)
            client.send(bytes((5, 0)))
"""


def row(local: str, uid: int, state: str = "0A") -> str:
    return (
        f"   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5}        0 5665 1 0 100 0\n"
    )


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel says, to be written; we are somebody."""
    monkeypatch.setattr(owner, "TABLE", tmp_path / "tcp")
    monkeypatch.setattr(owner, "TABLE_6", tmp_path / "tcp6")
    monkeypatch.setattr(os, "geteuid", lambda: PERSON)
    return tmp_path


@pytest.mark.parametrize("uid", [0, 107, 999, PERSON, 61184, 65534])
def test_services_and_oneself_are_no_squatters(uid: int, tables: Path) -> None:
    (tables / "tcp").write_text(HEAD + row(HERE, uid))
    assert not is_squatted(TOR)


@pytest.mark.parametrize("uid", [OTHER, 60001, 65536, 1_234_567])
@pytest.mark.parametrize(("table", "local"), [("tcp", HERE), ("tcp", ALL), ("tcp6", ALL_6), ("tcp6", MAPPED)])
def test_another_person_is_one(table: str, local: str, uid: int, tables: Path) -> None:
    (tables / table).write_text(HEAD + row(local, uid))
    assert is_squatted(TOR)


def test_one_of_several_is_enough(tables: Path) -> None:
    (tables / "tcp").write_text(HEAD + row(ALL, 107) + row(HERE, OTHER))
    assert is_squatted(TOR)


def test_other_places_and_who_only_connects_do_not_matter(tables: Path) -> None:
    rows = row("0200007F:235A", OTHER), row("0100007F:235B", OTHER), row(HERE, OTHER, "01"), row(HERE, 107)
    (tables / "tcp").write_text(HEAD + "".join(rows))
    assert not is_squatted(TOR)


def test_where_nothing_is_said_nobody_is_suspected(tables: Path) -> None:
    assert not is_squatted(TOR)
    (tables / "tcp").write_text(HEAD)
    assert not is_squatted(TOR)
    assert not is_squatted(Address(path="/run/tor/socks"))


def test_a_real_listener_of_ones_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = Address(*sock.getsockname())
        assert list(owner._owners(address)) == [os.geteuid()]
        assert not is_squatted(address)


@contextmanager
def squatter() -> Iterator[Address]:
    """Another person's process that answers as Tor does."""
    argv = [sys.executable, "-c", SQUATTER, "12345"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield Address("127.0.0.1", int(process.stdout.readline()))
        process.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")
async def test_another_persons_listener_is_told_once_and_not_used() -> None:
    events: list[Event] = []
    used: list[Address | None] = []
    with squatter() as address:
        keeper = UpstreamKeeper([address], None, used.append, events.append)
        assert await keeper.find() is None
        assert await keeper.find() is None
        (failed,) = events
        assert isinstance(failed, UpstreamFailed)
        assert (failed.upstream, failed.error) == (str(address), "another_user")
        assert used == []


async def test_many_suspicions_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes through all sockets of the machine."""
    looks: list[Address] = []
    monkeypatch.setattr(keeper_module, "is_squatted", lambda address: bool(looks.append(address)))

    async def is_there(_address: Address) -> bool:
        return True

    monkeypatch.setattr(keeper_module, "answers", is_there)
    keeper = UpstreamKeeper([TOR], None, lambda _: None, lambda _: None)
    assert await keeper.find() == TOR
    for _ in range(5):
        keeper.suspect()
        await keeper._check_on_suspicion()
    assert (looks, keeper.current) == ([TOR], TOR)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")
async def test_who_takes_the_place_of_a_tor_is_dropped_at_the_first_suspicion() -> None:
    events: list[Event] = []
    used: list[Address | None] = []
    with squatter() as address:
        keeper = UpstreamKeeper([address], None, used.append, events.append)
        keeper._choose(address)
        keeper.suspect()
        await keeper._check_on_suspicion()
        assert used == [address, None]
        assert await keeper.find() is None, "though it was looked at a moment ago"
        assert [event.upstream for event in events if isinstance(event, UpstreamChanged)] == [str(address), None]
