"""A `tor` of the shim's own: started where no other Tor is found, ended with the shim.

It gets a data directory of its own and listens on a unix socket that only this user can reach. Its log is read for
bootstrap progress; nothing of it is passed on in clear.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from shim.address import Address
from shim.errors import system_code

RESTART_S = 5.0
"""Rest before a tor that ended is started again."""

STOP_TIMEOUT_S = 5.0
"""How long tor may take to end after SIGTERM before it is killed."""

NO_STATE = "no_state_directory"
"""The folder of tor's data cannot be made, or not be used: there may be no home, or one that is read-only."""

_PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
"""Looked up here: a child between fork and exec should do as little as it can."""

_BOOTSTRAPPED = re.compile(r"Bootstrapped (\d{1,3})%(?: \(([a-z_]+)\))?")
_LISTENING = "Opened Socks listener connection (ready)"


def data_directory() -> Path:
    """Where tor keeps its guards and directory documents: XDG_STATE_HOME/leakshim/tor."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "leakshim" / "tor"


def _temporary() -> Path:
    """The folder for what lasts no longer than we do. Where none can be written, that is known once tor is started."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return Path(os.sep, "tmp")


class Watcher(Protocol):
    """Who wants to know how tor is."""

    def tor_progress(self, percent: int, stage: str) -> None: ...

    def tor_listening(self) -> None: ...

    def tor_ended(self, how: str) -> None: ...


class TorChild:
    """Keeps one tor running until its `run` is cancelled. Made before workers fork, so that all know its address."""

    def __init__(self, command: str, data: Path, runtime: Path | None = None) -> None:
        self._command = command
        self._data = data
        # Under the temporary folder: the data directory's path may be longer than a unix socket's 107 bytes.
        unique = f"leakshim-{os.getpid()}-{secrets.token_hex(8)}"
        self._runtime = runtime or _temporary() / unique
        self.address = Address(path=str(self._runtime / "socks"))

    @classmethod
    def of(cls, words: tuple[str, str, str]) -> TorChild:
        """The one of these `words`, in another process."""
        command, data, runtime = words
        return cls(command, Path(data), Path(runtime))

    @property
    def words(self) -> tuple[str, str, str]:
        """The command, where its data is, and where its socket."""
        return self._command, str(self._data), str(self._runtime)

    def available(self) -> bool:
        """Whether there is such a program."""
        return shutil.which(self._command) is not None

    def discard(self) -> None:
        """Remove the folder of the socket."""
        shutil.rmtree(self._runtime, ignore_errors=True)

    async def run(self, watcher: Watcher) -> None:
        """Start tor, and again whenever it ends."""
        while True:
            watcher.tor_ended(await self._once(watcher))
            await asyncio.sleep(RESTART_S)

    async def _once(self, watcher: Watcher) -> str:
        if not self._has_data():
            return NO_STATE
        try:
            self._runtime.mkdir(mode=0o700, exist_ok=True)
            process = await asyncio.create_subprocess_exec(
                *self._arguments(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,  # our own standard error holds nothing but our log's lines
                preexec_fn=_end_with_us,
            )
        except OSError as error:
            return system_code(error)
        try:
            await _follow(process, watcher)
            return f"exit_status_{await process.wait()}"
        finally:
            await _end(process)

    def _has_data(self) -> bool:
        """Make the folder of its data. Without one tor ends with 1, and says why only in its own log."""
        try:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            return False
        return os.access(self._data, os.R_OK | os.W_OK | os.X_OK)

    def _arguments(self) -> list[str]:
        # No torrc is read: the user's may hold relays, control ports or logs that are not ours to start twice.
        # __OwningControllerProcess makes tor end when we do, however that happens; it looks every 15 s only.
        return [
            self._command,
            *("--defaults-torrc", os.devnull, "-f", os.devnull, "--ignore-missing-torrc"),
            *("--DataDirectory", str(self._data)),
            *("--SocksPort", f"unix:{self.address.path}"),
            *("--Log", "notice stdout"),
            *("--__OwningControllerProcess", str(os.getpid())),
        ]


def _end_with_us() -> None:
    """Between fork and exec: ask for SIGTERM as soon as we die.

    A shim started anew would find the data directory locked for as long as the old tor lives.
    """
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


async def _follow(process: asyncio.subprocess.Process, watcher: Watcher) -> None:
    assert process.stdout is not None
    async for line in _lines(process.stdout):
        text = line.decode("ascii", "backslashreplace")
        if _LISTENING in text:
            watcher.tor_listening()
        elif match := _BOOTSTRAPPED.search(text):
            watcher.tor_progress(int(match[1]), match[2] or "")


async def _lines(log: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """To its end. A line that is longer than the reader's buffer is not one of tor's: passed over, piece by piece."""
    while True:
        try:
            line = await log.readline()
        except ValueError:
            continue
        if not line:
            return
        yield line


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        if process.returncode is None:
            await _terminate(process)
    finally:
        # asyncio does so at the end of its log, which nobody reads any more; it has no public word for it.
        process._transport.close()  # type: ignore[attr-defined]


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for it. What it still says is read and forgotten: a full pipe would keep it from ending."""
    assert process.stdout is not None
    async for _ in _lines(process.stdout):
        pass
    await process.wait()


async def _terminate(process: asyncio.subprocess.Process) -> None:
    """Politely, then not.

    Waits without asyncio.timeout: this runs in a task that is cancelled, and there it lets the cancellation pass in
    place of its TimeoutError before Python 3.11.3 (Debian 12 has 3.11.2), so that tor would be left running.
    """
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        ended = asyncio.ensure_future(_ended(process))
        await asyncio.wait({ended}, timeout=STOP_TIMEOUT_S)
        if not ended.done():
            ended.cancel()
            process.kill()
        await process.wait()
