"""RESOLVE and RESOLVE_PTR for somebody other than a SOCKS client: one question to the upstream, one answer or none."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from shim.events import UpstreamFailed
from shim.model import Answer, Peer, Request
from shim.protocol.socks_client import SocksClient
from shim.proxy.plane import Plane
from shim.proxy.upstream import UpstreamLeg

Done = Callable[[Answer | None], None]


class Lookup:
    """One question on its way."""

    __slots__ = ("_done", "_plane")

    def __init__(self, plane: Plane, done: Done) -> None:
        self._plane = plane
        self._done = done

    def upstream_answered(self, answer: Answer, early: bytes, sock: socket.socket) -> None:
        """The upstream has replied, whatever its REP."""
        self._plane.poller.forget(sock.fileno())
        sock.close()
        self._done(answer)

    def upstream_failed(self, error: str) -> None:
        """The upstream cannot be used."""
        self._plane.publish(UpstreamFailed(time.time(), str(self._plane.target or "none"), error))
        self._done(None)


def look_up(plane: Plane, request: Request, peer: Peer, done: Done) -> None:
    """Ask the upstream on behalf of `peer`; `done` gets the answer, or None when there is none to be had."""
    lookup = Lookup(plane, done)
    if plane.target is None:
        lookup.upstream_failed("no_upstream")
        return
    credentials = plane.bench.credentials(request, peer)
    codec = SocksClient(request, credentials, pipelining=plane.pipelining)
    UpstreamLeg(plane, plane.target, codec, lookup).start()
