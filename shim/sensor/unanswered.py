"""Queries that get no answer: counted, and told of once a second, or a flood of them would go on in the log.

Decides about none of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from shim.events import Event, QueriesDropped
from shim.model import Peer

TELL_EVERY_S = 1.0


class Unanswered:
    """Every query that is added is in exactly one `QueriesDropped`, once `tell` has been cancelled."""

    def __init__(self, publish: Callable[[Event], None], reason: str) -> None:
        """`reason` is that of QueriesDropped."""
        self._publish = publish
        self._reason = reason
        self._count = 0
        self._last: Peer | None = None
        self._some = asyncio.Event()

    def add(self, peer: Peer) -> None:
        """One more, from this client."""
        self._count += 1
        self._last = peer
        self._some.set()

    async def tell(self) -> None:
        """Publish what there is, at once and then once a second, until cancelled."""
        try:
            while True:
                await self._some.wait()
                self._tell()
                await asyncio.sleep(TELL_EVERY_S)
        finally:
            self._tell()

    def _tell(self) -> None:
        self._some.clear()
        if self._last is not None and self._count:
            self._publish(QueriesDropped(time.time(), self._last, self._count, self._reason))
            self._count = 0
