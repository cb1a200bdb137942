"""`auto`: chooses the first Tor that answers, unless it is another user's, and keeps it chosen; starts one of our own
where there is none.

With no upstream there is none: nothing is ever sent anywhere else instead.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from shim.address import Address
from shim.events import Event, TorBootstrapped, UpstreamChanged, UpstreamFailed
from shim.tor.child import Watcher
from shim.tor.discover import answers
from shim.tor.owner import is_squatted

RETRY_S = 2.0
"""How often to look again while there is no upstream."""


class OwnTor(Protocol):
    """A tor of our own: where it listens, whether there is such a program, and keeping it running."""

    address: Address

    def available(self) -> bool: ...

    async def run(self, watcher: Watcher) -> None: ...


class UpstreamKeeper:
    """Looks among `candidates`, then starts `child` if there is one; tells `use` what it found."""

    def __init__(
        self,
        candidates: Sequence[Address],
        child: OwnTor | None,
        use: Callable[[Address | None], None],
        publish: Callable[[Event], None],
    ) -> None:
        self._candidates = candidates
        self._child = child
        self._use = use
        self._publish = publish
        self._suspicion = asyncio.Event()
        self._squatted: set[Address] = set()
        """Where another user listens, as was told."""
        self._looked_at = -math.inf
        """When it was last looked whose the upstream is, in seconds of the monotonic clock."""
        self.current: Address | None = None

    async def find(self) -> Address | None:
        """The first candidate that answers now; it is in use from now on."""
        for address in self._candidates:
            if await self._is_usable(address):
                self._choose(address)
                return address
        return None

    def suspect(self) -> None:
        """A connection has failed: look whether the upstream is still there."""
        self._suspicion.set()

    async def run(self) -> None:
        """Keep an upstream until cancelled."""
        told = False
        while True:
            if self.current is None and await self.find() is None:
                if self._child is not None and self._child.available():
                    await self._child.run(self)
                if not told:  # once, not at every look
                    self._publish(UpstreamFailed(time.time(), "auto", "no_tor_found"))
                told = True
                await asyncio.sleep(RETRY_S)
            else:
                told = False
                await self._check_on_suspicion()

    async def _check_on_suspicion(self) -> None:
        await self._suspicion.wait()
        self._suspicion.clear()
        if self.current is not None and not await self._is_usable(self.current):
            self._choose(None)

    async def _is_usable(self, address: Address) -> bool:
        """Whether a Tor answers there which is no other user's: that one would learn every name."""
        if not await answers(address):
            return False
        now = time.monotonic()
        if address == self.current and now < self._looked_at + RETRY_S:  # a look at all sockets of the machine
            return True
        self._looked_at = now
        squatted = is_squatted(address)
        if squatted and address not in self._squatted:
            self._publish(UpstreamFailed(time.time(), str(address), "another_user"))
        (self._squatted.add if squatted else self._squatted.discard)(address)
        return not squatted

    def tor_progress(self, percent: int, stage: str) -> None:
        """Our own tor has come further."""
        self._publish(TorBootstrapped(time.time(), percent, stage))

    def tor_listening(self) -> None:
        """Our own tor takes connections."""
        if self._child is not None:
            self._choose(self._child.address)

    def tor_ended(self, how: str) -> None:
        """Our own tor has ended and will be started again."""
        self._publish(UpstreamFailed(time.time(), "tor", how))
        self._choose(None)

    def _choose(self, address: Address | None) -> None:
        if address != self.current:
            self.current = address
            self._use(address)
            self._publish(UpstreamChanged(time.time(), None if address is None else str(address)))
