"""A log read back: the events that findings come from, and the findings that come from them.

Judges nothing itself; opens no file and writes none.
"""

from shim.replay.replay import MAX_LINE, Replay, ReplayError

__all__ = ["MAX_LINE", "Replay", "ReplayError"]
