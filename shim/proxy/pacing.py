"""Keeps the kernel from pacing what never leaves this machine.

Where BBR is the system's default, each segment waits for a timer of its own, so that a slow link's queue stays short.
Loopback has no such queue. For sockets there only: whoever calls this knows where they lead.
"""

from __future__ import annotations

import socket
from _socket import socket as Socket
from functools import cache

_PACING = b"bbr"
"""How the names of those begin that pace by themselves: bbr, bbr2, bbr3."""

_UNPACED = b"reno"
"""Built into every Linux, allowed to every user (tcp(7)), and without a timer. Where nothing is lost it never slows."""

_NAME_BYTES = 16


def unpace(sock: Socket) -> None:
    """See that nothing is paced on this socket, nor on those that it accepts. OSError.

    Before it is connected or listens: pacing that BBR has begun goes on under its successor (measured, Linux 6.18).
    """
    if (control := _control()) is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control)


@cache
def _control() -> bytes | None:
    """The congestion control to ask for; None: leave the system's."""
    return _UNPACED if _default().startswith(_PACING) else None


def _default() -> bytes:
    """The congestion control that new sockets get; empty on systems whose sockets cannot be asked."""
    if not hasattr(socket, "TCP_CONGESTION"):
        return b""
    with socket.socket() as probe:
        return probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES).rstrip(b"\0")
