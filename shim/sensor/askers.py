"""Who asked, kept for a moment: a program that asks much from one socket is looked up once, not for each query.

Looks at nobody itself. The moment is shorter than a port takes to get another owner: the kernel hands them out at
random, of 28,000.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from shim.model import Peer, Process

KEEP_S = 0.1
MAX_ASKERS = 1024

Seen = tuple[Process | None, str | None]
"""Who asked, or the reason why that is not known."""

_Key = tuple[str, int, str, str]


class Eyes(Protocol):
    """Who asked a query: a socket lives no longer than its answer takes, so it is looked at before."""

    def look(self, query: str, peer: Peer, listener: str, transport: str, then: Callable[[Seen], None]) -> None: ...


class Askers:
    """What the eyes behind it have seen, for `KEEP_S`."""

    def __init__(self, eyes: Eyes, clock: Callable[[], float] = time.monotonic) -> None:
        self._eyes = eyes
        self._clock = clock
        self._kept: dict[_Key, tuple[float, Seen]] = {}

    def __len__(self) -> int:
        """How many sockets are remembered, some of them too long."""
        return len(self._kept)

    def glance(self, peer: Peer, listener: str, transport: str) -> Seen | None:
        """Who asked, if that was found a moment ago."""
        kept = self._kept.get((peer.host, peer.port, listener, transport))
        return kept[1] if kept is not None and self._clock() - kept[0] <= KEEP_S else None

    def look(self, query: str, peer: Peer, listener: str, transport: str, then: Callable[[Seen], None]) -> None:
        """Look who asked; `then` is called once, perhaps before this returns."""
        key = (peer.host, peer.port, listener, transport)

        def found(seen: Seen) -> None:
            self._keep(key, seen)
            then(seen)

        self._eyes.look(query, peer, listener, transport, found)

    def _keep(self, key: _Key, seen: Seen) -> None:
        if len(self._kept) >= MAX_ASKERS:
            self._kept.clear()  # all of a moment's: nobody is worth choosing among them
        self._kept[key] = self._clock(), seen
