"""The memory of answers: which addresses Tor gave to whom, and for which names.

Bounded in count and age; asks no clock and keeps nothing on disk.

What it says of a client that asked Tor itself is proof, and nothing of that client's is ever repaired. What it says
of all others is a guess: whoever answers at an exit may give any address for a name, so who lures one client to ask
for a name of his own can have that name remembered for the address of somebody else's site, until a second name makes
it ambiguous. So such names are told, and put in an address's place in mode `repair` only, which has to be asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, TypeVar

from shim.judge.hosts import address_from_text, canonical_name, number
from shim.model import Host, Knowledge, Standing

MIN_AGE_S = 600.0
"""Client caches keep an answer for minutes beyond its TTL; a shorter memory would call Tor's own answers leaks."""

DEFAULT_MAX_ENTRIES = 16384
NAMES_PER_ADDRESS = 8
"""Enough to show that an address is ambiguous; a content network would fill any number."""

UNKNOWN = Knowledge()

K = TypeVar("K", int, tuple[str, int])


@dataclass(slots=True)
class _Entry:
    """When each name was last given as an answer, in that order, and when any was; in seconds."""

    at: float
    names: dict[str, float] = field(default_factory=dict)

    def learn(self, name: str, at: float, oldest: float) -> None:
        """Put `name` last; drop the names before it that are too old or too many."""
        self.at = at
        self.names.pop(name, None)
        self.names[name] = at
        first, learned = next(iter(self.names.items()))
        while learned < oldest or len(self.names) > NAMES_PER_ADDRESS:
            del self.names[first]
            first, learned = next(iter(self.names.items()))


class _Answers(Generic[K]):
    """Names by key, the key that was longest without an answer forgotten first."""

    __slots__ = ("_entries", "_max_age_s", "_max_entries")

    def __init__(self, max_entries: int, max_age_s: float) -> None:
        self._entries: OrderedDict[K, _Entry] = OrderedDict()
        self._max_entries = max_entries
        self._max_age_s = max_age_s

    def __len__(self) -> int:
        return len(self._entries)

    def learn(self, key: K, name: str, at: float) -> None:
        self._forget(at)
        entry = self._entries.pop(key, None) or _Entry(at)
        self._entries[key] = entry
        entry.learn(name, at, at - self._max_age_s)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def names(self, key: K, at: float) -> tuple[str, ...]:
        """The names of one key, oldest first."""
        self._forget(at)
        entry = self._entries.get(key)
        if entry is None:
            return ()
        return tuple(name for name, learned in entry.names.items() if learned >= at - self._max_age_s)

    def _forget(self, at: float) -> None:
        """O(1) amortised: entries stand in the order of their last answer."""
        while self._entries and next(iter(self._entries.values())).at < at - self._max_age_s:
            self._entries.popitem(last=False)


class AnswerMemory:
    """Tor's answers by client and address, and by address alone. `at` is in seconds and should not run backwards."""

    __slots__ = ("_by_address", "_by_client")

    def __init__(self, max_entries: int = DEFAULT_MAX_ENTRIES, max_age_s: float = MIN_AGE_S) -> None:
        """`max_entries` bounds the one view and the other."""
        if max_entries < 1 or max_age_s < MIN_AGE_S:
            raise ValueError(f"a memory needs at least 1 entry and {MIN_AGE_S:.0f} s")
        self._by_client: _Answers[tuple[str, int]] = _Answers(max_entries, max_age_s)
        self._by_address: _Answers[int] = _Answers(max_entries, max_age_s)

    def __len__(self) -> int:
        """How many addresses are held, each client's own ones apart."""
        return len(self._by_client)

    def learn(self, client_key: str, address: IPv4Address | IPv6Address, name: str, at: float) -> None:
        """Tor told this client that `name` has this address. An address as text in place of the name teaches nothing.

        Otherwise a client could have its own literal echoed by RESOLVE and pass it as Tor's answer.
        """
        if address_from_text(name) is not None:
            return
        key, name = number(address), canonical_name(name)
        self._by_client.learn((client_key, key), name, at)
        self._by_address.learn(key, name, at)

    def knowledge(self, client_key: str, host: Host, at: float) -> Knowledge:
        """What is known of `host` to this client; of a name, nothing. Names come oldest first.

        To a client that Tor did not tell of the address, what others were told gives it names but no standing.
        """
        address = address_from_text(host) if isinstance(host, str) else host
        if address is None or not self._by_address:
            return UNKNOWN
        key = number(address)
        if names := self._by_client.names((client_key, key), at):
            return Knowledge(Standing.RESOLVED_BY_TOR, names)
        names = self._by_address.names(key, at)
        return Knowledge(Standing.UNKNOWN, names) if names else UNKNOWN
