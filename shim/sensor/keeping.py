"""The pool of issued addresses over a restart: read from the file of `dns.state` at start, written while it changes.

The file holds names, so there is none unless asked for, and nobody but its owner can read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path

from shim.judge.issued import IssuedPool

WRITE_EVERY_S = 5.0
"""How much may be forgotten in a crash. A name that is asked for again gets another address: a nuisance, no leak."""

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o600


class StateFile:
    """Where the pool's state is kept between runs. Unreadable or foreign contents are ignored, and replaced."""

    def __init__(self, path: Path, pool: IssuedPool) -> None:
        self._path = path
        self._pool = pool
        self._written: object = None

    def read(self) -> bool:
        """Take over what an earlier run left. False when there is nothing that could be."""
        try:
            with open(os.open(self._path, os.O_RDONLY | _FLAGS), encoding="utf-8") as file:
                self._pool.restore(json.load(file), time.time())
        except (OSError, ValueError):
            return False
        return True

    async def keep(self) -> None:
        """Write changes until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY_S)
                await asyncio.to_thread(self._write, self._pool.dump())
        finally:
            self._write(self._pool.dump())

    def _write(self, state: object) -> None:
        """Beside the file first, then in its place: a crash leaves the old one or the new one, never half of it."""
        if state == self._written:
            return
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, _MODE)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(state, file)
            os.replace(beside, self._path)
        except OSError:  # a full disk must not end the sensor; the next change tries again
            with contextlib.suppress(OSError):
                os.unlink(beside)
            return
        self._written = state
