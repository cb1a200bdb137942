"""A tor's control port, a unix socket: commands, and the events that came so far.

Starts no tor, and asserts nothing but that its commands are obeyed.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Told:
    """What tor said of one client: its STREAM event, and the address it called unsafe."""

    stream: str | None = None
    unsafe: str | None = None

    @property
    def target(self) -> str | None:
        """HOST:PORT as tor accepted it."""
        return self.stream.split()[5] if self.stream else None

    @property
    def username(self) -> str | None:
        """The credentials that isolate the stream, as tor quotes them."""
        return self._quoted("SOCKS_USERNAME")

    @property
    def password(self) -> str | None:
        """The second half of them."""
        return self._quoted("SOCKS_PASSWORD")

    def _quoted(self, key: str) -> str | None:
        found = re.search(rf'{key}="((?:[^"\\]|\\.)*)"', self.stream or "")
        return found[1] if found else None


class Control:
    """One control connection, as a context manager."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        """`process` is the tor that will open the socket; waiting ends when it does."""
        self._path, self._owner = path, process
        self._events: list[str] = []
        self._replies: list[str] = []
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self._sock = _connected(self._path, self._owner)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.command("AUTHENTICATE")
        self.command("SETEVENTS STATUS_CLIENT STREAM WARN NOTICE")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # tor may have ended before
            self._sock.shutdown(socket.SHUT_RDWR)
        self._reader.join(10)
        self._sock.close()

    def command(self, line: str) -> list[str]:
        """One command of the control protocol; the lines of its answer."""
        with self._changed:
            self._replies.clear()
            self._sock.sendall(line.encode() + b"\r\n")
            done = self._changed.wait_for(lambda: any(reply[3:4] == " " for reply in self._replies), 10)
            assert done and self._replies[-1].startswith("250"), f"{line}: {self._replies}"
            return list(self._replies)

    def set(self, **options: int) -> None:
        """SETCONF, e.g. `SafeSocks=1`."""
        self.command("SETCONF " + " ".join(f"{key}={value}" for key, value in options.items()))

    def told(self, since: int, source: str = "") -> Told:
        """What is known by now, after a place that `mark` gave, of the client at `source` (ip:port), or of any."""
        stream = unsafe = None
        for line in self._synchronised()[since:]:
            words = line.split()
            if words[1] == "STREAM" and words[3] in ("NEW", "NEWRESOLVE") and f" SOURCE_ADDR={source}" in line:
                stream = line
            elif "DANGEROUS_SOCKS" in line:
                unsafe = words[-1].removeprefix("ADDRESS=")
        return Told(stream, unsafe)

    def wait_for_stream(self, since: int, timeout_s: float = 10.0) -> Told:
        """The first accepted request after the mark, waiting until there is one."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: any(" NEW" in line for line in self._events[since:]), timeout_s)
        assert arrived, "tor never accepted a request"
        return self.told(since)

    def log(self, since: int = 0) -> list[str]:
        """The lines that tor would have logged, after a place that `mark` gave."""
        return [line for line in self._synchronised()[since:] if line.split()[1] in ("WARN", "NOTICE")]

    def events(self, since: int = 0) -> list[str]:
        """The events by now, after a place that `mark` gave."""
        return list(self._synchronised()[since:])

    def mark(self) -> int:
        """A place among the events; see `log`."""
        return len(self._synchronised())

    def _synchronised(self) -> list[str]:
        """All events so far; they are ordered, so what came before this question is here when it is answered."""
        self.command("GETINFO version")
        return self._events

    def _read(self) -> None:
        with self._sock.makefile("r", encoding="latin-1", newline="\r\n") as lines:
            for line in lines:
                with self._changed:
                    (self._events if line.startswith("650") else self._replies).append(line.rstrip("\r\n"))
                    self._changed.notify_all()


def _connected(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    waiting, sock = threading.Event(), socket.socket(socket.AF_UNIX)
    for _ in range(200):
        try:
            sock.connect(str(path))
        except OSError:
            assert process.poll() is None, "tor ended at once"
            waiting.wait(0.05)
        else:
            return sock
    sock.close()
    raise AssertionError("tor opened no control socket within 10 s")
