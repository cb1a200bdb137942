"""All DNS listeners of this process, as the jobs that serve them."""

from __future__ import annotations

import socket
from collections.abc import Coroutine, Iterator, Sequence

from shim.model import endpoint
from shim.sensor.responder import Responder
from shim.sensor.tcp import TcpListener
from shim.sensor.udp import UdpListener

Pair = tuple[socket.socket, socket.socket]
"""The UDP and the TCP socket of one address."""


def address_of(pair: Pair) -> str:
    """HOST:PORT or [V6]:PORT, the port that was chosen for 0 included."""
    host, port = pair[0].getsockname()[:2]
    return endpoint(host, port)


def jobs(pairs: Sequence[Pair], responder: Responder) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
    """What has to run for the sensor to answer, each with a name; cancel them to close the sockets."""
    yield "dns unanswered", responder.unanswered.tell()
    yield "dns unsent", responder.unsent.tell()
    for pair in pairs:
        address = address_of(pair)
        yield f"dns udp {address}", UdpListener(pair[0], address, responder).run()
        yield f"dns tcp {address}", TcpListener(pair[1], address, responder).run()
