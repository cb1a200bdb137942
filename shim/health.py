"""Asks a SOCKS5 port whether anybody is at home: a greeting, and no request.

Starts nothing, and imports little: a container runs this every few seconds.
"""

from __future__ import annotations

import socket

from shim.address import Address

TIMEOUT_S = 3.0
GREETING = b"\x05\x01\x00"  # RFC 1928 section 3: version 5, one method, no authentication
WELCOME = b"\x05\x00"


def answers(address: Address, timeout_s: float = TIMEOUT_S) -> bool:
    """True if a SOCKS5 server takes our greeting; each step may last `timeout_s` seconds."""
    try:
        with _socket(address) as sock:
            sock.settimeout(timeout_s)
            sock.connect(address.path or (address.host, address.port))
            sock.sendall(GREETING)
            return _receive(sock, len(WELCOME)) == WELCOME
    except OSError:
        return False


def _socket(address: Address) -> socket.socket:
    if address.is_unix:
        return socket.socket(socket.AF_UNIX)
    return socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)


def _receive(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size and (more := sock.recv(size - len(received))):
        received += more
    return received
