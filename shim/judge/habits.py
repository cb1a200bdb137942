"""Whether a client gives addresses and nothing else, which one typed address is not and a local resolver is.

Sees no name and keeps none.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from shim.judge.endpoints import NAMED_PORTS
from shim.judge.hosts import number
from shim.judge.memory import MIN_AGE_S

ENOUGH = 5
"""So many addresses one after the other, and no name between them."""

MAX_CLIENTS = 4096
_NEVER = float("-inf")


@dataclass(slots=True)
class _Habit:
    """When one client last did what speaks against a local resolver, and when it gave which addresses; in seconds."""

    other_at: float = _NEVER
    addresses: dict[int, float] = field(default_factory=dict)


class Habits:
    """What each client did in the last ten minutes, told by its key; the client seen first is forgotten first."""

    __slots__ = ("_habits",)

    def __init__(self) -> None:
        self._habits: OrderedDict[str, _Habit] = OrderedDict()

    def __len__(self) -> int:
        return len(self._habits)

    def named(self, client: str, at: float) -> None:
        """It gave a name: whatever it is, names can pass through it."""
        self._of(client).other_at = at

    def only_addresses(self, client: str, address: IPv4Address | IPv6Address, port: int, at: float) -> bool:
        """It gave an address. True once it has given ENOUGH of them, and nothing else.

        A port where programs meet their peers by address is something else: a swarm has no names.
        """
        habit = self._of(client)
        if port not in NAMED_PORTS:
            habit.other_at = at
            return False
        key = number(address)
        habit.addresses.pop(key, None)
        habit.addresses[key] = at
        if len(habit.addresses) > ENOUGH:
            del habit.addresses[next(iter(habit.addresses))]
        oldest = at - MIN_AGE_S
        return habit.other_at < oldest and sum(seen >= oldest for seen in habit.addresses.values()) >= ENOUGH

    def _of(self, client: str) -> _Habit:
        habit = self._habits.get(client)
        if habit is None:
            habit = self._habits[client] = _Habit()
            if len(self._habits) > MAX_CLIENTS:
                self._habits.popitem(last=False)
        return habit
