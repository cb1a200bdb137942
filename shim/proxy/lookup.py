"""RESOLVE and RESOLVE_PTR for somebody other than a SOCKS client: one question to the upstream, one answer or none.

Remembers nothing and never asks anybody else.
"""

from __future__ import annotations

from _socket import socket as Socket
from collections.abc import Callable

from shim.model import Answer, Peer, Request
from shim.protocol.socks_client import SocksClient
from shim.proxy.plane import Plane
from shim.proxy.upstream import UpstreamLeg

SHUTDOWN = "shutdown"
"""What ends a lookup when the shim ends: no fault of the upstream's."""

Done = Callable[[Answer | None], None]


class Lookup:
    """One question on its way."""

    __slots__ = ("_done", "_plane", "_query")

    def __init__(self, plane: Plane, query: str, done: Done) -> None:
        self._plane = plane
        self._query = query
        self._done = done

    def upstream_answered(self, answer: Answer, early: bytes, sock: Socket) -> None:
        """The upstream has replied, whatever its REP."""
        self._plane.poller.forget(sock.fileno())
        sock.close()
        self._done(answer)

    def upstream_failed(self, error: str) -> None:
        """The upstream cannot be used."""
        if error != SHUTDOWN:
            self._plane.upstream_failed(error, query=self._query)
        self._done(None)


def look_up(plane: Plane, request: Request, peer: Peer, query: str, done: Done) -> None:
    """Ask the upstream on behalf of `peer` and its `query`; `done` gets the answer, None when there is none."""
    lookup = Lookup(plane, query, done)
    if plane.upstream is None:
        lookup.upstream_failed("no_upstream")
        return
    codec = SocksClient(request, plane.bench.credentials(request, peer), pipelining=plane.pipelining)
    UpstreamLeg(plane, plane.upstream, request, codec, lookup).start()
