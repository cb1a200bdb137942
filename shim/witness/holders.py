"""The processes that held a socket lately: most sockets belong to a few programs, and those are asked first.

A guess where to look is never an answer: what is returned holds that very socket now, and runs what it ran then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import chain, islice, product

from shim.model import Process
from shim.witness.looking import Checked, Holding
from shim.witness.proc import Kept, Proc, Stat, Table

REMEMBERED = 64

PROBES = 12
"""Descriptors that a glance reads at first, whatever the number of processes and of what they hold."""

NUMBERS = 4
"""Descriptors of one process among them."""

SWEPT = 40
"""More numbers that are read of the latest holder, if all that fails: where its sockets stood lately. A program with
many connections at once gets any of these again (browsers have up to 32 to a proxy), and a search costs more."""

LIVES = 4
"""Processes that a glance, which has found nothing, asks whether they still live."""

FREE = 32
"""Free descriptor numbers remembered of a process: it gets them in this order (POSIX: the lowest first)."""

_ORDERS = [
    sorted(product(range(holders), range(NUMBERS)), key=lambda guess: guess[0] + 4 * guess[1])
    for holders in range(PROBES + 1)
]
"""By the number of holders, which of them (0 is the latest), and which of its guesses: the second comes with the first
of the fifth holder."""


class Holder:
    """One process, and where in its table a socket is likely to stand."""

    __slots__ = ("_free", "_recent", "guesses", "kept", "process", "sockets", "stat", "uid")

    def __init__(self, stat: Stat, process: Process) -> None:
        self.stat = stat
        self.process = process
        self.kept: Kept | None = None
        """The process, kept open from the first glance at it."""
        self.uid: int | None = None
        """Of its sockets."""
        self.sockets: Mapping[int, int] = {}
        """Where its sockets stood when its table was read last."""
        self.guesses: tuple[int, ...] = ()
        """Numbers to try: the last one (closed, and opened again), the next free ones, the one that was seen the
        longest ago (connections of equal length end in their order). That one comes first where it was right last."""
        self._recent: dict[int, None] = {}  # where sockets stood, in the order they were seen
        self._free: list[int] = []

    def seen(self, descriptor: int, table: Table | None = None) -> None:
        """A socket stood at this number."""
        recent = self._recent
        if table is not None:
            self.sockets = table.sockets
            self._free = free(table.open)
        elif recent and descriptor == next(reversed(recent)) == self.guesses[0]:
            return
        in_turn = descriptor == next(iter(recent), None)
        recent.pop(descriptor, None)
        recent[descriptor] = None
        if len(recent) > SWEPT:
            del recent[next(iter(recent))]
        oldest = next(iter(recent))
        del self._free[: bisect_right(self._free, descriptor)]
        usual = descriptor, *self._free[:2], oldest
        self.guesses = tuple(dict.fromkeys((oldest, *usual) if in_turn else usual))

    def others(self) -> Iterator[int]:
        """The rest of where its sockets stood, the one that was seen the longest ago first."""
        return (number for number in self._recent if number not in self.guesses)


class Holders:
    """The latest holders, the last one first. Not for several threads at once."""

    def __init__(self, proc: Proc) -> None:
        self._proc = proc
        self._holders: dict[tuple[int, int], Holder] = {}  # by pid and start, the latest at the end

    def __len__(self) -> int:
        return len(self._holders)

    def close(self) -> None:
        """Let all processes go."""
        for holder in list(self._holders.values()):
            self._forget(holder)

    def glance(self, inode: int, uid: int, checked: Checked | None = None) -> Process | None:
        """Who holds the socket, if a few reads show it: some hundredths of a millisecond, hit or miss."""
        checked = set() if checked is None else checked
        likely: list[Holder] = []
        for holder in reversed(self._holders.values()):
            number = holder.sockets.get(inode)
            if number is not None and self._holds(holder, number, inode):
                return self._confirm(holder, number, checked)
            if holder.uid == uid and len(likely) < PROBES:
                likely.append(holder)
        return self._guess(likely, inode, checked)

    def _guess(self, holders: list[Holder], inode: int, checked: Checked) -> Process | None:
        """Guess after guess, as far as PROBES go, and then the latest holder's other numbers."""
        for holder, number in chain(islice(_likely(holders), PROBES), _unlikely(holders)):
            if self._holds(holder, number, inode):
                return self._confirm(holder, number, checked)
        for holder in holders[:LIVES]:
            if not self._proc.exists(holder.stat.pid):
                self._forget(holder)
        return None

    def _holds(self, holder: Holder, number: int, inode: int) -> bool:
        if holder.kept is None:
            holder.kept = self._proc.keep(holder.stat)
        return holder.kept is not None and holder.kept.socket_at(number) == inode

    def known(self, stat: Stat) -> Process | None:
        """What this process was described as, if it still runs the same program."""
        holder = self._holders.get((stat.pid, stat.start))
        return holder.process if holder is not None and holder.stat == stat else None

    def pids(self) -> list[int]:
        """Of all remembered processes, the last holder first."""
        return [pid for pid, _ in reversed(self._holders)]

    def remember(self, holding: Holding) -> None:
        """This process has held a socket."""
        stat = holding.stat
        holder = self._holders.pop((stat.pid, stat.start), None)
        if holder is None or holder.stat != stat:
            _let_go(holder)
            self._bury()
            holder = Holder(stat, holding.process)
        holder.uid = holding.uid
        if holding.descriptor is not None:
            holder.seen(holding.descriptor, holding.table)
        self._holders[stat.pid, stat.start] = holder
        if len(self._holders) > REMEMBERED:
            self._forget(next(iter(self._holders.values())))

    def _bury(self) -> None:
        """Forget those that have ended, as seldom as somebody new comes: they would stay until 64 others had."""
        for holder in list(self._holders.values()):
            if not self._proc.exists(holder.stat.pid):
                self._forget(holder)

    def _confirm(self, holder: Holder, number: int, checked: Checked) -> Process | None:
        """The socket is there, so the process is; but another program may stand in the place of the one it ran.

        It has not inherited the socket: it was known before, and children inherit only what is older than they are.
        One look at it serves all questions that came before that look: it ran the same when it made those sockets.
        """
        if holder not in checked:
            if holder.kept is None or not holder.kept.unchanged():
                self._forget(holder)
                return None
            checked.add(holder)
        holder.seen(number)
        key = holder.stat.pid, holder.stat.start
        self._holders[key] = self._holders.pop(key)
        return holder.process

    def _forget(self, holder: Holder) -> None:
        _let_go(self._holders.pop((holder.stat.pid, holder.stat.start), None))


def _likely(holders: list[Holder]) -> Iterator[tuple[Holder, int]]:
    for index, rank in _ORDERS[len(holders)]:
        if rank < len(holders[index].guesses):
            yield holders[index], holders[index].guesses[rank]


def _unlikely(holders: list[Holder]) -> Iterator[tuple[Holder, int]]:
    for holder in holders[:1]:
        for number in holder.others():
            yield holder, number


def _let_go(holder: Holder | None) -> None:
    if holder is not None and holder.kept is not None:
        holder.kept.close()


def free(listed: tuple[int, ...]) -> list[int]:
    """The numbers that a process will get next."""
    found: list[int] = []
    expected = 0
    for number in sorted(listed):  # not a set: that takes seven times as much memory, and a table may be large
        found.extend(range(expected, min(number, expected + FREE - len(found))))
        expected = number + 1
    found.extend(range(expected, expected + FREE - len(found)))
    return found
