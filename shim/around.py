"""Who goes around the shim: what Tor was asked for, less what the shim asked it for.

Joins the control port, the judge and the witness, which must not know each other; decides nothing.
"""

from __future__ import annotations

import time
from _socket import socket as Socket
from collections.abc import Callable, Iterable
from typing import Protocol

from shim.address import Address
from shim.events import Event, ProcessSought, TorAsked
from shim.judge.reconcile import UNIX, Reconciler
from shim.model import Request, endpoint
from shim.tor.heard import Asked

Listener = tuple[str, Address]


class Look(Protocol):
    """Looks up who has sent a request to Tor: its id, HOST:PORT it came from, how, and where it may have gone to."""

    def __call__(self, stream: str, source: str, transport: str, listeners: Iterable[Address], /) -> None: ...


class Around:
    """Beside the data plane: it is told of the shim's own sockets, and what is not theirs it publishes."""

    def __init__(self, publish: Callable[[Event], None], look: Look | None) -> None:
        self.listeners: Callable[[], tuple[Listener, ...]] = tuple
        """Where clients reach Tor: `tcp` or `udp`, and the address."""
        self._publish = publish
        self._look = look
        self._reconciler = Reconciler()
        self._last = 0

    def opened(self, sock: Socket, upstream: Address, request: Request) -> None:
        """The data plane connects to the upstream, to make this request."""
        source = str(upstream) if upstream.is_unix else endpoint(*sock.getsockname()[:2])
        self._reconciler.opened(source, request.destination, time.time())

    def asked(self, at: float, asked: Asked) -> None:
        """Tor was asked for something."""
        confidence = self._reconciler.confidence(asked.source, asked.destination, at)
        if confidence is None:
            return
        self._last += 1
        stream, source = f"t{self._last}", asked.source
        look = self._look if source is not None and not source.startswith(UNIX) else None
        if look is not None:
            self._publish(ProcessSought(at, stream))
        self._publish(TorAsked(at, stream, *asked, confidence))
        if look is not None and source is not None:
            transport = "udp" if asked.protocol == "dns" else "tcp"
            look(stream, source, transport, [where for over, where in self.listeners() if over == transport])
