"""The pool of issued addresses over a restart: read from the file of `dns.state` at start, written while it changes.

The file holds names, so there is none unless asked for, and nobody but its owner can read it. What cannot be such a
file is left as it is, and told of.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import stat
import time
from asyncio import Future
from collections.abc import Callable
from pathlib import Path

from shim.errors import system_code
from shim.events import Event, StateFailed
from shim.judge.issued import IssuedPool, Row

WRITE_EVERY_S = 5.0
"""How much may be forgotten in a crash. A name that is asked for again gets another address: a nuisance, no leak."""

WRITE_SHARE = 100
"""How many times longer to rest than collecting the state held up the loop."""

PIECE = 256
"""So many addresses are collected at a time: a full pool at once held up the loop for 0.2 to 0.5 s (measured)."""

PAUSE_S = 0.004
"""What the loop has for others between two pieces, which take a millisecond each."""

MAX_BYTES = 64 << 20
"""A full pool of the longest names, in both families, takes 40 MB."""

_MODE = 0o600
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class _Unusable(Exception):
    """What stands at the path is no state of ours."""


class StateFile:
    """Where the pool's state is kept between runs. Each trouble is published once, until all is well again."""

    def __init__(self, path: Path, pool: IssuedPool, publish: Callable[[Event], None]) -> None:
        self._path = path
        self._pool = pool
        self._publish = publish
        self._written = b""
        self._trouble: str | None = None
        self.usable = True
        """False when the path holds something else, which is neither read nor replaced."""

    def read(self) -> bool:
        """Take over what an earlier run left. False when there is nothing that could be."""
        try:
            state = self._load()
            self._pool.restore(state, time.time())
        except FileNotFoundError:
            return False
        except _Unusable as error:
            self._refuse(str(error))
        except OSError as error:  # ELOOP: a symbolic link
            self._refuse(_code(error))
        except (ValueError, RecursionError):  # of JSON, its encoding and its depth, or of a state
            self._refuse("not_a_state")
        else:
            return True
        return False

    async def keep(self) -> None:
        """Write what has changed until cancelled, and once more then. Nothing at all if the path is not usable."""
        loop = asyncio.get_running_loop()
        writing: Future[str | None] | None = None
        took_s, used_at = 0.0, float("nan")
        try:
            while self.usable:
                if used_at != self._pool.used_at or self._trouble:
                    used_at = self._pool.used_at
                    parts, took_s = await self._collect()
                    try:
                        writing = loop.run_in_executor(None, self._write, self._pool.next(), parts)
                    except RuntimeError:  # no room for a thread: tried again like a full disk
                        self._tell("no_thread")
                    else:
                        self._tell(await asyncio.shield(writing))
                await asyncio.sleep(max(WRITE_EVERY_S, took_s * WRITE_SHARE))
        finally:
            if writing is not None:
                await writing  # or it might replace what is newer
                self._tell(self._write(self._pool.next(), list(map(_text, self._pool.pieces(PIECE)))))

    async def _collect(self) -> tuple[list[str], float]:
        """The entries as JSON, and how long the loop was held up for them all."""
        clock = asyncio.get_running_loop().time
        parts, took_s, started = list[str](), 0.0, clock()
        for rows in self._pool.pieces(PIECE):
            parts.append(_text(rows))
            took_s += clock() - started
            await asyncio.sleep(PAUSE_S)
            started = clock()
        return parts, took_s

    def _load(self) -> object:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)  # a FIFO must not hold up the start
        try:
            _check(os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                text = file.read()
        finally:
            os.close(descriptor)
        if not text:
            raise FileNotFoundError  # made beforehand, to be written
        return json.loads(text)

    def _write(self, cursors: list[str], parts: list[str]) -> str | None:
        """Beside the file first, then in its place: a crash leaves the old one or the new one, never half of it.

        None, or the code of what went wrong: a full disk must not end the sensor. The next change tries again.
        """
        state = _state(cursors, parts)
        digest = _digest(state)
        if digest == self._written:
            return None
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            if self._path.is_symlink():  # it was none when it was read
                return "symbolic_link"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _MODE)
            with open(descriptor, "wb") as file:
                file.writelines(state)
                file.flush()
                os.fsync(descriptor)
            os.replace(beside, self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            return _code(error)
        self._written = digest
        return None

    def _refuse(self, trouble: str) -> None:
        self.usable = False
        self._tell(trouble)

    def _tell(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._trouble:
            self._publish(StateFailed(time.time(), trouble))
        self._trouble = trouble


def _text(rows: list[Row]) -> str:
    """Entries as JSON, without the brackets around them all."""
    return json.dumps(rows)[1:-1]


def _state(cursors: list[str], parts: list[str]) -> list[bytes]:
    """A dump as JSON, still in parts: to put them together would hold up the loop from the thread that does it."""
    entries = [text.encode("ascii") for part in filter(None, parts) for text in (", ", part)]
    return [f'{{"version": 1, "next": {json.dumps(cursors)}, "entries": ['.encode("ascii"), *entries[1:], b"]}"]


def _digest(parts: list[bytes]) -> bytes:
    digest = hashlib.blake2b()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Unusable("not_a_file")
    # Who can write it can have any name stand for any address.
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
        raise _Unusable("not_private")
    if status.st_size > MAX_BYTES:
        raise _Unusable("not_a_state")


def _code(error: OSError) -> str:
    return "symbolic_link" if error.errno == errno.ELOOP else system_code(error)
