"""The holders of late: found by few reads, never by mistake."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from rig.procfs import Procfs

from shim.model import Process
from shim.witness.holders import NUMBERS, PROBES, REMEMBERED, SWEPT, Holders
from shim.witness.looking import Checked, Holding


@pytest.fixture
def tree(tmp_path: Path) -> Procfs:
    return Procfs(tmp_path)


class Program:
    """A process that opens sockets as the kernel numbers them, and is remembered."""

    def __init__(self, tree: Procfs, holders: Holders, pid: int, uid: int = 1000, held: int = 3) -> None:
        tree.add(pid, f"p{pid}", uid=uid)
        self.tree = tree
        self.holders = holders
        self.pid = pid
        self.uid = uid
        self.process = Process(pid, f"p{pid}", None)
        self.used: set[int] = set()
        for _ in range(held):
            self.connect(0)

    def connect(self, inode: int) -> int:
        descriptor = next(number for number in range(len(self.used) + 1) if number not in self.used)
        self.used.add(descriptor)
        self.tree.open(self.pid, descriptor, f"socket:[{inode}]" if inode else "/dev/null")
        return descriptor

    def close(self, descriptor: int) -> None:
        self.used.remove(descriptor)
        self.tree.shut(self.pid, descriptor)

    def found_at(self, descriptor: int) -> None:
        stat = self.tree.stat(self.pid)
        assert stat is not None
        self.holders.remember(Holding(stat, self.process, self.uid, descriptor, self.tree.table(self.pid)))


def test_nobody_is_known_at_first(tree: Procfs) -> None:
    assert Holders(tree).glance(5, 1000) is None
    assert tree.probes == 0


def test_one_connection_after_another(tree: Procfs) -> None:
    holders = Holders(tree)
    program = Program(tree, holders, 100)
    program.found_at(program.connect(1))
    program.close(3)
    for inode in range(2, 50):
        descriptor = program.connect(inode)
        assert holders.glance(inode, 1000) is program.process
        program.close(descriptor)
    assert tree.probes == 48


def test_many_connections_that_stay_open(tree: Procfs) -> None:
    holders = Holders(tree)
    program = Program(tree, holders, 100)
    program.found_at(program.connect(1))
    for inode in range(2, 30):
        program.connect(inode)
        assert holders.glance(inode, 1000) is program.process


def test_those_that_were_open_when_the_table_was_read_are_known(tree: Procfs) -> None:
    holders = Holders(tree)
    program = Program(tree, holders, 100, held=40)
    for inode in range(1, 30):
        program.connect(inode)
        program.connect(0)
    program.found_at(40)
    tree.probes = 0
    for inode in range(1, 30):
        assert holders.glance(inode, 1000) is program.process
    assert tree.probes == 29


def test_gaps_are_filled_first(tree: Procfs) -> None:
    """The lowest free number is the next one, wherever the last socket stood."""
    holders = Holders(tree)
    program = Program(tree, holders, 100, held=20)
    for descriptor in (4, 9, 15):
        program.close(descriptor)
    program.found_at(program.connect(1))
    assert [program.connect(inode) for inode in (2, 3, 4)] == [9, 15, 20]
    for inode in (2, 3, 4):
        assert holders.glance(inode, 1000) is program.process


def test_a_browser_with_many_descriptors(tree: Procfs) -> None:
    """Sockets, files and pipes come and go: most of the time a few reads are enough, and never more are made."""
    chance = random.Random(5)
    holders = Holders(tree)
    program = Program(tree, holders, 100, held=500)
    program.found_at(program.connect(1))
    hits = 0
    opened: list[int] = []
    for inode in range(2, 202):
        if opened and chance.random() < 0.5:
            program.close(opened.pop(chance.randrange(len(opened))))
        if chance.random() < 0.3:
            opened.append(program.connect(0))
        descriptor = program.connect(inode)
        opened.append(descriptor)
        tree.probes = 0
        process = holders.glance(inode, 1000)
        assert tree.probes <= NUMBERS + SWEPT
        assert process in (None, program.process)
        if process is None:
            program.found_at(descriptor)
        else:
            hits += 1
    assert hits > 120


@pytest.mark.parametrize("oldest_first", [True, False])
def test_many_connections_at_once_that_come_and_go(oldest_first: bool, tree: Procfs) -> None:
    """A browser has up to 32 connections to a proxy: none of them needs a search, whichever of them ends."""
    chance = random.Random(7)
    holders = Holders(tree)
    program = Program(tree, holders, 100)
    opened = [program.connect(inode) for inode in range(1, 33)]
    program.found_at(opened[0])
    for inode in range(1, 33):
        assert holders.glance(inode, 1000) is program.process
    for inode in range(33, 233):
        program.close(opened.pop(0 if oldest_first else chance.randrange(len(opened))))
        opened.append(program.connect(inode))
        assert holders.glance(inode, 1000) is program.process


def test_connections_that_end_in_their_order_are_seen_at_the_first_guess(tree: Procfs) -> None:
    """And one that takes the number of the last one again soon is, too."""
    holders = Holders(tree)
    program = Program(tree, holders, 100)
    opened = [program.connect(inode) for inode in range(1, 17)]
    program.found_at(opened[0])
    assert [holders.glance(inode, 1000) for inode in range(1, 17)] == [program.process] * 16
    for inode in range(17, 117):
        program.close(opened.pop(0))
        opened.append(program.connect(inode))
        tree.probes = 0
        assert holders.glance(inode, 1000) is program.process
        assert tree.probes == 1 or inode == 17
    for inode in range(117, 127):
        program.close(opened[-1])
        program.connect(inode)
        tree.probes = 0
        assert holders.glance(inode, 1000) is program.process
        assert tree.probes == 1 or inode == 117


def test_a_glance_is_short_however_many_there_are(tree: Procfs) -> None:
    holders = Holders(tree)
    for pid in range(100, 140):
        program = Program(tree, holders, pid, held=10)
        program.found_at(program.connect(pid))
    tree.probes = 0
    assert holders.glance(999, 1000) is None
    assert tree.probes == PROBES
    program.connect(140)
    assert holders.glance(140, 1000) is program.process  # the last one's turn comes before the reads are used up


def test_the_last_holder_is_asked_first(tree: Procfs) -> None:
    holders = Holders(tree)
    first, second = (Program(tree, holders, pid) for pid in (100, 101))
    first.found_at(first.connect(1))
    second.found_at(second.connect(2))
    assert holders.pids() == [101, 100]
    assert holders.glance(1, 1000) is first.process
    assert holders.pids() == [100, 101]


def test_other_users_processes_are_not_asked(tree: Procfs) -> None:
    holders = Holders(tree)
    program = Program(tree, holders, 100, uid=0)
    program.found_at(program.connect(1))
    program.connect(2)
    tree.probes = 0
    assert holders.glance(2, 1000) is None
    assert tree.probes == 0
    assert holders.glance(2, 0) is program.process


def test_only_so_many_are_remembered(tree: Procfs) -> None:
    holders = Holders(tree)
    for pid in range(100, 100 + REMEMBERED + 5):
        program = Program(tree, holders, pid, held=1)
        program.found_at(program.connect(pid))
    assert holders.pids()[-1] == 105
    assert len(holders.pids()) == REMEMBERED


def test_another_program_in_the_place_of_the_one_that_was(tree: Procfs) -> None:
    """exec: pid, start and descriptors stay. A later process of the same number: only that stays."""
    holders = Holders(tree)
    program = Program(tree, holders, 100)
    program.found_at(program.connect(1))
    known = tree.stat(100)
    assert known is not None
    assert holders.known(known) is program.process
    tree.add(100, "curl", stack=7)
    changed = tree.stat(100)
    assert changed is not None
    assert holders.known(changed) is None
    assert holders.glance(1, 1000) is None
    assert holders.pids() == []


def test_one_look_at_a_program_serves_all_that_came_before_it(tree: Procfs) -> None:
    holders = Holders(tree)
    program = Program(tree, holders, 100)
    for inode in (1, 2):
        program.connect(inode)
    program.found_at(3)
    together: Checked = set()
    assert holders.glance(1, 1000, together) is program.process
    tree.add(100, "curl", stack=7)
    assert holders.glance(2, 1000, together) is program.process  # the socket is older than that look at it
    assert holders.glance(2, 1000, set()) is None


def test_who_has_ended_makes_room(tree: Procfs) -> None:
    holders = Holders(tree)
    programs = [Program(tree, holders, pid) for pid in (100, 101)]
    for program in programs:
        program.found_at(program.connect(program.pid))
    tree.remove(101)
    assert holders.glance(999, 1000) is None
    assert holders.pids() == [100]


def test_who_has_ended_goes_when_another_comes(tree: Procfs) -> None:
    before = len(os.listdir("/proc/self/fd"))
    holders = Holders(tree)
    programs = [Program(tree, holders, pid) for pid in (100, 101, 102)]
    for program in programs:
        program.found_at(program.connect(program.pid))
        assert holders.glance(program.pid, 1000) is program.process
    tree.remove(100)
    tree.remove(101)
    programs[2].found_at(programs[2].connect(1020))
    assert holders.pids() == [102, 101, 100], "nobody new came"
    late = Program(tree, holders, 103)
    late.found_at(late.connect(103))
    assert holders.pids() == [103, 102]
    assert len(os.listdir("/proc/self/fd")) == before + 2, "102 is kept open, and 103 not yet"
    holders.close()


def test_seen_again_after_exec_it_is_described_anew(tree: Procfs) -> None:
    holders = Holders(tree)
    program = Program(tree, holders, 100)
    program.found_at(program.connect(1))
    tree.add(100, "curl", stack=7)
    program.process = Process(100, "curl", "/usr/bin/curl")
    program.found_at(3)
    assert holders.glance(1, 1000) is program.process


def test_a_process_behind_a_unix_socket_has_no_descriptor_to_guess(tree: Procfs) -> None:
    holders = Holders(tree)
    program = Program(tree, holders, 100)
    stat = tree.stat(100)
    assert stat is not None
    holders.remember(Holding(stat, program.process, 1000))
    tree.probes = 0
    assert holders.glance(1, 1000) is None
    assert tree.probes == 0
    assert holders.known(stat) is program.process


def test_no_process_stays_open_that_is_remembered_no_more(tree: Procfs) -> None:
    before = len(os.listdir("/proc/self/fd"))
    holders = Holders(tree)
    for pid in range(100, 100 + 2 * REMEMBERED):
        program = Program(tree, holders, pid)
        program.found_at(program.connect(pid))
        assert holders.glance(pid, 1000) is program.process
    assert len(os.listdir("/proc/self/fd")) == before + 2 * REMEMBERED  # two for each that is remembered
    tree.add(pid, "curl", stack=7)
    assert holders.glance(pid, 1000) is None
    assert len(os.listdir("/proc/self/fd")) == before + 2 * REMEMBERED - 2
    holders.close()
    assert len(os.listdir("/proc/self/fd")) == before
