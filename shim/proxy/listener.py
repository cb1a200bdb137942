"""Accepts connections on one address and starts a session for each, within the limits.

Reads and writes nothing itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
import time
from _socket import socket as Socket
from collections.abc import Callable
from functools import partial

from shim.address import Address
from shim.errors import ListenError
from shim.events import ConnectionRefused, ListenerPaused
from shim.model import Peer, Process, Sought
from shim.protocol import ServerCodec
from shim.proxy.keepalive import keep_alive
from shim.proxy.pacing import unpace
from shim.proxy.plane import Plane, Ticket
from shim.proxy.poller import IN
from shim.proxy.session import Session

BACKLOG = 4096
ACCEPTS = 64
"""Connections taken in a row before other sockets get their turn."""

REST_S = 0.25
"""How long a listener rests when descriptors have run out; without it the poll set would spin."""

HURRY_S = 1.0
"""How long a handshake may take once a limit is reached: who dawdles then makes way for who comes."""

CLEAR_EVERY_S = 0.25
"""How often those are looked for, which takes a look at everyone."""

_STREAM = int(socket.SOCK_STREAM)
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """One listening socket of the data plane."""

    __slots__ = ("_accept", "_codec", "_family", "_plane", "_resting", "_sock", "address")

    def __init__(self, plane: Plane, sock: socket.socket, codec: Callable[[], ServerCodec]) -> None:
        self._plane = plane
        self._sock = sock
        # What socket.accept() calls, without its looking up the family's and the type's names for every connection.
        self._accept: Callable[[], tuple[int, object]] = sock._accept  # type: ignore[attr-defined]
        self._family = int(sock.family)
        self._codec = codec
        self._resting = False
        self.address = str(bound_address(sock))

    def start(self) -> None:
        """Accept from now on."""
        self._plane.poller.register(self._sock.fileno(), IN, self.on_connection)

    def on_connection(self, _events: int) -> None:
        """Somebody connected."""
        for _ in range(ACCEPTS):
            try:
                fd, name = self._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._rest(errno.errorcode[error.errno or 0])
                    return
                continue  # the client has gone again before it was taken: ECONNABORTED and its like
            if not self._admit(Socket(self._family, _STREAM, 0, fd), name):
                return

    def expire(self) -> None:
        """Rested."""
        if self._resting:
            self._resting = False
            self._plane.poller.modify(self._sock.fileno(), IN)

    def abort(self, reason: str) -> None:
        """A bug while accepting must not end the listener: it goes on after a rest."""
        self._rest(reason)

    def close(self) -> None:
        """Stop listening; a unix socket's file goes too."""
        self._resting = False
        # Workers share a unix socket: while another process holds it, close(2) leaves it in this poll set.
        self._plane.poller.unwatch(self._sock.fileno())
        self._plane.poller.forget(self._sock.fileno())
        close_listener(self._sock)

    def _admit(self, sock: Socket, name: object) -> bool:
        """Start a session or refuse one. False when the listener rests after that."""
        plane = self._plane
        peer = _peer(sock, name)
        ticket = Ticket(plane, peer)
        limit = plane.quota.admit(ticket.key)
        if limit is not None:
            self._make_room(ticket.started)
            limit = plane.quota.exceeded(ticket.key)
        if limit is not None:
            self._refuse(ticket, limit)
            sock.close()
            plane.quota.established()
            ticket.end(0, 0, "limit")
            return True
        begun = self._begin(Session(plane, ticket, sock, self._codec(), self.address))
        if begun and plane.whose is not None and plane.quota.is_pressed(ticket.key):
            plane.whose(ticket.conn, sock, partial(self._weigh, ticket, sock.fileno()))
        return begun

    def _weigh(self, ticket: Ticket, fd: int, process: Process | None, _sought: Sought) -> None:
        """Half is taken: count the connection with its program once that is known, and end it if that has too many.

        Those of a client whose program cannot be told count as one: nobody is spared for being hard to find.
        """
        if ticket.ended:
            return
        program = ticket.key if process is None else (process.pid, process.start)
        limit = self._plane.quota.admit_program(program)
        if limit is None:
            ticket.program = program
            return
        if (owner := self._plane.poller.owner(fd)) is not None:
            self._refuse(ticket, limit)
            owner.abort("limit")

    def _refuse(self, ticket: Ticket, limit: str) -> None:
        self._plane.publish(ConnectionRefused(time.time(), ticket.conn, ticket.peer, limit))

    def _begin(self, session: Session) -> bool:
        try:
            session.start()
        except OSError as error:  # the poll set cannot take any more
            session.abort("limit")
            self._rest(errno.errorcode[error.errno or 0])
            return False
        return True

    def _make_room(self, now: float) -> None:
        """End the handshakes that have taken long, so that a crowd which only waits keeps nobody out."""
        plane = self._plane
        if now < plane.quota.cleared_at + CLEAR_EVERY_S:
            return
        plane.quota.cleared_at = now
        for owner in plane.poller.owners():
            if isinstance(owner, Session) and owner.dawdles(now - HURRY_S):
                owner.expire()

    def _rest(self, error: str) -> None:
        self._resting = True
        self._plane.poller.modify(self._sock.fileno(), 0)
        self._plane.wheel.add(self, REST_S)
        self._plane.publish(ListenerPaused(time.time(), self.address, error))


def _peer(sock: Socket, name: object) -> Peer:
    if isinstance(name, tuple):
        return Peer(name[0], name[1])
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return Peer("unix", 0, struct.unpack("3i", credentials)[1])


def bind(address: Address, *, mode: int = 0o600, shared: bool = False) -> socket.socket:
    """A non-blocking listening socket. `shared`: other processes bind the same port (SO_REUSEPORT). ListenError."""
    try:
        return _bind_unix(address.path, mode) if address.is_unix else _bind_tcp(address, shared)
    except OSError as error:
        raise ListenError(address, error) from None


def _bind_tcp(address: Address, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Inherited by every accepted socket: system calls here instead of some for each connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        (unpace if address.is_loopback else keep_alive)(sock)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: str, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_dead_socket(path)
        umask = os.umask(0o777 & ~mode)
        try:
            sock.bind(path)
        finally:
            os.umask(umask)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_dead_socket(path: str) -> None:
    """Take away a socket file that nobody listens on any more; anything else stays and makes bind(2) fail."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def close_listener(sock: socket.socket) -> None:
    """Close a listening socket and remove its file, if it has one."""
    address = bound_address(sock)
    sock.close()
    if address.is_unix:
        with contextlib.suppress(OSError):
            os.unlink(address.path)


def bound_address(sock: socket.socket) -> Address:
    """What a socket is bound to, the port that was chosen for 0 included."""
    name = sock.getsockname()
    return Address(path=name) if isinstance(name, str) else Address(host=name[0], port=name[1])
