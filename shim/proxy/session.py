"""One client connection from accept to the reply: parse, ask the judge, do what it says, hand over to the relay.

Decides nothing itself and logs nothing: it publishes events.
"""

from __future__ import annotations

import contextlib
import socket
import time
from _socket import socket as Socket
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address

from shim.errors import ProtocolError
from shim.events import HandshakeFailed, ProcessSought, RequestDecided, UpstreamAnswered
from shim.model import PENDING, Action, Answer, Command, Exposure, Process, Reply, Request, Sought, Verdict
from shim.protocol import ServerCodec
from shim.protocol.wire import HTTP_HINT_PAGE
from shim.proxy.hearing import Hearing
from shim.proxy.overhear import Overhearing
from shim.proxy.plane import Plane, Ticket
from shim.proxy.poller import BROKEN, IN
from shim.proxy.relay import CLIENT, UPSTREAM, Direction, Tunnel
from shim.proxy.upstream import UpstreamLeg, leg_of
from shim.proxy.wheel import Slot

_DONTWAIT = socket.MSG_DONTWAIT
_PEEK = socket.MSG_PEEK | _DONTWAIT
_HANDSHAKE_BYTES = 4096
"""One read of a handshake; what the client sent behind its request comes along and is kept."""

_NOWHERE = IPv4Address(0)
_ASKING, _UNWATCHED = -1, -2
"""The masks of a client that waits for its program to be known: nothing has come from it meanwhile, or something."""

_WORTH_HEARING = (Exposure.ADDRESS, Exposure.ADDRESS_AS_TEXT)
"""Where the client's first bytes may tell the name that its request did not."""


