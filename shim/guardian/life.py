"""The guardian's own life, from the fork to the end of the shim, however that comes about.

Touches no client's bytes, and ends tor before it ends itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from typing import Final, NoReturn

import orjson
import uvloop

from shim.guardian.duties import Duties
from shim.guardian.link import ENDED, LISTENING, NOBODY, PROGRESS, TOR, WITNESS
from shim.sandbox import limit_resources, restrict_witness
from shim.tor.child import TorChild
from shim.witness.desk import keep_only, start

FIRST: Final = 0
"""The worker that tells the duties, that may have tor started, and with which everything ends."""

_COMMAND_BYTES = 64
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def be(channels: Sequence[socket.socket]) -> NoReturn:
    """The whole life of the process, which has just been forked."""
    try:
        os.setpgid(0, 0)  # a terminal's Ctrl-C is for the shim, which then ends us, and tor after its drain
        keep_only(*channels)
        limit_resources()
        duties = Duties.receive(channels[FIRST])
        if duties is not None:
            _serve(channels, duties)
    finally:
        os._exit(0)


def _serve(channels: Sequence[socket.socket], duties: Duties) -> None:
    child = None if duties.tor is None else TorChild.of(duties.tor)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Life(channels, child, confined=duties.confined).run())
    finally:
        if child is not None:
            child.discard()
        for leftover in duties.leftovers:
            leftover.remove()


def _unrestricted() -> None:
    """The sandbox is off."""


class _Life:
    """What goes on inside of it."""

    def __init__(self, channels: Sequence[socket.socket], child: TorChild | None, *, confined: bool) -> None:
        self._channels = channels
        self._child = child
        self._restrict = restrict_witness if confined else _unrestricted
        self._over = asyncio.Event()
        self._tor: asyncio.Task[None] | None = None
        self._witnesses: dict[int, int] = {}
        """Who looks up programs, by the channel of its worker."""

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
            self._start_witness(index)
        if TOR in commands and index == FIRST:
            self._start_tor()

    def _start_witness(self, index: int) -> None:
        """In the place of the one before, which has ended or is of no use: a worker that asks for many gets one."""
        try:
            self._end_witness(index)
            self._witnesses[index], sock = start(self._restrict)
        except OSError:  # no room for a process now: it may ask again
            return self._say(index, NOBODY)
        with sock, contextlib.suppress(OSError):
            socket.send_fds(self._channels[index], [b"\n"], [sock.fileno()])
        return None

    def _end_witness(self, index: int) -> None:
        pid = self._witnesses.pop(index, None)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)  # nobody else waits for it, so the number still is its own
            os.waitpid(pid, 0)

    def _start_tor(self) -> None:
        if self._tor is None and self._child is not None:
            self._tor = asyncio.get_running_loop().create_task(self._child.run(self), name="tor")

    def tor_progress(self, percent: int, stage: str) -> None:
        """Pass it on, as the two that follow."""
        self._say(FIRST, PROGRESS, percent, stage)

    def tor_listening(self) -> None:
        self._say(FIRST, LISTENING)

    def tor_ended(self, how: str) -> None:
        self._say(FIRST, ENDED, how)

    def _say(self, index: int, *words: str | int) -> None:
        with contextlib.suppress(OSError):
            self._channels[index].send(orjson.dumps(words, option=orjson.OPT_APPEND_NEWLINE))
