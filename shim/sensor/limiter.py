"""How many queries a second each client may ask: one bucket of tokens a client, the longest idle forgotten first.

Asks no clock: the time comes with each query.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_CLIENTS = 1024
"""Buckets kept. A flood of forged sources only makes buckets full again, it cannot fill memory."""


class _Bucket:
    """What a client may still ask, as of its last query."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at


class RateLimiter:
    """`rate` queries a second, as many again in one burst; 0 = no limit."""

    __slots__ = ("_buckets", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)

    def allows(self, client: str, at: float) -> bool:
        """Whether this client may ask once more. `at` in seconds; a clock that jumps back refills nothing."""
        rate = self._rate
        if not rate:
            return True
        buckets = self._buckets
        bucket = buckets.get(client)
        if bucket is None:
            bucket = buckets[client] = _Bucket(rate, at)
            if len(buckets) > MAX_CLIENTS:
                buckets.popitem(last=False)
        else:
            buckets.move_to_end(client)
            if at > bucket.at:
                bucket.tokens = min(rate, bucket.tokens + (at - bucket.at) * rate)
            bucket.at = at
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
