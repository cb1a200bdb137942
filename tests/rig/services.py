"""What stands behind the destinations of the rig's upstream, chosen by the first label of the name.

Each function owns one granted stream until it returns; none opens a socket.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

BANNER = b"220 ready\r\n"


@dataclass
class Seen:
    """One request as it came; `received` is what the service read after the reply."""

    command: int
    atyp: int
    host: str
    port: int
    username: bytes | None
    password: bytes | None
    received: bytes = b""
    ended: threading.Event = field(default_factory=threading.Event)


Service = Callable[[socket.socket, Seen], None]


def page(sock: socket.socket, seen: Seen) -> None:
    """One HTTP page that names the host as it was asked for here."""
    while b"\r\n\r\n" not in seen.received:
        piece = sock.recv(1 << 16)
        if not piece:
            return
        seen.received += piece
    body = f"<!doctype html><title>{seen.host}</title><p>reached {seen.host}".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    sock.sendall(head.encode() + body)


def echo(sock: socket.socket, seen: Seen) -> None:
    """Everything back, until the client ends."""
    while piece := sock.recv(1 << 16):
        sock.sendall(piece)


def digest(sock: socket.socket, seen: Seen) -> None:
    """Count and hash of what came, said only after the client has ended its direction."""
    count, hashed = 0, hashlib.sha256()
    while piece := sock.recv(1 << 16):
        count += len(piece)
        hashed.update(piece)
    sock.sendall(f"{count} {hashed.hexdigest()}".encode())


def banner(sock: socket.socket, seen: Seen) -> None:
    """Has spoken already, together with its reply; echoes from here on."""
    echo(sock, seen)


def hangup(sock: socket.socket, seen: Seen) -> None:
    """Ends its own direction at once and keeps on reading."""
    sock.sendall(b"bye")
    sock.shutdown(socket.SHUT_WR)
    while piece := sock.recv(1 << 16):
        seen.received += piece


def reset(sock: socket.socket, seen: Seen) -> None:
    """Waits for a byte, then sends RST."""
    seen.received += sock.recv(1 << 16)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def service_of(host: str) -> Service:
    """The service a name stands for; a page, if no other."""
    return _BY_LABEL.get(host.partition(".")[0], page)


_BY_LABEL: dict[str, Service] = {
    "echo": echo,
    "digest": digest,
    "banner": banner,
    "hangup": hangup,
    "reset": reset,
}
