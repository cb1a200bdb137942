"""What a guardian is told, once and before any byte of a stranger is read: what it may start, what it cleans up.

Everything later is single bytes, and starts nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import Final

_SIZE_BYTES: Final = 4


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


@dataclass(frozen=True, slots=True)
class Duties:
    """`tor` are a TorChild's words, of the one it may have to start; `looking` is whether programs are looked up, and
    `confined` whether who does so is in a sandbox.
    """

    tor: tuple[str, str, str] | None = None
    leftovers: tuple[Leftover, ...] = ()
    looking: bool = True
    confined: bool = True

    def __bool__(self) -> bool:
        return bool(self.tor or self.leftovers or self.looking)

    def to_bytes(self) -> bytes:
        """For the guardian's channel."""
        body = json.dumps(asdict(self)).encode("ascii")  # not orjson: a path may hold bytes that are no text
        return len(body).to_bytes(_SIZE_BYTES) + body

    @classmethod
    def receive(cls, channel: socket.socket) -> Duties | None:
        """What is told on the channel; None when whoever should have told has gone."""
        size = int.from_bytes(_exactly(channel, _SIZE_BYTES))
        said = _exactly(channel, size)
        if not said:
            return None
        words = json.loads(said)
        tor = words["tor"] and tuple(words["tor"])
        return cls(tor, tuple(Leftover(**each) for each in words["leftovers"]), words["looking"], words["confined"])


def _exactly(channel: socket.socket, count: int) -> bytes:
    """So many bytes; none when the other end has gone before."""
    found = channel.recv(count, socket.MSG_WAITALL) if count else b""
    return found if len(found) == count else b""
