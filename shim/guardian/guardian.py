"""The shim's handle on its guardian: forked while the shim is small, then told once what it is there for.

Knows nothing of how the guardian does it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from shim.guardian import life
from shim.guardian.duties import Duties
from shim.guardian.link import Link

END_S: Final = 10.0
"""How long the guardian may take to end: tor gets five seconds."""

_COMMAND_BYTES = 64


class Guardian:
    """A channel for each worker, and waiting for the end. As a context: nobody stays behind who was told nothing."""

    def __init__(self, pid: int, channels: Sequence[socket.socket]) -> None:
        self._pid = pid
        self._channels = channels
        self._idle = True
        """It has no duties, yet or any more."""

    @classmethod
    def fork(cls, workers: int) -> Guardian:
        """Start it. To be called before there are threads, and before the rest of the shim is imported.

        What is imported later is not in its memory, and that of who looks up programs, which it forks in turn: measured
        on Linux 6.18, 10 MB less for all three.
        """
        pairs = [socket.socketpair() for _ in range(workers)]
        gc.freeze()  # what both have is never collected by either, so its pages stay shared
        pid = os.fork()
        if not pid:
            life.be([theirs for _, theirs in pairs])
        for _, theirs in pairs:
            theirs.close()
        return cls(pid, [ours for ours, _ in pairs])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dismiss()

    def brief(self, duties: Duties) -> None:
        """Tell it what it is there for; dismiss it if that is nothing. Before other workers are forked."""
        if duties:
            self._idle = False
            self._channels[life.FIRST].sendall(duties.to_bytes())
        else:
            self.dismiss()

    def dismiss(self) -> None:
        """End it, if it was told nothing: then there is nothing that it would have to clean up."""
        if self._idle and self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
            for channel in self._channels:
                channel.close()

    def link(self, index: int) -> Link | None:
        """This worker's channel, if it was briefed; those of the others are closed in this process."""
        if self._idle:
            return None
        for number, channel in enumerate(self._channels):
            if number != index:
                channel.close()
        return Link(self._channels[index])

    def wait(self) -> None:
        """For the first worker, once its link is shut: until tor has ended and everything is cleaned up."""
        if self._idle:
            return
        channel = self._channels[life.FIRST]
        channel.settimeout(END_S)
        with contextlib.suppress(OSError), channel:
            while channel.recv(_COMMAND_BYTES):
                pass
            os.waitpid(self._pid, 0)
