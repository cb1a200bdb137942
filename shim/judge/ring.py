"""The addresses of one network, given out in turn, and the name that each stands for.

Asks no clock: what a name was used at is told.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(slots=True)
class Entry:
    """One name and its address; `used` while it was live, `held` by any request, a refused one too."""

    name: str
    used: float
    held: float


class Ring:
    """The addresses of one family, given out in turn. Entries stand in the order of `held`."""

    __slots__ = ("_cursor", "_first", "_size", "addresses", "capacity", "entries")

    def __init__(self, network: IPv4Network | IPv6Network, start: int, capacity: int) -> None:
        # Neither the first nor the last: network and broadcast, or the anycast addresses of RFC 4291 and RFC 2526.
        self._first = int(network.network_address) + 1
        self._size = network.num_addresses - 2
        # Half of them at most, so that a free one is found within two steps on average.
        self.capacity = min(capacity, self._size // 2)
        if self.capacity < 1:
            raise ValueError("a pool needs a capacity, and 2 addresses beside a network's first and last")
        self._cursor = start % self._size
        self.entries: OrderedDict[int, Entry] = OrderedDict()
        self.addresses: dict[str, int] = {}

    def covers(self, number: int) -> bool:
        """True for any address of the network, the two that are never given out as well."""
        return -1 <= number - self._first <= self._size

    def gives(self, number: int) -> bool:
        """True for an address that may be given out."""
        return 0 <= number - self._first < self._size

    @property
    def next(self) -> int:
        """Where the search for a free address goes on."""
        return self._first + self._cursor

    def skip(self, address: int) -> None:
        """Go on a whole capacity behind `address`: so many may have been issued since a state was written."""
        self._cursor = (address - self._first + self.capacity) % self._size

    def add(self, name: str, now: float) -> int:
        """A free address for a new name. Only below capacity."""
        while self.next in self.entries:
            self._cursor = (self._cursor + 1) % self._size
        address = self.next
        self._cursor = (self._cursor + 1) % self._size
        self.put(address, Entry(name, now, now))
        return address

    def put(self, address: int, entry: Entry) -> None:
        """The address stands for this name from now on."""
        self.entries[address] = entry
        self.addresses[entry.name] = address

    def forget(self, oldest: float) -> None:
        """Free what was last held before `oldest`."""
        while self.entries and next(iter(self.entries.values())).held < oldest:
            _, entry = self.entries.popitem(last=False)
            del self.addresses[entry.name]

    def rewind(self, now: float) -> None:
        """Nothing was used later than now. Keeps the order."""
        for entry in self.entries.values():
            entry.used = min(entry.used, now)
            entry.held = min(entry.held, now)
