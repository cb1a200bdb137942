"""A client that was told of a success which nobody has promised, so that its first bytes name the host it wants.

Decides nothing itself: once the bytes have said what they say, or too much time has passed, it asks the judge again.
What it has read goes upstream ahead of all else; a client that is refused after all sees its connection reset.
"""

from __future__ import annotations

import socket
import struct
import time
from _socket import socket as Socket

from shim.events import FirstBytesSeen, RequestDecided, UpstreamAnswered
from shim.model import Action, Answer, Reply, Request, Verdict
from shim.protocol.first_bytes import OTHER, FirstBytes, FirstBytesReader
from shim.proxy.plane import Plane, Ticket
from shim.proxy.poller import BROKEN, IN
from shim.proxy.relay import CLIENT, UPSTREAM, Direction, Tunnel
from shim.proxy.upstream import UpstreamLeg, leg_of

HEAR_S = 0.3
"""How long a client may be silent. One that speaks first does so at once; one that waits for a server never does."""

_DONTWAIT = socket.MSG_DONTWAIT
_READ_BYTES = 16 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Hearing:
    """From the reply that came too early to a tunnel, or to the end."""

    __slots__ = (
        "_held",
        "_leg",
        "_listener",
        "_mask",
        "_offers",
        "_open",
        "_plane",
        "_reader",
        "_received",
        "_request",
        "_sock",
        "_ticket",
        "_verdict",
    )

    def __init__(
        self,
        plane: Plane,
        ticket: Ticket,
        sock: Socket,
        listener: str,
        request: Request,
        verdict: Verdict,
        received: int,
        offers: str = "",
    ) -> None:
        """`verdict` is what holds if nothing is heard, `received` what the client has been sent so far, in bytes."""
        self._plane = plane
        self._ticket = ticket
        self._sock = sock
        self._listener = listener
        self._request = request
        self._verdict = verdict
        self._received = received
        self._offers = offers
        self._reader = FirstBytesReader()
        self._held = b""
        self._open = True
        """Nothing has been decided yet."""
        self._leg: UpstreamLeg | None = None
        self._mask = IN

    def start(self, early: bytes) -> None:
        """Take over the socket, which is registered for IN; `early` has come with the request already."""
        self._plane.poller.rebind(self._sock.fileno(), self.on_client)
        self._plane.wheel.after(HEAR_S, self._silent)
        if early:
            self._hear(early)

    def on_client(self, events: int) -> None:
        """The client's socket is ready."""
        if not self._open:
            return self._early(events)
        try:
            data = self._sock.recv(_READ_BYTES, _DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return self.abort("client_reset")
        return self._hear(data) if data else self.abort("client_closed")

    def abort(self, reason: str) -> None:
        """End at once; a request that is still open is told as it was judged before anything was heard."""
        self._conclude(self._verdict)
        self._close(reason)

    def _silent(self) -> None:
        """Time is up: it is too late for whatever may still come."""
        if self._open and self._sock.fileno() >= 0:
            self._decide(None)

    def _hear(self, data: bytes) -> None:
        self._held += data
        found = self._reader.feed(data)
        if found is not None:
            self._decide(found)

    def _decide(self, found: FirstBytes | None) -> None:
        plane, ticket = self._plane, self._ticket
        name = None if found is None else found.name
        if name is not None:
            self._verdict = plane.bench.heard(
                self._request, ticket.peer, time.time(), self._listener, self._verdict, name
            )
        self._conclude(self._verdict)
        if found is not None and found is not OTHER:
            plane.publish(
                FirstBytesSeen(time.time(), ticket.conn, found.protocol, name, found.address, found.encrypted)
            )
        if self._verdict.decision.action is Action.BLOCK:
            self._close("refused")
        elif plane.upstream is None:
            self.upstream_failed("no_upstream")
        else:
            self._leg = leg_of(plane, plane.upstream, self._request, self._verdict, ticket.peer, self)
            self._leg.start()

    def _conclude(self, verdict: Verdict) -> None:
        if self._open:
            self._open = False
            ticket = self._ticket
            self._plane.publish(
                RequestDecided(
                    time.time(), ticket.conn, ticket.peer, self._listener, self._request, verdict, self._offers
                )
            )

    def _early(self, events: int) -> None:
        """More from a client whose name is on its way: left in the kernel until the tunnel runs, an end as well."""
        if events & BROKEN:
            return self._close("client_reset")
        self._mask = 0
        self._plane.poller.modify(self._sock.fileno(), 0)
        return None

    def upstream_answered(self, answer: Answer, early: bytes, sock: Socket) -> None:
        """The upstream's reply, which comes too late to be passed on: only its success is of use."""
        self._leg = None
        plane, ticket = self._plane, self._ticket
        if answer.reply == Reply.SUCCEEDED:
            up = Direction(self._sock, sock, CLIENT, 0, self._held)
            down = Direction(sock, self._sock, UPSTREAM, self._received, early)
            Tunnel(plane, ticket, up, down).start(self._mask)
            return
        plane.poller.forget(sock.fileno())
        sock.close()
        plane.publish(UpstreamAnswered(time.time(), ticket.conn, ticket.peer, self._request, answer))
        self._close("upstream_refused")

    def upstream_failed(self, error: str) -> None:
        """The upstream cannot be used."""
        self._leg = None
        self._plane.upstream_failed(error, conn=self._ticket.conn)
        self._close("upstream_failed")

    def _close(self, reason: str) -> None:
        if self._sock.fileno() < 0:  # at the end of the process its leg may have ended it already
            return
        if self._leg is not None:
            self._leg.close()
        self._plane.poller.forget(self._sock.fileno())
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._sock.close()
        self._ticket.end(0, self._received, reason)
