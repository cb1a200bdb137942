"""How many connections there are: in all, of each client, and still in their handshake."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds (numbers of connections) and deadlines (seconds; of `idle_timeout_s`, 0 = none)."""

    connections: int = 16384
    connections_per_client: int = 4096
    handshakes: int = 4096
    handshake_timeout_s: float = 10.0
    connect_timeout_s: float = 10.0
    reply_timeout_s: float = 120.0
    idle_timeout_s: float = 0.0


class Quota:
    """Counts connections against `limits`, which may be replaced while running."""

    __slots__ = ("_clients", "cleared_at", "handshakes", "limits", "open")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open = 0
        self.handshakes = 0
        self.cleared_at = -math.inf
        """When the handshakes that took long were last ended to make room, in seconds of the monotonic clock."""
        self._clients: dict[str, int] = {}

    def admit(self, client: str) -> str | None:
        """Count a new connection in its handshake. The name of the limit that it exceeds, else None.

        It is counted in either case: `leave` must follow.
        """
        self._clients[client] = self._clients.get(client, 0) + 1
        self.open += 1
        self.handshakes += 1
        return self.exceeded(client)

    def exceeded(self, client: str) -> str | None:
        """The name of the limit that this client, who is counted, exceeds at present, else None."""
        limits = self.limits
        if self.open > limits.connections:
            return "connections"
        if self._clients[client] > limits.connections_per_client:
            return "connections_per_client"
        if self.handshakes > limits.handshakes:
            return "handshakes"
        return None

    def established(self) -> None:
        """One handshake is over."""
        self.handshakes -= 1

    def leave(self, client: str) -> None:
        """One connection has ended."""
        self.open -= 1
        count = self._clients[client] - 1
        if count:
            self._clients[client] = count
        else:
            del self._clients[client]
