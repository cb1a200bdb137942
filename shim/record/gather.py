"""Repeated warnings, gathered for a person: the first is shown, the others are counted until a window ends.

Pure: time comes with the events. Only chooses what to show; forgets nothing that the other records keep.
"""

from __future__ import annotations

from dataclasses import dataclass

_WINDOWS_MAX = 1024
"""Programs and kinds at once; what is beyond is shown ungathered, never held back."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """At the end of a window: so many more warnings of this program and kind have come in it."""

    program: str
    what: str
    count: int
    seconds: int


@dataclass(slots=True)
class _Window:
    start: float
    rank: int
    held: int = 0


class Gatherer:
    """Holds back what resembles a warning of the last `window_s` seconds."""

    __slots__ = ("window_s", "windows")

    def __init__(self, window_s: float = 60.0) -> None:
        self.window_s = window_s
        self.windows: dict[tuple[str, str], _Window] = {}
        """Those that are open, in the order they were opened: while there are none, none can end."""

    def admit(self, program: str, what: str, at: float, *, rank: int = 0, again: bool = False) -> bool:
        """Whether to show this warning now; ask `ended` first, with the same time.

        A higher `rank` than any shown in the window is news and is shown. `again` marks a warning that was counted
        before (a later revision): it is held back but not counted twice.
        """
        window = self.windows.get((program, what))
        if window is None:
            if len(self.windows) < _WINDOWS_MAX:
                self.windows[program, what] = _Window(at, rank)
            return True
        if rank > window.rank:
            window.rank = rank
            return True
        window.held += not again
        return False

    def ended(self, now: float) -> list[Gathered]:
        """Close the windows that are over, and say what they held back. A clock that was set ends them too."""
        over = []
        for key, window in self.windows.items():
            if abs(now - window.start) < self.window_s:
                break  # all are equally long, and in the order they were opened
            over.append(key)
        return self._closed(over)

    def close(self) -> list[Gathered]:
        """Close all windows."""
        return self._closed(list(self.windows))

    def _closed(self, keys: list[tuple[str, str]]) -> list[Gathered]:
        windows = [(key, self.windows.pop(key)) for key in keys]
        return [Gathered(*key, window.held, int(self.window_s)) for key, window in windows if window.held]
