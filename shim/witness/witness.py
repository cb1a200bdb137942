"""From a connection or datagram to the program that made it, or to the reason why that cannot be known.

Never guesses: who is named held the client's end of that very socket when it was looked at. Not for several threads
at once; `glance` may be called where nobody may wait, `search` may take a tenth of a second.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Container, Iterator, Sequence

from shim.witness.clues import Clue, Flow, LocalPeer
from shim.witness.describe import GENERATIONS, describe
from shim.witness.holders import Holders, free
from shim.witness.looking import (
    AMBIGUOUS,
    BUSY,
    GONE,
    NOT_PERMITTED,
    OFF,
    OTHER_NAMESPACE,
    TIMEOUT,
    Checked,
    Found,
    Holding,
    Sighting,
    Trace,
    sighting,
)
from shim.witness.proc import Proc, Stat, Table, age
from shim.witness.sock_diag import Ambiguous, SockDiag

FRESH = 64
"""Processes that have come since the last time and are looked into first, at most."""

RECENT = 4
"""Holders of late whose whole tables are read before guesses are made for everybody."""

GUESSES = 2
"""Descriptors read of each process before all are: 3 ms for 300 processes, where all of theirs take 50 ms."""

ASKED_AGAIN = 64
"""After so many processes a walk asks whether the sockets are still there: 0.01 ms each."""

KNOWN = 4096
"""Processes for which guesses are made, at most; those that have ended make room in time."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Witness:
    """Looks up owners; remembers the latest ones. OSError where there is no sock_diag."""

    def __init__(self, proc: Proc | None = None) -> None:
        self._diag = SockDiag()
        self._proc = proc or Proc()
        self._holders = Holders(self._proc)
        self._uid = os.geteuid()
        self._sees_all = self._proc.may_see_all()
        self._newest = self._proc.last_pid()
        """The newest process when it was asked last."""
        self._free: dict[int, list[int]] = {}
        """The numbers that each process's next sockets were to get when its table was read last."""

    def close(self) -> None:
        """Give up the netlink socket, and the processes that are kept open."""
        self._diag.close()
        self._holders.close()

    def remember(self, holding: Holding) -> None:
        """Take over what another witness has found."""
        self._holders.remember(holding)

    def glance(self, clue: Clue, checked: Checked | None = None) -> Sighting | Trace:
        """What a few guesses say; else what there is to search for."""
        if isinstance(clue, LocalPeer):
            return self._glance_at_peer(clue)
        try:
            owner = self._diag.owner(clue)
        except Ambiguous:
            return Sighting(None, AMBIGUOUS)
        except OSError:
            return Sighting(None, OFF)
        if owner is None:
            return Sighting(None, _why_no_socket(clue.client.host))
        inode, uid = owner
        if not self._sees_all and uid != self._uid:
            return Sighting(None, NOT_PERMITTED, uid)
        process = self._holders.glance(inode, uid, checked)
        return Trace(clue, inode, uid) if process is None else sighting(clue, process, uid)

    def skim(self, traces: Sequence[Trace]) -> Iterator[Found]:
        """Those that have not been described yet, and those whose holder is where it is likely."""
        for trace in traces:
            if trace.stat is not None:
                yield self._describe(trace, trace.stat)
        wanted = _by_inode(traces)
        likely = self._likely(wanted)
        while wanted and (pid := next(likely, None)) is not None:  # the next one may cost a guess for everybody
            with contextlib.suppress(PermissionError):
                yield from self._look_into(pid, wanted)

    def search(self, traces: Sequence[Trace], until: float) -> Iterator[Found | None]:
        """One walk through all processes for all of them; whose socket has been closed meanwhile ends at once."""
        wanted = _by_inode(traces)
        hidden = late = False
        for number, pid in enumerate(self._everybody({group[0].uid for group in wanted.values()})):
            late = time.monotonic() > until
            if number % ASKED_AGAIN == 0:
                yield from self._without_those_gone(wanted)
            if late or not wanted:
                break
            yield None
            try:
                yield from self._look_into(pid, wanted)
            except PermissionError:
                hidden = True
        for trace in (trace for group in wanted.values() for trace in group):
            reason = TIMEOUT if late else self._why_missing(trace, hidden)
            yield Found(trace, Sighting(None, reason, trace.uid))

    def prepare(self, interrupted: Callable[[], bool]) -> bool:
        """Read the tables of all processes once: then one that has been there all the time is found soon, too."""
        for pid in self._proc.pids(self._proc.last_pid()):
            if interrupted():
                return False
            if pid not in self._free:
                with contextlib.suppress(PermissionError):
                    self._table(pid)
        return True

    def _glance_at_peer(self, peer: LocalPeer) -> Sighting | Trace:
        if peer.pid <= 0:  # the kernel has no number for it in our process namespace
            return Sighting(None, OTHER_NAMESPACE, peer.uid)
        stat = self._proc.stat(peer.pid)
        if stat is None or stat.start > peer.at * _TICKS:  # ended, or its number has passed to a later process
            return Sighting(None, GONE, peer.uid)
        process = self._holders.known(stat)
        return Trace(peer, 0, peer.uid, stat) if process is None else sighting(peer, process, peer.uid)

    def _likely(self, wanted: Container[int | None]) -> Iterator[int]:
        """Who has come since the last time, recent holders, and where a guess hits."""
        last = self._proc.last_pid()
        come = min(age(self._newest, last), FRESH)
        self._newest = last
        yield from range(last, last - come, -1)
        yield from self._holders.pids()[:RECENT]
        alive = self._proc.pids(last)
        self._free = {pid: self._free[pid] for pid in alive if pid in self._free}
        for pid, numbers in list(self._free.items()):
            if any(self._proc.socket_at(pid, number) in wanted for number in numbers):
                yield pid

    def _everybody(self, uids: Container[int | None]) -> Iterator[int]:
        """The socket's user's processes, then all others; the newest first."""
        others = []
        for pid in self._proc.pids(self._proc.last_pid()):
            if self._proc.owner(pid) in uids:
                yield pid
            else:
                others.append(pid)
        yield from others

    def _look_into(self, pid: int, wanted: dict[int, list[Trace]]) -> Iterator[Found]:
        table = self._table(pid, wanted)
        for inode in table.sockets.keys() & wanted.keys():
            descriptor = table.sockets[inode]
            process = self._proc.process_of(pid)
            stat = self._maker(process, descriptor, inode)
            if stat is not None:
                whole = table if stat.pid == process else None
                yield from (self._describe(trace, stat, descriptor, whole) for trace in wanted.pop(inode))

    def _table(self, pid: int, wanted: Container[int] = ()) -> Table:
        table = self._proc.table(pid, wanted)
        if table.open:
            if len(self._free) >= KNOWN:
                del self._free[next(iter(self._free))]
            self._free[pid] = free(table.open)[:GUESSES]
        return table

    def _maker(self, pid: int, descriptor: int, inode: int) -> Stat | None:
        """Who made the socket: the topmost of the line that holds it, for children inherit what they did not make.

        None when it has just ended.
        """
        stat = self._proc.stat(pid)
        for _ in range(GENERATIONS):
            if stat is None or self._proc.socket_at(stat.parent, descriptor) != inode:
                break
            stat = self._proc.stat(stat.parent) or stat
        return stat

    def _describe(self, trace: Trace, stat: Stat, descriptor: int | None = None, table: Table | None = None) -> Found:
        process = self._holders.known(stat) or describe(self._proc, stat)
        holding = Holding(stat, process, trace.uid, descriptor, table)
        self.remember(holding)
        return Found(trace, sighting(trace.clue, process, trace.uid), holding)

    def _without_those_gone(self, wanted: dict[int, list[Trace]]) -> Iterator[Found]:
        """Look no longer for sockets that are not there any more: a walk for nothing is a tenth of a second."""
        for inode, group in list(wanted.items()):
            if self._is_gone(group[0]):
                yield from (Found(trace, Sighting(None, GONE, trace.uid)) for trace in wanted.pop(inode))

    def _why_missing(self, trace: Trace, hidden: bool) -> str:
        """Nobody whom we may look into holds the socket: it has been closed since, or its holder is out of sight."""
        if self._is_gone(trace):
            return GONE
        return NOT_PERMITTED if hidden else OTHER_NAMESPACE

    def _is_gone(self, trace: Trace) -> bool:
        assert isinstance(trace.clue, Flow)
        try:
            owner = self._diag.owner(trace.clue)
        except (Ambiguous, OSError):
            owner = None
        return owner is None or owner.inode != trace.inode


def _by_inode(traces: Sequence[Trace]) -> dict[int, list[Trace]]:
    wanted: dict[int, list[Trace]] = {}
    for trace in traces:
        if trace.stat is None:
            wanted.setdefault(trace.inode, []).append(trace)
    return wanted


def _why_no_socket(host: str) -> str:
    """An address of this network namespace can be bound: then the client has gone. BUSY without a socket to try it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        probe = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:
        return BUSY
    with probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return OTHER_NAMESPACE
    return GONE
