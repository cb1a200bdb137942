"""A SOCKS5 server of the tests' own: it plays Tor, records what it was asked, and misbehaves when told to.

Resolves no name and connects nowhere: every `*.test` name and a few addresses are services inside this file.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Literal, Self

from rig.services import BANNER, Seen, banner, service_of
from rig.waiting import PATIENCE_S

ADDRESSES = tuple(ip_network(net) for net in ("93.184.216.0/24", "198.51.100.0/24", "2001:db8::/32"))
RESOLVED = {"page.test": "93.184.216.34", "six.test": "2001:db8::34"}
REVERSED = {"93.184.216.34": "page.test"}

Stage = Literal["accept", "method", "reply"]


@dataclass(frozen=True)
class Behaviour:
    """How a request is treated; the default is: well.

    `stop_at` ends the good behaviour at a stage: `say` is sent, then the connection is closed, or held open.
    """

    reply: int = 0
    delay_s: float = 0.0
    drip: bool = False
    stop_at: Stage | None = None
    say: bytes = b""
    hold: bool = False


class Upstream:
    """The server, on a free loopback port and, when asked, on a unix socket too."""

    def __init__(self, unix: Path | None = None, port: int = 0) -> None:
        self.behaviour = Behaviour()
        self.behave: dict[str, Behaviour] = {}
        self.seen: list[Seen] = []
        self.accepted = 0
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listeners: list[socket.socket] = []
        self._unix, self._port = unix, port
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self._port}"

    @property
    def unix(self) -> str:
        """unix:PATH."""
        return f"unix:{self._unix}"

    def start(self) -> None:
        """Listen; after `stop`, on the same addresses as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self._listeners = [listener]
        if self._unix:
            self._unix.unlink(missing_ok=True)
            self._listeners.append(socket.socket(socket.AF_UNIX))
            self._listeners[-1].bind(str(self._unix))
        for sock in self._listeners:
            sock.listen(512)
            self._spawn(self._accept, sock)

    def stop(self) -> None:
        """Be gone: listeners and connections closed at once, threads ended."""
        with self._changed:
            doomed, self._listeners = [*self._listeners, *self._open], []
        for sock in doomed:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self._threads.clear()

    def wait_for(self, host: str, timeout_s: float = PATIENCE_S) -> Seen:
        """The last request for `host`, waiting until there is one."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked_for(host), timeout_s), f"upstream never saw {host}"
            return self.asked_for(host)[-1]

    def asked_for(self, host: str) -> list[Seen]:
        """All requests for `host` so far."""
        return [seen for seen in self.seen if seen.host == host]

    def _spawn(self, target: Callable[[socket.socket], None], sock: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(sock,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener, contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with self._changed:
                    if not self._listeners:
                        sock.close()
                        return
                    self.accepted += 1
                    self._open.add(sock)
                self._spawn(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError, EOFError):
            self._session(sock)
        with self._changed:
            self._open.discard(sock)

    def _session(self, sock: socket.socket) -> None:
        credentials = None
        if self._stops(sock, "accept", self.behaviour):
            return
        methods = _read(sock, _read(sock, 2)[1])
        if self._stops(sock, "method", self.behaviour):
            return
        if 2 in methods:
            sock.sendall(b"\x05\x02")
            username = _read(sock, _read(sock, 2)[1])
            credentials = username, _read(sock, _read(sock, 1)[0])
            sock.sendall(b"\x01\x00")
        else:
            sock.sendall(b"\x05\x00")
        seen = self._record(_request(sock, credentials))
        try:
            self._answer(sock, seen, self.behave.get(seen.host, self.behaviour))
        finally:
            seen.ended.set()

    def _record(self, seen: Seen) -> Seen:
        with self._changed:
            self.seen.append(seen)
            self._changed.notify_all()
        return seen

    def _stops(self, sock: socket.socket, stage: Stage, behaviour: Behaviour) -> bool:
        if behaviour.stop_at != stage:
            return False
        sock.sendall(behaviour.say)
        while behaviour.hold and sock.recv(1 << 16):
            pass
        return True

    def _answer(self, sock: socket.socket, seen: Seen, behaviour: Behaviour) -> None:
        time.sleep(behaviour.delay_s)
        if self._stops(sock, "reply", behaviour):
            return
        reply, bound = behaviour.reply, b"\x01" + bytes(6)
        if not reply:
            reply, bound = _outcome(seen)
        message = bytes((5, reply, 0)) + bound
        service = service_of(seen.host)
        if service is banner and not reply:
            message += BANNER  # in one segment with the reply: the hardest case for whoever reads it
        if behaviour.drip:
            _drip(sock, message[:-1])
            message = message[-1:]
        sock.sendall(message)
        if not reply and seen.command == 1:
            service(sock, seen)


def _drip(sock: socket.socket, message: bytes) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in message:
        sock.sendall(bytes([byte]))
        time.sleep(0.003)


def _read(sock: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        piece = sock.recv(count - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got


def _request(sock: socket.socket, credentials: tuple[bytes, bytes] | None) -> Seen:
    _, command, _, atyp = _read(sock, 4)
    raw = _read(sock, {1: 4, 4: 16}.get(atyp) or _read(sock, 1)[0])
    host = raw.decode("latin-1") if atyp == 3 else _text(raw)
    username, password = credentials or (None, None)
    return Seen(command, atyp, host, int.from_bytes(_read(sock, 2), "big"), username, password)


def _text(raw: bytes) -> str:
    """An address as tor prints it: Python before 3.13 writes the mapped ones in hexadecimal."""
    address = ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return f"::ffff:{mapped}" if mapped else str(address)


def _outcome(seen: Seen) -> tuple[int, bytes]:
    """REP and BND of a well-behaved answer: a fixed table, and 04 for what is in none."""
    nothing = b"\x01" + bytes(6)
    if seen.command == 0xF0:
        found = RESOLVED.get(seen.host) if seen.atyp == 3 else seen.host
        return (0, _bound(found)) if found else (4, nothing)
    if seen.command == 0xF1:
        name = REVERSED.get(seen.host, "").encode()
        return (0, b"\x03" + bytes([len(name)]) + name + b"\0\0") if name else (4, nothing)
    return (0 if _serves(seen.host) else 4), nothing


def _bound(found: str) -> bytes:
    packed = ip_address(found).packed
    return (b"\x01" if len(packed) == 4 else b"\x04") + packed + b"\0\0"


def _serves(host: str) -> bool:
    if host.endswith(".test"):
        return True
    try:
        return any(ip_address(host.strip("[]")) in net for net in ADDRESSES)
    except ValueError:
        return False
