"""What the data plane and the sensor see of the witness: who is behind a connection, and who asked a query.

Joins two parts of one floor that must not know each other; decides nothing.
"""

from __future__ import annotations

from _socket import socket
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Literal

from shim.address import Address
from shim.model import Peer, Process, Sought
from shim.sensor.askers import Seen
from shim.witness.attributor import REPLY_HOLD_S, TIMEOUT_S, Attributor
from shim.witness.clues import Clue, Endpoint, Flow, of_connection
from shim.witness.looking import BUSY, TIMEOUT, Sighting
from shim.witness.words import MAX_CLUES


class Eyes:
    """One attributor, asked in the words of those who need it."""

    def __init__(self, attributor: Attributor) -> None:
        self._attributor = attributor

    def connection(self, conn: str, sock: socket, then: Callable[[], None] | None) -> None:
        """Look up who is behind a connection; `then` runs once that is known, or has taken too long."""
        self._attributor.identify(conn, of_connection(sock), None if then is None else lambda _sighting: then())

    def owner(self, conn: str, sock: socket, then: Callable[[Process | None, Sought], None]) -> None:
        """The same where everything hangs on the answer, so that it is waited for as long as it may come."""
        self._attributor.identify(
            conn, of_connection(sock), lambda sighting: then(sighting.process, _sought(sighting)), within_s=TIMEOUT_S
        )

    def client_of_tor(self, stream: str, source: str, transport: str, listeners: Iterable[Address]) -> None:
        """Look up who has asked Tor from `source`, HOST:PORT: by the one of Tor's listeners that it is connected to."""
        client, over = _endpoint(source), _over(transport)
        hosts = ((client.host if listener.is_unspecified else listener.host, listener.port) for listener in listeners)
        clues = [Flow(over, client, Endpoint(*host), query=over == "udp") for host in islice(hosts, MAX_CLUES)]
        self._attributor.identify(stream, clues[0] if clues else None, or_else=clues[1:])

    def look(self, query: str, peer: Peer, listener: str, transport: str, then: Callable[[Seen], None]) -> None:
        """Look up who asked a query; the reply waits for it."""
        clue = _clue(peer, listener, transport)
        self._attributor.identify(query, clue, lambda sighting: then(_seen(sighting)), within_s=REPLY_HOLD_S)


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host.strip("[]"), int(port))


def _clue(peer: Peer, listener: str, transport: str) -> Clue:
    server = Address.parse(listener)
    return Flow(_over(transport), Endpoint(peer.host, peer.port), Endpoint(server.host, server.port), query=True)


def _over(transport: str) -> Literal["tcp", "udp"]:
    return "udp" if transport == "udp" else "tcp"


def _sought(sighting: Sighting) -> Sought:
    return Sought.LATE if sighting.reason in (TIMEOUT, BUSY) else Sought.ENDED


def _seen(sighting: Sighting) -> Seen:
    return sighting.process, None if sighting.process is not None else sighting.reason
