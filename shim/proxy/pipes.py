"""Pipes to splice through, borrowed for as long as bytes are in them.

An idle tunnel owns none, so the number of pipes follows the number of stalled directions, not of tunnels.
"""

from __future__ import annotations

import fcntl
import os

PIPE_BYTES = 256 * 1024
"""Measured: with 1 MiB the data has left the cache before the reader copies it; 64 KiB costs half as much CPU again."""

SPARE = 32
"""Empty pipes kept for the next borrower. 64 × 64 pages stay well under fs.pipe-user-pages-soft (16,384)."""

_F_SETPIPE_SZ = 1031


class Pipe:
    """Both ends of a pipe, how much fits into it, and how much is in it."""

    __slots__ = ("capacity", "held", "reader", "writer")

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        try:
            self.capacity = fcntl.fcntl(self.writer, _F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:  # beyond the user's quota of pipe pages: take what the kernel gave
            self.capacity = 64 * 1024

    def close(self) -> None:
        """Close both ends, whatever they hold."""
        os.close(self.reader)
        os.close(self.writer)


class PipePool:
    """Lends empty pipes."""

    __slots__ = ("_spare", "lent")

    def __init__(self) -> None:
        self._spare: list[Pipe] = []
        self.lent = 0

    def borrow(self) -> Pipe | None:
        """An empty pipe, or None when no descriptors are left: copy instead."""
        try:
            pipe = self._spare.pop() if self._spare else Pipe()
        except OSError:
            return None
        self.lent += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back; one that still holds bytes is closed, never reused."""
        self.lent -= 1
        if pipe.held or len(self._spare) >= SPARE:
            pipe.close()
        else:
            self._spare.append(pipe)

    def close(self) -> None:
        """Close all spare pipes."""
        while self._spare:
            self._spare.pop().close()


def can_splice() -> bool:
    """Whether this system has splice(2) and pipe2(2) in Python's `os`."""
    return hasattr(os, "splice") and hasattr(os, "pipe2")
