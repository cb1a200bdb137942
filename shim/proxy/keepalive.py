"""Notices that the machine or the link at the other end of a TCP connection has gone without a word.

For other machines only: on loopback nobody can go like that, and a connection there is to cost no system call more.
"""

from __future__ import annotations

import socket
from _socket import socket as Socket
from typing import Final

_OPTIONS: Final = [
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)
]
"""Seconds, seconds, times: two minutes."""


def keep_alive(sock: Socket) -> None:
    """Ask now and then, while nothing comes. What a listening socket has, those that it takes have as well."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _OPTIONS:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
