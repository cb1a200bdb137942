"""A worker's end of its channel to the guardian: asks for tor and for who looks up programs, and hears of them.

Waits for nothing once the event loop runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

import orjson

from shim.address import Address
from shim.tor.child import TorChild, Watcher

TOR: Final = b"T"
WITNESS: Final = b"W"
PROGRESS, LISTENING, ENDED = "progress", "listening", "ended"
NOBODY: Final = "nobody"
"""There is nobody to look up programs, and no room for a process."""

HIRE_S: Final = 5.0
"""How long forking a process may take, on the busiest machine."""

REST_S: Final = 1.0
"""Before another one is asked for in place of one that has ended; twice as long each time, up to REST_MAX_S."""

REST_MAX_S: Final = 300.0

_MESSAGE_BYTES = 4096
_DESCRIPTORS = 4


class Link:
    """One worker's channel."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""
        self._rest_s = REST_S
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hired: Callable[[socket.socket], None] = socket.socket.close
        self._gone: Callable[[], None] = lambda: None
        self.watcher: Watcher | None = None
        """Who is told of tor."""
        self.ended = asyncio.Event()
        """The guardian has."""

    def hire(self) -> socket.socket | None:
        """Somebody who looks up programs, before the loop runs; None if that takes too long."""
        self._sock.settimeout(HIRE_S)
        try:
            self._sock.send(WITNESS)
            _, descriptors, _, _ = socket.recv_fds(self._sock, _MESSAGE_BYTES, _DESCRIPTORS)
        except OSError:
            return None
        return _sockets(descriptors)[0] if descriptors else None

    def attach(
        self,
        loop: asyncio.AbstractEventLoop,
        hired: Callable[[socket.socket], None],
        gone: Callable[[], None],
    ) -> None:
        """Listen from now on: `hired` gets each socket that `hire_again` brings, `gone` is called with the guardian."""
        self._loop, self._hired, self._gone = loop, hired, gone
        self._sock.setblocking(False)
        loop.add_reader(self._sock.fileno(), self._read)

    def hire_again(self) -> None:
        """Ask for another one, after a rest."""
        if self._loop is not None and not self.ended.is_set():
            self._loop.call_later(self._rest_s, self.send, WITNESS)
            self._rest_s = min(2 * self._rest_s, REST_MAX_S)

    def send(self, command: bytes) -> None:
        """One command. If nobody is left, reading tells."""
        if not self.ended.is_set():
            with contextlib.suppress(OSError):
                self._sock.send(command)

    def shut(self) -> None:
        """No more commands, which has the guardian end."""
        if self._loop is not None and not self.ended.is_set():
            self._loop.remove_reader(self._sock.fileno())
        self.ended.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, _MESSAGE_BYTES, _DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for sock in _sockets(descriptors):
            self._hired(sock)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in filter(None, lines):
            self._hear(line)
        if not data or len(self._rest) > _MESSAGE_BYTES:
            self.shut()
            self._gone()

    def _hear(self, line: bytes) -> None:
        words = orjson.loads(line)
        if words == [NOBODY]:
            self.hire_again()
        watcher = self.watcher
        if watcher is None:
            return
        match words:
            case ["progress", int(percent), str(stage)]:
                watcher.tor_progress(percent, stage)
            case ["listening"]:
                watcher.tor_listening()
            case ["ended", str(how)]:
                watcher.tor_ended(how)


class GuardedTor:
    """The tor of our own, as the first worker sees it: the guardian keeps it running."""

    def __init__(self, child: TorChild, link: Link) -> None:
        self._child = child
        self._link = link
        self.address: Address = child.address

    def available(self) -> bool:
        """Whether there is such a program, and somebody to start it."""
        return not self._link.ended.is_set() and self._child.available()

    async def run(self, watcher: Watcher) -> None:
        """Have it started, and again whenever it ends, until the guardian itself has ended."""
        self._link.watcher = watcher
        self._link.send(TOR)
        try:
            await self._link.ended.wait()
            watcher.tor_ended("guardian_ended")
        finally:
            self._link.watcher = None


def _sockets(descriptors: list[int]) -> list[socket.socket]:
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]
