"""A shim before an upstream that does as the test says, step by step; and a count of everyone who came.

Whoever is counted has connected to the shim: each must end in exactly one `connection_closed`, and afterwards the
shim must serve as before.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from rig.shim import Line, Shim
from rig.wire import TIMEOUT_S, Client, socks5, tunnel5

METHOD = b"\5\0"
GRANTED = b"\5\0\0\1" + bytes(6)
DEADLINES = "[limits]\nhandshake_timeout_s = 1\n[upstream]\nreply_timeout_s = 1.5\nconnect_timeout_s = 1.5\n"


def quick(folder: Path) -> Path:
    """A configuration whose deadlines a test can wait for, and who is served on a busy machine does not miss."""
    path = folder / "quick.toml"
    path.write_text(DEADLINES)
    return path


class Accepted(Client):
    """The upstream's end of one connection, in the test's hands."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT_S)
        self.sock = sock

    def asked(self, host: str | bytes = b"fault.test", port: int = 80) -> None:
        """Read the pipelined greeting and request for this."""
        wanted = b"\5\1\0" + socks5(host, port)
        assert self.read(len(wanted)) == wanted


class Meddler:
    """An upstream without any manners of its own: `accept` gives its next connection to the test."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.settimeout(TIMEOUT_S)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(1024)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def accept(self) -> Accepted:
        """The connection that has waited longest."""
        return Accepted(self._listener.accept()[0])


class Census:
    """Everyone who came through `join`."""

    def __init__(self, shim: Shim) -> None:
        self.shim = shim
        self.mark = shim.mark()
        self.count = 0
        self._open = ExitStack()

    def join(self, where: str | None = None) -> Client:
        """One more client; closed at the end of the census, if it still is open then."""
        client = self._open.enter_context(Client(where or self.shim.socks))
        self.count += 1
        return client

    def close(self) -> None:
        """Let everyone leave who has not."""
        self._open.close()

    def wait_for(self, event: str, count: int) -> list[Line]:
        """So many lines of this event, or more, since the census began."""
        found = self.shim.gather(event, count, self.mark)
        assert len(found) >= count, f"{len(found)} of {count} {event}"
        return found

    def settle(self) -> list[Line]:
        """The one `connection_closed` of each who came, once all are there; and no other."""
        ended = self.wait_for("connection_closed", self.count)
        assert set(Counter(line["conn"] for line in ended).values()) <= {1}, "ended twice"
        assert len(ended) == self.count, "somebody else ended"
        failed = Counter(line["conn"] for line in self.shim.find("handshake_failed", self.mark))
        assert set(failed.values()) <= {1}, "failed twice"
        assert not self.shim.find("fault", self.mark)
        return ended


@contextmanager
def census(shim: Shim) -> Iterator[Census]:
    """Count who comes; at the end all have ended, each once."""
    people = Census(shim)
    try:
        yield people
    finally:
        people.close()
    people.settle()


def serves(shim: Shim, host: bytes = b"echo.test") -> None:
    """It goes on: one whole tunnel, both ways. For a shim whose upstream is the rig's own."""
    mark = shim.mark()
    with tunnel5(shim.socks, host, 80) as client:
        client.send(b"still here")
        assert client.read(10) == b"still here"
    shim.ended(f"{host.decode()}:80", mark)
