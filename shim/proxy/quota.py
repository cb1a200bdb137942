"""How many connections there are: in all, of each client, of each program under pressure, and in their handshake."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K")


Program = tuple[int, int | None] | str
"""A process: its number, and when it was started; of those that cannot be told, their client."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds (numbers of connections) and deadlines (seconds; of `idle_timeout_s`, 0 = none)."""

    connections: int = 16384
    connections_per_client: int = 8192
    handshakes: int = 4096
    connections_per_process: int = 1024
    handshake_timeout_s: float = 10.0
    connect_timeout_s: float = 10.0
    reply_timeout_s: float = 120.0
    idle_timeout_s: float = 0.0


class Quota:
    """Counts connections against `limits`, which may be replaced while running."""

    __slots__ = ("_clients", "_programs", "cleared_at", "handshakes", "limits", "open")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open = 0
        self.handshakes = 0
        self.cleared_at = -math.inf
        """When the handshakes that took long were last ended to make room, in seconds of the monotonic clock."""
        self._clients: dict[str, int] = {}
        self._programs: dict[Program, int] = {}

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

    def is_pressed(self, client: str) -> bool:
        """Whether more than half is taken of what there is for all, or for this client, who is counted.

        All programs of a machine are one client: only now are they told apart, so that none of them takes the rest.
        """
        limits = self.limits
        return 2 * self._clients[client] > limits.connections_per_client or 2 * self.open > limits.connections

    def admit_program(self, program: Program) -> str | None:
        """Count one of the connections beyond half. The name of the limit if its program has too many: not counted."""
        count = self._programs.get(program, 0)
        if count >= self.limits.connections_per_process:
            return "connections_per_process"
        self._programs[program] = count + 1
        return None

    def established(self) -> None:
        """One handshake is over."""
        self.handshakes -= 1

    def leave(self, client: str, program: Program | None = None) -> None:
        """One connection has ended; `program` if it was admitted."""
        self.open -= 1
        _take_one(self._clients, client)
        if program is not None:
            _take_one(self._programs, program)


def _take_one(counts: dict[K, int], key: K) -> None:
    count = counts[key] - 1
    if count:
        counts[key] = count
    else:
        del counts[key]
