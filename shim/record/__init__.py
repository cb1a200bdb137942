"""What becomes of events: the bus that carries them and the log lines they turn into.

Decides nothing about requests and parses no protocol.
"""

from __future__ import annotations

from collections.abc import Callable

Schedule = Callable[[float, Callable[[], None]], object]
"""`loop.call_later`: run a callable after so many seconds."""
