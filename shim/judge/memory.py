"""The memory of answers: which addresses a client was given, for which names, and whether by Tor.

Bounded in count and age; asks no clock and keeps nothing on disk.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from shim.judge.hosts import address_from_text, canonical_name, number
from shim.model import Host, Knowledge, Standing

MIN_AGE_S = 600.0
"""Client caches keep an answer for minutes beyond its TTL; a shorter memory would call Tor's own answers leaks."""

DEFAULT_MAX_ENTRIES = 16384
NAMES_PER_ADDRESS = 8
"""Enough to show that an address is ambiguous; a content network would fill any number."""

UNKNOWN = Knowledge()
_NEVER = float("-inf")


@dataclass(slots=True)
class _Entry:
    """One address of one client. Times in seconds, of the last answer for each name and of Tor's last."""

    at: float
    by_tor_at: float = _NEVER
    names: dict[str, float] = field(default_factory=dict)


class AnswerMemory:
    """Answers by client and address, the oldest forgotten first. `at` is in seconds and should not run backwards."""

    __slots__ = ("_entries", "_max_age_s", "_max_entries")

    def __init__(self, max_entries: int = DEFAULT_MAX_ENTRIES, max_age_s: float = MIN_AGE_S) -> None:
        if max_entries < 1 or max_age_s < MIN_AGE_S:
            raise ValueError(f"a memory needs at least 1 entry and {MIN_AGE_S:.0f} s")
        self._entries: OrderedDict[tuple[str, int], _Entry] = OrderedDict()
        self._max_entries = max_entries
        self._max_age_s = max_age_s

    def __len__(self) -> int:
        """How many addresses are held, of all clients."""
        return len(self._entries)

    def learn(
        self, client_key: str, address: IPv4Address | IPv6Address, name: str, at: float, *, by_tor: bool = True
    ) -> None:
        """This client was told that `name` has this address. An address as text in place of the name teaches nothing.

        Otherwise a client could have its own literal echoed by RESOLVE and pass it as Tor's answer.
        """
        if address_from_text(name) is not None:
            return
        self.forget(at)
        key = (client_key, number(address))
        entry = self._entries.pop(key, None) or _Entry(at)
        self._entries[key] = entry
        entry.at = at
        if by_tor:
            entry.by_tor_at = at
        self._remember_name(entry, canonical_name(name), at)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def knowledge(self, client_key: str, host: Host, at: float) -> Knowledge:
        """What is known of `host` to this client; of a name, nothing. Names come oldest first."""
        address = address_from_text(host) if isinstance(host, str) else host
        if address is None or not self._entries:
            return UNKNOWN
        self.forget(at)
        entry = self._entries.get((client_key, number(address)))
        if entry is None:
            return UNKNOWN
        oldest = at - self._max_age_s
        by_tor = entry.by_tor_at >= oldest
        names = tuple(name for name, learned in entry.names.items() if learned >= oldest)
        return Knowledge(Standing.RESOLVED_BY_TOR if by_tor else Standing.UNKNOWN, names)

    def forget(self, at: float) -> None:
        """Drop what is too old. O(1) amortised: entries stand in the order of their last answer."""
        oldest = at - self._max_age_s
        while self._entries and next(iter(self._entries.values())).at < oldest:
            self._entries.popitem(last=False)

    def _remember_name(self, entry: _Entry, name: str, at: float) -> None:
        """Put `name` last; drop the names before it that are too old or too many."""
        entry.names.pop(name, None)
        entry.names[name] = at
        oldest = at - self._max_age_s
        first, learned = next(iter(entry.names.items()))
        while learned < oldest or len(entry.names) > NAMES_PER_ADDRESS:
            del entry.names[first]
            first, learned = next(iter(entry.names.items()))
