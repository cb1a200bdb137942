"""The fuzz targets without a fuzzer: what is on the shelf, and inputs of the targets' own making, always the same ones.

The targets hold what is true of any input; see docs/testing.md for how to look for one of which it is not.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from fuzz.grammar import mutant
from fuzz.shelf import CORPUS, CRASHES, inputs
from fuzz.targets import NAMES, target

from shim.proxy.plane import Ticket
from shim.proxy.relay import Tunnel

MADE = 500
MADE_OF_SLOW = {"session": 250, "replay": 250, "config": 200, "dns_tcp": 250}
SHELF_BYTES = 300_000
READERS = {path.stem for path in (Path(__file__).parents[1] / "shim" / "protocol").glob("*.py")}
READ_BY_OTHERS = {"__init__", "codec", "http_pages"}
"""They read nothing."""


@pytest.mark.parametrize("name", NAMES)
def test_what_is_on_the_shelf_holds(name: str) -> None:
    kept = inputs(CORPUS, name) + inputs(CRASHES, name)
    assert kept, "make fuzz ARGS=--keep"
    for data in kept:
        target(name).one_input(data)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_target_makes_holds_and_so_do_mutants_of_it(name: str) -> None:
    rng = Random(name)
    for _ in range(MADE_OF_SLOW.get(name, MADE)):
        data = target(name).generate(rng)
        target(name).one_input(data)
        target(name).one_input(mutant(rng, data))


@pytest.mark.parametrize("name", NAMES)
def test_next_to_nothing_holds(name: str) -> None:
    for data in (b"", b"\0", b"\xff", b"\0\0", b"\xff" * 7):
        target(name).one_input(data)


def test_the_shelf_is_small_and_belongs_to_targets() -> None:
    files = [*CORPUS.iterdir(), *CRASHES.iterdir()]
    assert {file.stem for file in files} <= set(NAMES)
    assert sum(file.stat().st_size for file in files) < SHELF_BYTES


def test_every_codec_has_a_target() -> None:
    covered = {module for name in NAMES for module in target(name).COVERS}
    assert READERS - {module.rpartition(".")[2] for module in covered} == READ_BY_OTHERS


class TestTheSessionTargetNotices:
    """What it is for: each of these breaks something that it must not miss."""

    def fails(self) -> None:
        with pytest.raises(AssertionError):
            for data in inputs(CORPUS, "session"):
                target("session").one_input(data)

    def test_a_second_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        end = Ticket.end

        def twice(ticket: Ticket, sent: int, received: int, reason: str) -> None:
            ticket.plane.quota.admit(ticket.key)
            end(ticket, sent, received, reason)
            end(ticket, sent, received, reason)

        monkeypatch.setattr(Ticket, "end", twice)
        self.fails()

    def test_a_lost_byte(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start = Tunnel.start

        def lossy(tunnel: Tunnel, client_mask: int) -> None:
            tunnel._down.pending = tunnel._down.pending[:-1]
            start(tunnel, client_mask)

        monkeypatch.setattr(Tunnel, "start", lossy)
        self.fails()

    def test_a_descriptor_that_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        close = Tunnel._close
        kept: list[int] = []

        def leaky(tunnel: Tunnel, reason: str) -> None:
            kept.append(os.dup(tunnel._down.source.fileno()))
            close(tunnel, reason)

        monkeypatch.setattr(Tunnel, "_close", leaky)
        self.fails()
        for fd in kept:
            os.close(fd)
