"""A fuzzer's bytes as a series of choices, and a stream cut as they say.

Total: any bytes are a tape, and behind its end come zeroes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Tape:
    """Reads choices off bytes, in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def over(self) -> bool:
        """Nothing but zeroes would follow."""
        return self._at >= len(self._data)

    def byte(self) -> int:
        """The next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.byte() & 1)

    def choose(self, options: Sequence[T]) -> T:
        """One of at most 256."""
        return options[self.byte() % len(options)]

    def take(self, limit: int) -> bytes:
        """Bytes as they stand, their number below `limit` (256 at most) and before them."""
        count = self.byte() % limit
        self._at += count
        return self._data[self._at - count : self._at]

    def exactly(self, count: int) -> bytes:
        """So many bytes as they stand; fewer at the end."""
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        rest, self._at = self._data[self._at :], len(self._data)
        return rest


def pieces(stream: bytes, size: int) -> Iterator[tuple[bytes, bytes]]:
    """`stream` in pieces of `size` bytes, in one when that is 0; each with what comes behind it."""
    size = size or len(stream) or 1
    for at in range(0, len(stream), size):
        yield stream[at : at + size], stream[at + size :]
