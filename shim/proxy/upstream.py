"""The upstream leg of one connection: connect, one SOCKS5 handshake, its answer. Never connects anywhere else.

The greeting and the request go out in one write right after connect(2) began, even while it is still in progress:
on loopback it is done by then (measured), which saves waiting for writability.
"""

from __future__ import annotations

import errno
import socket
from _socket import socket as Socket
from typing import Protocol

from shim.address import Address
from shim.errors import UpstreamError, system_code
from shim.model import Answer, Peer, Request, Verdict
from shim.protocol.socks_client import SocksClient
from shim.proxy.keepalive import keep_alive
from shim.proxy.pacing import unpace
from shim.proxy.plane import Plane
from shim.proxy.poller import BROKEN, IN, OUT
from shim.proxy.wheel import TICK_S, Slot

_DONTWAIT = socket.MSG_DONTWAIT
_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
_TCP, _NODELAY = socket.IPPROTO_TCP, socket.TCP_NODELAY
_REPLY_BYTES = 4096
"""One read of a reply; what the destination sent behind it comes along and is kept."""

_CONNECTING = (0, errno.EINPROGRESS)
_NOT_CONNECTED_YET = (errno.EAGAIN, errno.ENOTCONN)
"""What send(2) says while connect(2) is in progress: Linux the first, the BSDs the second."""


class Waiting(Protocol):
    """Who asked for the leg."""

    def upstream_answered(self, answer: Answer, early: bytes, sock: Socket) -> None: ...

    def upstream_failed(self, error: str) -> None: ...


