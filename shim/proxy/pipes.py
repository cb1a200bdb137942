"""Pipes to splice through, borrowed for as long as bytes are in them.

An idle tunnel owns none, so the number of pipes follows the number of stalled directions, not of tunnels.
"""

from __future__ import annotations

import errno
import fcntl
import os

PIPE_BYTES = 512 * 1024
"""Measured: a GiB costs a quarter to an eighth less CPU than with 256 KiB; 64 KiB costs a quarter more than those."""

LEAST_BYTES = 64 * 1024
"""A smaller pipe is worse than none. Beyond fs.pipe-user-pages-soft (16,384 pages a user, 128 pipes) a new one has two
pages: 1.5 s of CPU for a GiB, where copying takes 0.7."""

SPARE = 32
"""Empty pipes kept for the next borrower: a quarter of those pages."""

DRY = 64
"""Borrowers who are told that there is none before the system is asked again, once it had none. That takes five system
calls, and a borrower who gets none copies 64 KiB with two."""

_F_SETPIPE_SZ = 1031
_F_GETPIPE_SZ = 1032


class Pipe:
    """Both ends of a pipe, how much fits into it, and how much is in it."""

    __slots__ = ("capacity", "held", "reader", "writer")

    def __init__(self) -> None:
        """OSError when there is none to be had, or only one that is too small."""
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        try:
            self.capacity = fcntl.fcntl(self.writer, _F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:  # beyond the user's quota of pipe pages: what the kernel gave
            self.capacity = fcntl.fcntl(self.writer, _F_GETPIPE_SZ)
        if self.capacity < LEAST_BYTES:
            self.close()
            raise OSError(errno.EDQUOT, "pipe pages")

    def close(self) -> None:
        """Close both ends, whatever they hold."""
        os.close(self.reader)
        os.close(self.writer)


class PipePool:
    """Lends empty pipes."""

    __slots__ = ("_dry", "_spare", "lent")

    def __init__(self) -> None:
        self._spare: list[Pipe] = []
        self._dry = 0
        self.lent = 0

    def borrow(self) -> Pipe | None:
        """An empty pipe, or None when no descriptors or no pages for pipes are left: copy instead."""
        if self._dry:
            self._dry -= 1
            return None
        try:
            pipe = self._spare.pop() if self._spare else Pipe()
        except OSError:
            self._dry = DRY
            return None
        self.lent += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back; one that still holds bytes is closed, never reused."""
        self.lent -= 1
        self._dry = 0
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
