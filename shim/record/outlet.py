"""A descriptor that is written to without waiting, whatever it is: file, terminal, pipe or socket.

Keeps nothing: what does not go now is the caller's. Never changes flags of a descriptor that others share.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable

_LOOK_S = 0.05


class Outlet:
    """Writes to `fd`, which stays the caller's.

    O_NONBLOCK belongs to the open file description, which the starter's shell may share: so a pipe or terminal is
    opened a second time through /proc, and where that is not allowed (another user's pipe, no /proc) each write waits
    for poll's word and is at most PIPE_BUF bytes, which a pipe that polls writable takes whole.
    """

    __slots__ = ("_fd", "_own", "_sock", "is_terminal", "send")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._own: int | None = None
        self._sock: socket.socket | None = None
        self.is_terminal = os.isatty(fd)
        self.send: Callable[[bytes], int] = self._choose(_mode(fd))
        """Write some of these bytes and say how many. BlockingIOError when none go now, OSError when none ever will."""

    def wait(self, seconds: float) -> None:
        """Wait until some bytes may go, but not for long."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll(min(seconds, _LOOK_S) * 1000)

    def close(self) -> None:
        """Give back what was opened; later writes fail."""
        if self._sock is not None:
            self._sock.close()
        if self._own is not None:
            os.close(self._own)
        self._own = self._sock = None
        self._fd = -1
        self.send = self._write

    def _choose(self, mode: int) -> Callable[[bytes], int]:
        if stat.S_ISSOCK(mode):
            self._sock = socket.socket(fileno=os.dup(self._fd))
            return self._send
        if stat.S_ISFIFO(mode) or self.is_terminal:
            return self._write if self._reopen() else self._write_polled
        return self._write

    def _reopen(self) -> bool:
        try:
            self._own = os.open(f"/proc/self/fd/{self._fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return False
        self._fd = self._own
        return True

    def _write(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def _write_polled(self, data: bytes) -> int:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(self._fd, data[: select.PIPE_BUF])

    def _send(self, data: bytes) -> int:
        assert self._sock is not None
        return self._sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _mode(fd: int) -> int:
    """The kind of file; 0 for a descriptor that is closed, to which every write then fails."""
    try:
        return os.fstat(fd).st_mode
    except OSError:
        return 0
