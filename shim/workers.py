"""More than one process behind the same ports, for machines with more cores: forked before the loop starts.

Worker 0 is the parent: it passes signals on and waits for the others. They end when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


class Workers:
    """This process's place among the workers. `index` 0 is the parent of all others."""

    def __init__(self, index: int, children: tuple[int, ...], lifelines: tuple[int, ...] = ()) -> None:
        """`lifelines` are the ends of pipes whose other ends are the children's alone."""
        self.index = index
        self._children = children
        self._lifelines = lifelines

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return bool(self.index or self._children)

    @property
    def prefix(self) -> str:
        """What this process's ids begin with, so that they are unique in the whole run."""
        return f"w{self.index}" if self.index else ""

    @classmethod
    def fork(cls, count: int) -> Workers:
        """Become `count` processes, of which this is one."""
        parent = os.getpid()
        children: list[int] = []
        lifelines: list[int] = []
        for index in range(1, count):
            ours, theirs = os.pipe()
            lifelines.append(ours)
            pid = os.fork()
            if not pid:
                for lifeline in lifelines:
                    os.close(lifeline)
                # A terminal's Ctrl-C goes to its whole foreground group. What comes to us must come from the parent
                # only: a second signal means that we shall not drain.
                os.setpgid(0, 0)
                _end_with(parent)
                return cls(index, ())
            os.close(theirs)
            children.append(pid)
        return cls(0, tuple(children), tuple(lifelines))

    def watch(self, loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> None:
        """Have `ended` called for each of the other workers that ends, however it does."""

        def gone(lifeline: int) -> None:
            loop.remove_reader(lifeline)
            ended()

        for lifeline in self._lifelines:
            loop.add_reader(lifeline, gone, lifeline)

    def signal(self, signum: int) -> None:
        """Pass a signal on to the other workers."""
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def wait(self) -> None:
        """Wait until the other workers have ended."""
        for pid in self._children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _end_with(parent: int) -> None:
    """Be sent SIGTERM when the parent dies, however it dies (prctl(2); Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before that call
        os._exit(0)