class UpstreamLeg:
    """From connect to answer; then the socket belongs to whoever asked."""

    __slots__ = ("_address", "_codec", "_outbox", "_owner", "_plane", "_request", "_retries", "_slot", "sock")

    def __init__(self, plane: Plane, address: Address, request: Request, codec: SocksClient, owner: Waiting) -> None:
        """`codec` makes `request`."""
        self._plane = plane
        self._address = address
        self._request = request
        self._codec = codec
        self._outbox = codec.data_to_send()
        self._owner: Waiting | None = owner
        self._retries = plane.quota.limits.connect_timeout_s / TICK_S
        self._slot: Slot | None = None
        self.sock: Socket | None = None

    def start(self) -> None:
        """Connect and send. Fails by `owner.upstream_failed(code)`, now or later, exactly once."""
        address = self._address
        try:
            self.sock = sock = _new_socket(address)
        except OSError as error:
            return self._fail(_code(error))
        result = sock.connect_ex(address.path or (address.host, address.port))
        if result == errno.EAGAIN:
            return self._wait_for_backlog()
        if result not in _CONNECTING:
            return self._fail(_code(OSError(result, "")))
        if self._plane.opened is not None:  # before Tor can tell of it
            self._plane.opened(sock, address, self._request)
        limits = self._plane.quota.limits
        try:
            sent = self._send()
        except OSError as error:
            return self._fail(_code(error))
        try:
            self._plane.poller.register(sock.fileno(), IN if sent else IN | OUT, self.on_upstream)
        except OSError as error:  # the poll set cannot take any more
            return self._fail(_code(error))
        self._slot = self._plane.wheel.add(self, limits.reply_timeout_s if sent else limits.connect_timeout_s)
        return None

    def on_upstream(self, events: int) -> None:
        """The upstream's socket is ready: connected, or it has sent something."""
        if self._outbox:
            self._connected()
        elif events & (IN | BROKEN):
            self._receive()

    def expire(self) -> None:
        """The deadline of the present stage has passed."""
        self._slot = None
        if self.sock is None:
            self.start()
        else:
            self._fail("connect_timeout" if self._outbox else "reply_timeout")

    def abort(self, reason: str) -> None:
        """A bug in here is as good as a failed upstream."""
        self._fail(reason)

    def close(self) -> None:
        """Give up: the client is gone, and hears no more from here."""
        self._owner = None
        self._stop_clock()
        if self.sock is not None:
            self._plane.poller.forget(self.sock.fileno())
            self.sock.close()
            self.sock = None

    def _wait_for_backlog(self) -> None:
        """A unix listener's backlog is full. That is no connection in progress: connect again at the next tick."""
        assert self.sock is not None
        self.sock.close()
        self.sock = None
        self._retries -= 1
        if self._retries <= 0:
            return self._fail("connect_timeout")
        self._slot = self._plane.wheel.add(self, 0)
        return None

    def _connected(self) -> None:
        assert self.sock is not None
        try:
            sent = self._send()
        except OSError as error:
            return self._fail(_code(error))
        if sent:
            self._plane.poller.modify(self.sock.fileno(), IN)
            self._stop_clock()
            self._slot = self._plane.wheel.add(self, self._plane.quota.limits.reply_timeout_s)
        return None

    def _send(self) -> bool:
        """Send what the handshake owes. False while the connection is still being made; OSError if it cannot be.

        The kernel tells why only once, and to this call: asked for SO_ERROR later, it knows nothing any more.
        """
        assert self.sock is not None
        try:
            # At most 1 KiB into an empty socket buffer: it goes whole or not at all.
            self.sock.send(self._outbox, _DONTWAIT)
        except OSError as error:
            if error.errno in _NOT_CONNECTED_YET:
                return False
            raise
        self._outbox = b""
        return True

    def _receive(self) -> None:
        assert self.sock is not None
        codec = self._codec
        try:
            data = self.sock.recv(_REPLY_BYTES, _DONTWAIT)
            if not data:
                codec.receive_eof()
            answer = codec.receive_data(data)
            self._outbox = codec.data_to_send()
            if self._outbox:
                if answer is not None:  # to what it has not been asked yet
                    raise UpstreamError("malformed_reply")
                self._send()
        except BlockingIOError:
            return None
        except OSError as error:
            return self._fail(_code(error))
        except UpstreamError as error:
            return self._fail(error.error)
        if answer is None:
            return None
        self._stop_clock()
        assert self._owner is not None
        sock, self.sock = self.sock, None
        return self._owner.upstream_answered(answer, codec.trailing_data(), sock)

    def _fail(self, error: str) -> None:
        owner = self._owner
        self.close()
        if owner is not None:
            owner.upstream_failed(error)

    def _stop_clock(self) -> None:
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None


def leg_of(
    plane: Plane, address: Address, request: Request, verdict: Verdict, peer: Peer, owner: Waiting
) -> UpstreamLeg:
    """The leg of a request that is judged so, yet to be started: its name in its address's place, and kept apart."""
    host = verdict.decision.host
    if host is not None:
        request = Request(request.protocol, request.command, host, request.port, request.credentials)
    credentials = request.credentials or plane.bench.credentials(request, peer, verdict.isolate)
    return UpstreamLeg(plane, address, request, SocksClient(request, credentials, pipelining=plane.pipelining), owner)


def _new_socket(address: Address) -> Socket:
    if address.path:
        return Socket(socket.AF_UNIX, _STREAM)
    sock = Socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, _STREAM)
    sock.setsockopt(_TCP, _NODELAY, 1)
    (unpace if address.is_loopback else keep_alive)(sock)
    return sock


def _code(error: OSError) -> str:
    """A short code for the log: connection_refused, no_such_file, …"""
    return _CODES.get(error.errno or 0) or system_code(error)


_CODES = {
    errno.ECONNREFUSED: "connection_refused",
    errno.ENOENT: "no_such_socket",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.ECONNRESET: "connection_reset",
    errno.EPIPE: "connection_reset",
    errno.EMFILE: "too_many_open_files",
    errno.ENFILE: "too_many_open_files",
    errno.ENETUNREACH: "network_unreachable",
    errno.EHOSTUNREACH: "host_unreachable",
    errno.ETIMEDOUT: "connect_timeout",
}
