"""In which order processes are looked into: counted in made-up trees, for what is read is what a search costs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Container, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rig.lookers import look
from rig.procfs import Procfs
from rig.senders import listening

from shim.witness.clues import Endpoint, Flow, of_connection
from shim.witness.looking import GONE, NOT_PERMITTED, OTHER_NAMESPACE, Sighting, Trace
from shim.witness.proc import Table
from shim.witness.witness import ASKED_AGAIN, FRESH, Witness

CLUE = Flow("tcp", Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2))
"""Nobody has ever had this connection."""

CROWD = range(100, 150)


class Counted(Procfs):
    """Remembers whose tables were read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.tables: list[int] = []
        self.closed: set[int] = set()
        self.gone: set[int] = set()
        """Inodes of sockets that the kernel has no more; it is asked only here, for the others do not exist."""

    def table(self, pid: int, wanted: Container[int] = ()) -> Table:
        self.tables.append(pid)
        if pid in self.closed:
            raise PermissionError
        return super().table(pid, wanted)

    def last(self, pid: int) -> None:
        """The newest process so far."""
        self.write("loadavg", f"0.00 0.00 0.00 1/300 {pid}\n")


@pytest.fixture
def tree(tmp_path: Path) -> Counted:
    found = Counted(tmp_path)
    for pid in CROWD:
        found.add(pid, "bystander", sockets={0: pid + 1000, 1: pid + 2000})
    found.last(CROWD[-1])
    return found


