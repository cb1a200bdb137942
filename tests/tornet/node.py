"""One tor process of the network, which can be killed and started again.

Writes no torrc and knows nothing of the others.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

END_S = 10.0


class Node:
    """Runs from entering to leaving the context, at most."""

    def __init__(self, argv: Sequence[str], data: Path) -> None:
        self._argv, self._data = argv, data

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def log(self) -> str:
        """What it has written, in all its lives."""
        path = self._data / "log"
        return path.read_text() if path.exists() else ""

    def start(self) -> None:
        """Start it, the first time or again; what it has learnt is still in its folder."""
        self.process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """SIGKILL; gone on return."""
        self.process.kill()
        self.process.wait(END_S)
