"""Waiting for what has to come: long enough for a busy machine, and not for ever.

Looks again and again. Where a program says something once it is so, that is waited for instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 30.0
LOOK_S = 0.01


def until(true: Callable[[], object], what: str = "it") -> None:
    """Come back once it is true. AssertionError if it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(LOOK_S)


async def until_in_loop(true: Callable[[], object], what: str = "it") -> None:
    """The same, while the running event loop turns."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(LOOK_S)
