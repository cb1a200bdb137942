"""What a look-up starts from: the two ends of a connection or datagram, or the pid behind a unix socket.

Asks the socket itself and nobody else.
"""

from __future__ import annotations

import socket
import struct
import time
from _socket import socket as Socket
from typing import Final, Literal, NamedTuple

from shim.value import value

_PEER_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Endpoint(NamedTuple):
    """An IP address, perhaps with a zone (`fe80::1%eth0`), and a port."""

    host: str
    port: int


@value
class Flow:
    """A TCP connection to us, or a datagram. `server` is our end; a wildcard if that is all we know.

    `query` says that it carries a DNS query: then a shared resolver is no answer to who asked.
    """

    transport: Literal["tcp", "udp"]
    client: Endpoint
    server: Endpoint
    query: bool = False


@value
class LocalPeer:
    """The other end of a unix socket, as SO_PEERCRED named it. `at` is CLOCK_BOOTTIME when it was asked."""

    pid: int
    uid: int
    at: float


Clue = Flow | LocalPeer


def of_connection(sock: Socket, *, query: bool = False) -> Clue | None:
    """What an accepted connection tells; None when it has broken already."""
    try:
        if sock.family == socket.AF_UNIX:
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
            pid, uid, _ = _PEER_CREDENTIALS.unpack(raw)
            return LocalPeer(pid, uid, time.clock_gettime(time.CLOCK_BOOTTIME))
        client, server = sock.getpeername(), sock.getsockname()
    except OSError:
        return None
    return Flow("tcp", Endpoint(*client[:2]), Endpoint(*server[:2]), query)


def of_datagram(client: tuple[str, int], server: tuple[str, int]) -> Flow:
    """What the two addresses of a DNS query by UDP tell."""
    return Flow("udp", Endpoint(*client), Endpoint(*server), query=True)