@pytest.fixture
def witness(tree: Counted, monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    try:
        found = Witness(tree)
    except (AttributeError, OSError):
        pytest.skip("needs sock_diag (Linux)")
    monkeypatch.setattr(found, "_is_gone", lambda trace: trace.inode in tree.gone)
    with closing(found):
        yield found


def searched(witness: Witness, tree: Counted, *inodes: int) -> list[int | None]:
    """The pids that were found, in the order of the inodes; what was counted before is forgotten."""
    tree.tables.clear()
    found = look(witness, *(Trace(CLUE, inode, 1000) for inode in inodes))
    return [end.sighting.process and end.sighting.process.pid for end in found]


def test_the_newest_are_looked_into_first(tree: Counted, witness: Witness) -> None:
    assert searched(witness, tree, 145 + 1000) == [145]
    assert tree.tables == [149, 148, 147, 146, 145]


def test_all_are_looked_into_once(tree: Counted, witness: Witness) -> None:
    assert searched(witness, tree, 5) == [None]
    assert sorted(tree.tables) == list(CROWD)


def test_one_walk_for_many(tree: Counted, witness: Witness) -> None:
    assert searched(witness, tree, 1100, 1120, 1149, 2149, 5) == [100, 120, 149, 149, None]
    assert sorted(tree.tables) == list(CROWD)


def test_nobody_is_looked_into_for_a_socket_that_is_gone(tree: Counted, witness: Witness) -> None:
    tree.gone.add(5)
    assert searched(witness, tree, 5) == [None]
    assert tree.tables == []
    assert searched(witness, tree, 5, 1110) == [None, 110]


def test_a_walk_ends_when_its_socket_has_gone_meanwhile(tree: Counted, witness: Witness) -> None:
    for pid in range(200, 200 + 3 * ASKED_AGAIN):
        tree.add(pid, "bystander")
    ends = witness.search([Trace(CLUE, 5, 1000)], time.monotonic() + 10)
    for _ in range(ASKED_AGAIN + 1):
        assert next(ends) is None
    tree.gone.add(5)
    assert [end.sighting.reason for end in ends if end] == [GONE]
    assert len(tree.tables) == 2 * ASKED_AGAIN


def test_who_has_come_since_is_looked_into_at_once(tree: Counted, witness: Witness) -> None:
    searched(witness, tree, 5)
    tree.add(155, "curl", sockets={5: 7})
    tree.last(157)
    assert searched(witness, tree, 7) == [155]
    assert tree.tables == [157, 156, 155]
    assert searched(witness, tree, 8) == [None]
    assert tree.tables[0] == 155  # nobody has come since: first the recent holder


def test_who_is_found_ends_the_guesses_for_everybody(tree: Counted, witness: Witness) -> None:
    witness.prepare(lambda: False)
    assert searched(witness, tree, 1110) == [110]
    tree.open(110, 7, "socket:[7]")
    tree.probes = 0
    assert searched(witness, tree, 7) == [110]
    assert tree.probes <= 1  # whether its parent has it, too


def test_a_hundred_that_have_come_since_are_not(tree: Counted, witness: Witness) -> None:
    searched(witness, tree, 5)
    for pid in range(200, 400):
        tree.add(pid, "bystander")
    tree.add(399, "curl", sockets={5: 7})
    tree.last(399)
    assert searched(witness, tree, 7) == [399]
    tree.last(399 + 10 * FRESH)
    searched(witness, tree, 6)
    assert len(tree.tables) == FRESH + 1 + len(CROWD) + 200


def test_one_that_has_been_there_all_the_time_is_found_by_a_guess(tree: Counted, witness: Witness) -> None:
    assert witness.prepare(lambda: False)
    tree.open(110, 2, "socket:[7]")
    tree.open(120, 2, "/dev/null")
    tree.open(120, 3, "socket:[8]")
    assert searched(witness, tree, 7, 8) == [110, 120]
    assert tree.tables == [120, 110]


def test_a_guess_that_fails_costs_a_walk_and_no_more(tree: Counted, witness: Witness) -> None:
    witness.prepare(lambda: False)
    for descriptor in (2, 3, 4, 5):
        tree.open(110, descriptor, "/dev/null")
    tree.open(110, 6, "socket:[7]")
    assert searched(witness, tree, 7) == [110]
    assert tree.tables == list(reversed(range(110, 150)))
    tree.shut(110, 6)
    tree.open(110, 6, "socket:[8]")
    assert searched(witness, tree, 8) == [110]
    assert tree.tables == [110]


def test_what_is_known_of_processes_has_a_bound(
    tree: Counted, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs come and go by the million, and each was looked into once."""
    monkeypatch.setattr("shim.witness.witness.KNOWN", 10)
    assert witness.prepare(lambda: False)
    assert list(witness._free) == list(range(109, 99, -1))
    for pid in range(100, 105):
        tree.remove(pid)
    monkeypatch.setattr("shim.witness.witness.KNOWN", 1000)
    searched(witness, tree, 5)
    assert set(witness._free) == set(range(105, 150))


def test_preparing_can_be_interrupted_and_goes_on(tree: Counted, witness: Witness) -> None:
    assert not witness.prepare(lambda: len(tree.tables) >= 10)
    assert len(tree.tables) == 10
    assert witness.prepare(lambda: False)
    assert sorted(tree.tables) == list(CROWD)


def test_the_users_own_processes_come_before_others(
    tree: Counted, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "owner", lambda pid: 1000 if pid % 2 else 0)
    assert searched(witness, tree, 5) == [None]
    assert [pid % 2 for pid in tree.tables] == [1] * 25 + [0] * 25


@pytest.mark.parametrize(("closed", "reason"), [({140}, NOT_PERMITTED), (set(), OTHER_NAMESPACE)])
def test_a_socket_that_is_there_but_not_among_those_we_see(
    tree: Counted, witness: Witness, closed: set[int], reason: str
) -> None:
    """The tree knows nothing of this very process, whose connection it is."""
    tree.closed = closed
    with listening() as server, socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            clue = of_connection(accepted)
            assert clue is not None
            trace = witness.glance(clue)
            assert isinstance(trace, Trace)
            (found,) = look(witness, trace)
    assert found.sighting == Sighting(None, reason, os.geteuid())


def test_who_may_not_be_looked_into_is_passed_over(tree: Counted, witness: Witness) -> None:
    tree.closed = {140}
    assert witness.prepare(lambda: False)
    assert searched(witness, tree, 2101, 1140) == [101, None]


def test_another_users_socket_is_not_searched_for_without_the_right(
    tree: Counted, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "_sees_all", False)
    with listening() as server, socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            clue = of_connection(accepted)
            assert clue is not None
            assert isinstance(witness.glance(clue), Trace)
            monkeypatch.setattr(witness, "_uid", os.geteuid() + 1)
            assert witness.glance(clue) == Sighting(None, NOT_PERMITTED, os.geteuid())
            monkeypatch.undo()  # Meanwhile the socket that was searched for has gone, and another one has its place.
            (found,) = look(witness, Trace(clue, 5, 1000))
            assert found.sighting.reason == GONE


def test_a_childs_table_says_nothing_of_its_parent(tree: Counted, witness: Witness) -> None:
    tree.open(110, 5, "socket:[7]")
    tree.add(149, "child", parent=110, sockets={5: 7, 6: 8})
    (found,) = look(witness, Trace(CLUE, 7, 1000))
    assert found.holding is not None
    assert (found.holding.stat.pid, found.holding.descriptor, found.holding.table) == (110, 5, None)
    (found,) = look(witness, Trace(CLUE, 8, 1000))
    assert found.holding is not None
    assert (found.holding.stat.pid, found.holding.table) == (149, tree.table(149))


def test_a_process_is_described_once(tree: Counted, witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    assert searched(witness, tree, 1140) == [140]
    monkeypatch.setattr("shim.witness.witness.describe", None)
    assert searched(witness, tree, 2140) == [140]


def test_who_ends_while_it_is_looked_at_is_gone(
    tree: Counted, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "stat", lambda pid: tree.gone.add(1140))
    (found,) = look(witness, Trace(CLUE, 1140, 1000))
    assert (found.sighting, found.holding) == (Sighting(None, GONE, 1000), None)


def test_a_parent_that_ends_while_it_is_looked_at_leaves_the_child(
    tree: Counted, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.open(110, 5, "socket:[7]")
    tree.add(149, "child", parent=110, sockets={5: 7})
    real = tree.stat
    monkeypatch.setattr(tree, "stat", lambda pid: None if pid == 110 else real(pid))
    (found,) = look(witness, Trace(CLUE, 7, 1000))
    assert found.sighting.process is not None
    assert found.sighting.process.pid == 149
