"""How many queries a second each client may ask: one bucket of tokens a client, the longest idle forgotten first.

Asks no clock: the time comes with each query.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_CLIENTS = 1024
"""Buckets kept. A flood of forged sources only makes buckets full again, it cannot fill memory."""


class RateLimiter:
    """`rate` queries a second, as many again in one burst; 0 = no limit."""

    __slots__ = ("_buckets", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str, at: float) -> bool:
        """Whether this client may ask once more. `at` in seconds; a clock that jumps back refills nothing."""
        rate = self._rate
        if not rate:
            return True
        tokens, before = self._buckets.pop(client, (rate, at))
        tokens = min(rate, tokens + max(0.0, at - before) * rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, at)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return allowed
