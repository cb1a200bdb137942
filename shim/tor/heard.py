"""What Tor's control port says of one request, put together from the two events in which it says it.

Reads no socket, and does not know whose request it is.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, NamedTuple

from shim.model import Command, endpoint

_PROTOCOLS: Final = {"SOCKS4": "socks4", "SOCKS5": "socks5", "HTTPCONNECT": "http", "DNS": "dns"}
_OTHER: Final = "tcp"
"""What is redirected to Tor by a firewall, and what a Tor before 0.4.5 does not tell."""

_NEW: Final = {"NEW": Command.CONNECT, "NEWRESOLVE": Command.RESOLVE}
OPENING: Final = frozenset(_NEW)
"""The states of a STREAM event by which Tor tells of a new one."""


class Asked(NamedTuple):
    """One request to Tor. `source` is HOST:PORT, unix:PATH of Tor's listener, or None where Tor tells none."""

    source: str | None
    protocol: str
    command: Command
    destination: str
    dangerous: bool = False
    refused: bool = False


class Heard:
    """Joins the events of one control connection: a warning (DANGEROUS_SOCKS) and the STREAM that it belongs to.

    Tor writes the second right behind the first, unless SafeSocks has refused the request: then there is no new
    stream, and whatever comes next says so (measured: tor 0.4.9.11).
    """

    __slots__ = ("_warned",)

    def __init__(self) -> None:
        self._warned: Asked | None = None

    def warned(self, protocol: str, destination: str) -> list[Asked]:
        """DANGEROUS_SOCKS: what was refused before it."""
        before = self.other()
        command = Command.RESOLVE if destination.endswith(":0") else Command.CONNECT
        self._warned = Asked(None, _PROTOCOLS.get(protocol, _OTHER), command, destination, True, True)
        return before

    def stream(self, state: str, destination: str, source: str, protocol: str) -> list[Asked]:
        """A STREAM event of one of the states `OPENING`. Tor's own streams come from nowhere and are not told."""
        warned, self._warned = self._warned, None
        dangerous = warned is not None and warned.destination == destination
        told = [] if warned is None or dangerous else [warned]
        origin = _origin(source)
        if origin is not None:
            told.append(Asked(origin, _PROTOCOLS.get(protocol, _OTHER), _NEW[state], destination, dangerous))
        return told

    def other(self) -> list[Asked]:
        """Any other event: what was warned of last has been refused."""
        warned, self._warned = self._warned, None
        return [] if warned is None else [warned]


def _origin(source: str) -> str | None:
    """SOURCE_ADDR: an address of either family without brackets, or the path of Tor's own socket, with a port."""
    host, _, port = source.rpartition(":")
    if host.startswith("/"):
        return f"unix:{host}"
    try:
        return endpoint(ip_address(host.strip("[]")), int(port))
    except ValueError:
        return None
