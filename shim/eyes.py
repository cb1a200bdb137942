"""What the data plane and the sensor see of the witness: who is behind a connection, and who asked a query.

Joins two parts of one floor that must not know each other; decides nothing.
"""

from __future__ import annotations

from _socket import socket
from collections.abc import Callable, Iterable

from shim.address import Address
from shim.model import Peer, Process, Sought
from shim.witness.attributor import REPLY_HOLD_S, TIMEOUT_S, Attributor
from shim.witness.clues import Clue, Endpoint, Flow, of_connection
from shim.witness.looking import BUSY, GONE, OTHER_NAMESPACE, TIMEOUT, Sighting

_ELSEWHERE = (GONE, OTHER_NAMESPACE)
"""Why there is no socket between two ends: perhaps because one of them is not the right one."""

Seen = tuple[Process | None, str | None]
"""The process, or the reason why there is none."""


class Eyes:
    """One attributor, asked in the words of those who need it."""

    def __init__(self, attributor: Attributor) -> None:
        self._attributor = attributor

    def connection(self, conn: str, sock: socket, then: Callable[[], None] | None) -> None:
        """Look up who is behind a connection; `then` runs once that is known, or has taken too long."""
        self._attributor.identify(conn, of_connection(sock), None if then is None else lambda _sighting: then())

    def holder(self, conn: str, sock: socket) -> Process | None:
        """Who is behind a connection, if that can be said at once. If not, it is looked up for the next one."""
        clue = of_connection(sock)
        sighting = self._attributor.try_now(clue)
        if sighting is None:
            self._attributor.identify(conn, clue)
            return None
        return sighting.process

    def owner(self, conn: str, sock: socket, then: Callable[[Process | None, Sought], None]) -> None:
        """The same where everything hangs on the answer, so that it is waited for as long as it may come."""
        self._attributor.identify(
            conn, of_connection(sock), lambda sighting: then(sighting.process, _sought(sighting)), within_s=TIMEOUT_S
        )

    def client_of_tor(self, stream: str, source: str, transport: str, listeners: Iterable[Address]) -> None:
        """Look up who has asked Tor from `source`, HOST:PORT: by the one of Tor's listeners that it is connected to."""
        client, clue = _endpoint(source), None
        for listener in listeners:
            server = Endpoint(client.host if listener.is_unspecified else listener.host, listener.port)
            clue = Flow("udp" if transport == "udp" else "tcp", client, server, query=transport == "udp")
            seen = self._attributor.try_now(clue)
            if seen is None or seen.reason not in _ELSEWHERE:
                break
        self._attributor.identify(stream, clue)

    def glance(self, peer: Peer, listener: str, transport: str) -> Seen | None:
        """Who asked this query, if that can be said at once."""
        sighting = self._attributor.try_now(_clue(peer, listener, transport))
        return None if sighting is None else _seen(sighting)

    def look(self, query: str, peer: Peer, listener: str, transport: str, then: Callable[[Seen], None]) -> None:
        """The same with a search, which the reply waits for."""
        clue = _clue(peer, listener, transport)
        self._attributor.identify(query, clue, lambda sighting: then(_seen(sighting)), within_s=REPLY_HOLD_S)


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host.strip("[]"), int(port))


def _clue(peer: Peer, listener: str, transport: str) -> Clue:
    server = Address.parse(listener)
    over = "tcp" if transport == "tcp" else "udp"
    return Flow(over, Endpoint(peer.host, peer.port), Endpoint(server.host, server.port), query=True)  # type: ignore[arg-type]


def _sought(sighting: Sighting) -> Sought:
    return Sought.LATE if sighting.reason in (TIMEOUT, BUSY) else Sought.ENDED


def _seen(sighting: Sighting) -> Seen:
    return sighting.process, None if sighting.process is not None else sighting.reason
