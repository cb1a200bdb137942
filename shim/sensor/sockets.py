"""The sensor's sockets: UDP and TCP on one port, also where any free one will do."""

from __future__ import annotations

import contextlib
import socket
import sys

from shim.address import Address
from shim.errors import ListenError

_LOOPBACK = b"lo\0"

_TRIES = 16
"""How often another free port is tried: one that is free for TCP may be taken for UDP."""


def bind_both(address: Address) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on one port. ListenError."""
    tries = 1 if address.port else _TRIES
    while True:
        tries -= 1
        try:
            return _bind(address)
        except OSError as error:
            if not tries:
                raise ListenError(address, error) from None


def _bind(address: Address) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for sock in (tcp, udp) if family == socket.AF_INET6 else ():
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        tcp.bind((address.host, address.port))
        udp.bind((address.host, tcp.getsockname()[1]))
        if address.is_loopback:
            _keep_within(udp)
        tcp.listen()
    except OSError:
        tcp.close()
        udp.close()
        raise
    return udp, tcp


def _keep_within(udp: socket.socket) -> None:
    """Have a socket of loopback send to loopback alone, and for good: only CAP_NET_RAW could take that back.

    Without it, one that is bound to ::1 sends to any machine (measured on Linux 6.18).
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # before Linux 5.7 that took a privilege itself
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _LOOPBACK)
