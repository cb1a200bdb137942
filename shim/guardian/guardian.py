"""The guardian's own life, from the fork to the end of the shim, however that comes about.

Touches no client's bytes, and ends tor before it ends itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import orjson
import uvloop

from shim.guardian.link import ENDED, LISTENING, PROGRESS, TOR, WITNESS, Link
from shim.tor.child import TorChild
from shim.witness.desk import keep_only, start

FIRST: Final = 0
"""The worker that may have tor started, and with which everything ends."""

END_S: Final = 10.0
"""How long the guardian may take to end: tor gets five seconds."""

_COMMAND_BYTES = 64
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that the shim has made and may not remove once it is in its sandbox: a unix listener's."""

    path: str
    device: int
    inode: int

    @classmethod
    def of(cls, path: str) -> Leftover:
        """The file that is there now. OSError."""
        status = os.lstat(path)
        return cls(path, status.st_dev, status.st_ino)

    def remove(self) -> None:
        """If it still is that one: another shim may have taken its place."""
        with contextlib.suppress(OSError):
            if Leftover.of(self.path) == self:
                os.unlink(self.path)


class Guardian:
    """The shim's handle on it: a channel for each worker, and waiting for the end."""

    def __init__(self, pid: int, channels: Sequence[socket.socket]) -> None:
        self._pid = pid
        self._channels = channels

    @classmethod
    def fork(
        cls, workers: int, child: TorChild | None, leftovers: Sequence[Leftover], restrict: Callable[[], None]
    ) -> Guardian:
        """Start it. `restrict` is called in each process that it starts to look up programs.

        To be called once all listeners are bound, before other workers are forked and before there are threads.
        """
        pairs = [socket.socketpair() for _ in range(workers)]
        pid = os.fork()
        if not pid:
            _be([theirs for _, theirs in pairs], child, leftovers, restrict)
        for _, theirs in pairs:
            theirs.close()
        return cls(pid, [ours for ours, _ in pairs])

    def link(self, index: int) -> Link:
        """This worker's channel; those of the others are closed in this process."""
        for number, channel in enumerate(self._channels):
            if number != index:
                channel.close()
        return Link(self._channels[index])

    def wait(self) -> None:
        """For the first worker, once its link is shut: until tor has ended and everything is cleaned up."""
        channel = self._channels[FIRST]
        channel.settimeout(END_S)
        with contextlib.suppress(OSError), channel:
            while channel.recv(_COMMAND_BYTES):
                pass
            os.waitpid(self._pid, 0)


def _be(
    channels: Sequence[socket.socket],
    child: TorChild | None,
    leftovers: Sequence[Leftover],
    restrict: Callable[[], None],
) -> NoReturn:
    try:
        os.setpgid(0, 0)  # a terminal's Ctrl-C is for the shim, which then ends us, and tor after its drain
        keep_only(*channels)
        gc.freeze()  # what came with the fork is never collected, so its pages stay shared
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Life(channels, child, restrict).run())
    finally:
        if child is not None:
            child.discard()
        for leftover in leftovers:
            leftover.remove()
        os._exit(0)


class _Life:
    """What goes on inside of it."""

    def __init__(self, channels: Sequence[socket.socket], child: TorChild | None, restrict: Callable[[], None]) -> None:
        self._channels = channels
        self._child = child
        self._restrict = restrict
        self._over = asyncio.Event()
        self._tor: asyncio.Task[None] | None = None
        self._witnesses: list[int] = []

    async def run(self) -> None:
        """Until the first worker has gone."""
        loop = asyncio.get_running_loop()
        for signum in _SIGNALS:  # a handler, not SIG_IGN: tor would inherit that
            loop.add_signal_handler(signum, lambda: None)
        for index, channel in enumerate(self._channels):
            channel.setblocking(False)
            loop.add_reader(channel.fileno(), self._hear, index)
        await self._over.wait()
        if self._tor is not None:
            self._tor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tor

    def _hear(self, index: int) -> None:
        channel = self._channels[index]
        try:
            commands = channel.recv(_COMMAND_BYTES)
        except BlockingIOError:
            return
        except OSError:
            commands = b""
        if not commands:
            asyncio.get_running_loop().remove_reader(channel.fileno())
            if index == FIRST:
                self._over.set()
        if WITNESS in commands:
            self._start_witness(channel)
        if TOR in commands and index == FIRST:
            self._start_tor()

    def _start_witness(self, channel: socket.socket) -> None:
        """Those that have ended are buried first."""
        with contextlib.suppress(OSError):
            self._witnesses = [pid for pid in self._witnesses if not os.waitpid(pid, os.WNOHANG)[0]]
            pid, sock = start(self._restrict)
            self._witnesses.append(pid)
            with sock:
                socket.send_fds(channel, [b"\n"], [sock.fileno()])

    def _start_tor(self) -> None:
        if self._tor is None and self._child is not None:
            self._tor = asyncio.get_running_loop().create_task(self._child.run(self), name="tor")

    def tor_progress(self, percent: int, stage: str) -> None:
        """Pass it on, as the two that follow."""
        self._say(PROGRESS, percent, stage)

    def tor_listening(self) -> None:
        self._say(LISTENING)

    def tor_ended(self, how: str) -> None:
        self._say(ENDED, how)

    def _say(self, *words: str | int) -> None:
        with contextlib.suppress(OSError):
            self._channels[FIRST].send(orjson.dumps(words, option=orjson.OPT_APPEND_NEWLINE))