class Session:
    """A client in its handshake. Ends by handing its socket to a Tunnel, or by closing it."""

    __slots__ = (
        "_codec",
        "_leg",
        "_listener",
        "_mask",
        "_plane",
        "_received",
        "_request",
        "_slot",
        "_sock",
        "_ticket",
        "_verdict",
    )

    def __init__(self, plane: Plane, ticket: Ticket, sock: Socket, codec: ServerCodec, listener: str) -> None:
        self._plane = plane
        self._ticket = ticket
        self._sock = sock
        self._codec = codec
        self._listener = listener
        self._received = 0
        self._request: Request | None = None
        self._leg: UpstreamLeg | None = None
        self._verdict = PENDING
        self._mask = IN
        self._slot: Slot | None = None

    def start(self) -> None:
        """Wait for the client's first bytes."""
        self._slot = self._plane.wheel.add(self, self._plane.quota.limits.handshake_timeout_s)
        self._plane.poller.register(self._sock.fileno(), IN, self.on_client)

    def on_client(self, events: int) -> None:
        """The client's socket is ready."""
        if self._request is not None:
            return self._early(events) if self._mask != _ASKING else self._unwatch()
        if not self._mask:
            return self._close("protocol_error")  # broken, and gone before it was known whose it is
        try:
            data = self._sock.recv(_HANDSHAKE_BYTES, _DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return self._close("client_reset")
        if not data:
            return self._close("client_closed")
        try:
            request = self._codec.receive_data(data)
        except ProtocolError as error:
            return self._violated(error)
        if out := self._codec.data_to_send():
            self._send(out)
        if request is not None:
            self._request = request
            self._settle()
            self._decide(request)
        return None

    def dawdles(self, since: float) -> bool:
        """Whether its request is owed since then, in seconds of the monotonic clock, or before."""
        return self._request is None and bool(self._mask) and self._ticket.started <= since

    def expire(self) -> None:
        """The handshake has taken too long."""
        self._fail_handshake("timeout", b"", None)
        self._close("timeout")

    def abort(self, reason: str) -> None:
        """End at once, without a reply."""
        request, ticket = self._request, self._ticket
        if self._mask < 0 and request is not None:  # judged all the same: every request is, once
            self._mask = IN
            now = time.time()
            verdict = self._plane.bench.judge(request, ticket.peer, now, self._listener, None, Sought.LATE)
            self._tell(now, request, verdict)
        self._close(reason)

    def _early(self, events: int) -> None:
        """Something from a client that should be waiting for its reply.

        Data is left in the kernel until the relay runs. An end without data is a client that has gone: its upstream
        leg ends too, as Tor's stream does (measured), instead of waiting for a reply that nobody reads.
        """
        if events & BROKEN:
            return self._close("client_reset")
        with contextlib.suppress(OSError):
            if not self._codec.trailing_data() and not self._sock.recv(1, _PEEK):
                return self._close("client_closed")
        self._mask = 0
        self._plane.poller.modify(self._sock.fileno(), 0)
        return None

    def _violated(self, error: ProtocolError) -> None:
        self._stop_clock()  # it has failed: that it takes long to find out whose it is, is no second failure
        self._send(self._codec.data_to_send())
        reply = error.reply
        if error.protocol == "http" and not reply and self._plane.bench.http_hint():
            reply = HTTP_HINT_PAGE
        finding = error.protocol is not None
        if finding:
            self._seek()
        self._fail_handshake(error.error, reply, error.protocol)
        self._send(reply)
        self._mask = 0  # what else it says is nobody's to read
        self._plane.poller.modify(self._sock.fileno(), 0)
        self._identify(finding, partial(self._close, "protocol_error"))

    def _fail_handshake(self, error: str, reply: bytes, foreign: str | None) -> None:
        ticket = self._ticket
        self._plane.publish(
            HandshakeFailed(time.time(), ticket.conn, ticket.peer, self._listener, error, reply, foreign)
        )

    def _decide(self, request: Request, process: Process | None = None, sought: Sought = Sought.NOT_YET) -> None:
        plane, ticket = self._plane, self._ticket
        now = time.time()
        self._verdict = verdict = plane.bench.judge(request, ticket.peer, now, self._listener, process, sought)
        finding = verdict.finding
        if finding:
            finding = sought is Sought.NOT_YET
            if finding:
                self._seek()
            if verdict is PENDING:
                return self._find_out()
            if verdict.hear is not None and plane.upstream is not None:
                return self._hear(request, verdict, finding)
        self._tell(now, request, verdict)
        if verdict.decision.action is Action.BLOCK:
            # A refused client ends at once, and takes its name along: the refusal waits until it is known.
            reply = verdict.decision.reply or Reply.NOT_ALLOWED
            self._identify(finding, partial(self._refuse, reply, "refused"))
        else:
            if finding:
                self._identify(finding, None)
            self._forward(request, verdict)
        return None

    def _tell(self, at: float, request: Request, verdict: Verdict) -> None:
        """How this request was judged. What it was asked with is of use to a finding only."""
        ticket = self._ticket
        offers = self._codec.offers() if verdict.finding else ""
        self._plane.publish(RequestDecided(at, ticket.conn, ticket.peer, self._listener, request, verdict, offers))

    def _hear(self, request: Request, verdict: Verdict, finding: bool) -> None:
        """The client is told of a success, so that it says whom it wants: what follows is no longer a handshake."""
        offers = self._codec.offers()
        self._send(self._codec.reply(Answer(Reply.SUCCEEDED, _NOWHERE, 0)))
        self._identify(finding, None)
        hearing = Hearing(
            self._plane, self._ticket, self._sock, self._listener, request, verdict, self._received, offers
        )
        hearing.start(self._codec.trailing_data())

    def _find_out(self) -> None:
        """The verdict hangs on whose request it is."""
        self._mask = _ASKING
        if self._plane.whose is not None:
            self._plane.whose(self._ticket.conn, self._sock, self._found_out)
        else:
            self._found_out(None, Sought.ENDED)

    def _found_out(self, process: Process | None, sought: Sought) -> None:
        if self._mask < 0 and self._request is not None:  # else aborted meanwhile
            unwatched, self._mask = self._mask == _UNWATCHED, IN
            if unwatched:
                self._plane.poller.register(self._sock.fileno(), IN, self.on_client)
            self._decide(self._request, process, sought)

    def _unwatch(self) -> None:
        """Whatever it says before its program is known, its end too, is looked at after that.

        Two system calls, which nearly no client causes: they wait for their reply.
        """
        self._plane.poller.unwatch(self._sock.fileno())
        self._mask = _UNWATCHED

    def _seek(self) -> None:
        """Tell, before the event that may be a finding, that its program is being looked up."""
        if self._plane.identify is not None:
            self._plane.publish(ProcessSought(time.time(), self._ticket.conn))

    def _identify(self, finding: bool, then: Callable[[], None] | None) -> None:
        """Look up whose connection this is, if it is worth a finding; `then` runs in any case."""
        if finding and self._plane.identify is not None:
            self._plane.identify(self._ticket.conn, self._sock, then)
        elif then is not None:
            then()

    def _forward(self, request: Request, verdict: Verdict) -> None:
        plane = self._plane
        address = plane.upstream
        if address is None:
            return self.upstream_failed("no_upstream")
        self._leg = leg_of(plane, address, request, verdict, self._ticket.peer, self)
        self._leg.start()
        return None

    def upstream_answered(self, answer: Answer, early: bytes, sock: Socket) -> None:
        """The upstream's reply: pass it on as it came, and the stream behind it if there is one."""
        request, plane, ticket = self._request, self._plane, self._ticket
        assert request is not None
        self._leg = None
        if answer.reply == Reply.SUCCEEDED and request.command is Command.CONNECT:
            return self._relay(self._codec.reply(answer) + early, sock)
        plane.poller.forget(sock.fileno())
        sock.close()
        now = time.time()
        plane.bench.answered(request, ticket.peer, answer, now, self._verdict.decision.host)
        plane.publish(UpstreamAnswered(now, ticket.conn, ticket.peer, request, answer))
        self._send(self._codec.reply(answer))
        return self._close("answered" if answer.reply == Reply.SUCCEEDED else "upstream_refused")

    def upstream_failed(self, error: str) -> None:
        """The upstream cannot be used: say so, fail closed."""
        self._leg = None
        self._plane.upstream_failed(error, conn=self._ticket.conn)
        self._refuse(Reply.GENERAL_FAILURE, "upstream_failed")

    def _relay(self, reply: bytes, upstream: Socket) -> None:
        up = Direction(self._sock, upstream, CLIENT, 0, self._codec.trailing_data())
        down = Direction(upstream, self._sock, UPSTREAM, self._received, reply)
        if self._verdict.exposure in _WORTH_HEARING:
            up.overhear = Overhearing(self._plane, self._ticket.conn).hear
        Tunnel(self._plane, self._ticket, up, down).start(self._mask)

    def _refuse(self, reply: Reply, reason: str) -> None:
        self._send(self._codec.refuse(reply))
        self._close(reason)

    def _send(self, data: bytes) -> None:
        """Send part of the handshake: far less than an empty socket buffer holds, so it fits or the client is gone."""
        if data:
            try:
                self._received += self._sock.send(data, _DONTWAIT)
            except OSError:  # gone, or the kernel has no room: half of an answer must not be taken for a whole one
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)  # the poll set says so next

    def _settle(self) -> None:
        """The handshake is over, one way or the other."""
        self._stop_clock()
        self._plane.quota.established()

    def _stop_clock(self) -> None:
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None

    def _close(self, reason: str) -> None:
        if self._sock.fileno() < 0:  # at the end of the process its leg may have ended it already
            return
        if self._leg is not None:
            self._leg.close()
        if self._request is None:
            self._settle()
        self._plane.poller.forget(self._sock.fileno())
        self._sock.close()
        self._ticket.end(0, self._received, reason)
