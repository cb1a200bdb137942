"""Issued addresses: which name each stands for, and how long it may stand for no other.

Asks no clock and no random source, and writes nothing: time, a start and a place to keep the state come from outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal, TypedDict

from shim.judge.hosts import normalise
from shim.judge.ring import Entry, Ring
from shim.model import Knowledge, Standing

NETWORK4 = IPv4Network("198.18.0.0/15")
NETWORK6 = IPv6Network("2001:2::/48")
"""Benchmarking (RFC 2544, RFC 5180): routed nowhere, and public to browsers, which keep pages off local addresses."""

LIVE_S = 3600.0
"""Long: a TTL of 1 is not obeyed by all, and a program that kept an address would find it stale."""

QUARANTINE_S = 600.0
CAPACITY = 65_535

JITTER_S = 1.0
"""A clock that goes back by less is taken to stand; by more, it was set, and all times are moved with it."""

_END_OF_TIME_S = 1e12  # keeps out what JSON can say and a clock cannot, NaN too
_OUTSIDE = Knowledge()
_STALE = Knowledge(Standing.STALE)


Row = tuple[str, str, float, float]
"""An address, its name, when it was used and held."""


class State(TypedDict):
    """What `dump` gives: plain values for JSON. Holds names in clear."""

    version: int
    next: list[str]
    entries: list[Row]


class IssuedPool:
    """Names and the addresses issued for them, IPv4 and IPv6 apart; `capacity` counts names of each.

    An entry is live for `live_s` after it was last issued or touched. Then its address is stale, and stands for no
    other name until it has not been asked for `quarantine_s` more: a full pool refuses. Every `at` is in seconds.
    """

    __slots__ = ("_hold_s", "_live_s", "_now", "_rings")

    def __init__(
        self,
        network4: IPv4Network = NETWORK4,
        network6: IPv6Network | None = NETWORK6,
        *,
        start: int,
        quarantine_s: float = QUARANTINE_S,
        live_s: float = LIVE_S,
        capacity: int = CAPACITY,
    ) -> None:
        """`start` is any number, a random one so that no page can guess what is issued. ValueError for a bad size."""
        if not (live_s > 0 and quarantine_s >= 0):
            raise ValueError("live_s must be above 0, quarantine_s not below")
        self._rings: dict[int, Ring] = {4: Ring(network4, start, capacity)}
        if network6 is not None:
            self._rings[6] = Ring(network6, start, capacity)
        self._live_s = live_s
        self._hold_s = live_s + quarantine_s
        self._now = float("-inf")

    def __len__(self) -> int:
        """How many addresses are taken, live or in quarantine."""
        return sum(len(ring.entries) for ring in self._rings.values())

    @property
    def used_at(self) -> float:
        """When the pool was last asked for anything, by its own time: until that changes, nothing else has."""
        return self._now

    def issue(self, name: str, at: float, family: Literal[4, 6] = 4) -> IPv4Address | IPv6Address | None:
        """The address that stands for `name`, the same one while it is held. None when all are, or without IPv6."""
        ring = self._rings.get(family)
        if ring is None:
            return None
        now = self._time(at)
        number = ring.addresses.get(name)
        if number is not None:
            self._use(ring, number, now)
            return _address(number, family)
        ring.forget(now - self._hold_s)
        return _address(ring.add(name, now), family) if len(ring.entries) < ring.capacity else None

    def lookup(self, address: IPv4Address | IPv6Address, at: float) -> Knowledge:
        """ISSUED with its name; STALE, with the name it last stood for if that is known; UNKNOWN outside the pool."""
        ring, number = self._find(address)
        if ring is None:
            return _OUTSIDE
        entry = ring.entries.get(number)
        if entry is None:
            return _STALE
        live = self._time(at) - entry.used <= self._live_s
        return Knowledge(Standing.ISSUED if live else Standing.STALE, (entry.name,))

    def touch(self, address: IPv4Address | IPv6Address, at: float) -> None:
        """A request came for `address`: a live entry stays live, a stale one stays in quarantine."""
        ring, number = self._find(address)
        if ring is None or number not in ring.entries:
            return
        now = self._time(at)
        if now - ring.entries[number].used <= self._live_s:
            self._use(ring, number, now)
        else:
            ring.entries[number].held = now
            ring.entries.move_to_end(number)

    def dump(self) -> State:
        """All that `restore` needs. Times as they were given."""
        rows = [row for piece in self.pieces(self._rings[4].capacity) for row in piece]
        return {"version": 1, "next": self.next(), "entries": rows}

    def next(self) -> list[str]:
        """Where each family's search for a free address goes on."""
        return [str(_address(ring.next, family)) for family, ring in self._rings.items()]

    def pieces(self, size: int) -> Iterator[list[Row]]:
        """The entries of a dump, at most `size` at a time. The pool may be used between two pieces: each says what
        holds when it is taken, so that a name may come twice, and one that is issued meanwhile not at all.
        """
        for family, ring in self._rings.items():
            numbers = list(ring.entries)
            for start in range(0, len(numbers), size):
                held = ((number, ring.entries.get(number)) for number in numbers[start : start + size])
                yield [
                    (str(_address(number, family)), entry.name, entry.used, entry.held)
                    for number, entry in held
                    if entry is not None
                ]

    def restore(self, state: object, at: float) -> None:
        """Go on from a dump, in place of what is held now. What does not fit this pool is left out.

        ValueError when it is no dump; nothing has changed then.
        """
        cursors, entries = _read_state(state)
        for ring in self._rings.values():
            ring.entries.clear()
            ring.addresses.clear()
        self._now = at
        for address in cursors:
            ring_, number = self._find(address)
            if ring_ is not None:
                ring_.skip(number)
        entries.sort(key=lambda row: row[1].held)
        for address, entry in reversed(entries):  # should there be too many, the latest find room
            ring_, number = self._find(address)
            if ring_ is not None and self._fits(ring_, number, entry, at):
                ring_.put(number, entry)
                ring_.entries.move_to_end(number, last=False)
        for ring in self._rings.values():
            ring.rewind(at)

    def _fits(self, ring: Ring, number: int, entry: Entry, at: float) -> bool:
        free = ring.gives(number) and number not in ring.entries and entry.name not in ring.addresses
        return free and len(ring.entries) < ring.capacity and at - entry.held <= self._hold_s

    def _find(self, address: IPv4Address | IPv6Address) -> tuple[Ring | None, int]:
        """The ring that `address` belongs to, and its number there."""
        address = normalise(address)
        ring, number = self._rings.get(address.version), int(address)
        return (ring if ring is not None and ring.covers(number) else None), number

    def _use(self, ring: Ring, number: int, now: float) -> None:
        entry = ring.entries[number]
        entry.used = entry.held = now
        ring.entries.move_to_end(number)

    def _time(self, at: float) -> float:
        """The pool's own time: never earlier than before, unless the clock was set back."""
        if at < self._now - JITTER_S:
            self._now = at
            for ring in self._rings.values():
                ring.rewind(at)
        elif at > self._now:
            self._now = at
        return self._now


def _address(number: int, family: int) -> IPv4Address | IPv6Address:
    return IPv4Address(number) if family == 4 else IPv6Address(number)


def _read_state(
    state: object,
) -> tuple[list[IPv4Address | IPv6Address], list[tuple[IPv4Address | IPv6Address, Entry]]]:
    """What a dump says, after a way through JSON. ValueError names none of its contents."""
    match state:
        case {"version": 1, "next": [*cursors], "entries": [*rows]}:
            return [_read_address(text) for text in cursors], [_read_row(row) for row in rows]
    raise ValueError("not a state of issued addresses, or of another version")


def _read_row(row: object) -> tuple[IPv4Address | IPv6Address, Entry]:
    match row:
        case [address, str(name), used, held]:
            return _read_address(address), Entry(name, _read_time(used), _read_time(held))
    raise ValueError("not an entry of issued addresses")


def _read_address(text: object) -> IPv4Address | IPv6Address:
    try:
        return ip_address(str(text))
    except ValueError:
        raise ValueError("not an address in a state of issued addresses") from None


def _read_time(value: object) -> float:
    if isinstance(value, float | int) and abs(value) < _END_OF_TIME_S:
        return float(value)
    raise ValueError("not a time in a state of issued addresses")
