"""A control port that answers as it is told, line by line: for what a real tor never does, or not on demand.

Knows nothing of Tor but the form of its lines.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

Speak = Callable[[socket.socket, str], None]
"""Answers one command."""

NOTHING = '250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n'


def tor(*, info: str = NOTHING, events: str = "250 OK\r\n", then: str = "") -> Speak:
    """As Tor would: `info` to PROTOCOLINFO, `events` to SETEVENTS and `then` behind it; OK to all else."""

    def speak(sock: socket.socket, command: str) -> None:
        if command.startswith("PROTOCOLINFO"):
            sock.sendall(info.encode())
        elif command.startswith("SETEVENTS"):
            sock.sendall((events + then).encode())
        elif command.startswith("GETINFO net/listeners/"):
            kind = command.rpartition("/")[2]
            places = '"127.0.0.1:9050" "unix:/run/tor/socks" "nonsense"' if kind == "socks" else ""
            sock.sendall(f"250-net/listeners/{kind}={places}\r\n250 OK\r\n".encode())
        else:
            sock.sendall(b"250 OK\r\n")

    return speak


def saying(text: bytes, *, times: int = 1) -> Speak:
    """The same to whatever comes, until nobody hears it."""

    def speak(sock: socket.socket, _command: str) -> None:
        for _ in range(times):
            sock.sendall(text)

    return speak


class ControlPort:
    """Listens on loopback; every client is answered in a thread of its own."""

    def __init__(self, speak: Speak, *, end_after: str | None = None) -> None:
        """`end_after`: hang up after a command that begins so."""
        self.commands: list[str] = []
        self.connected = 0
        self.speak = speak
        self._end_after = end_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connected += 1
                self._open.append(sock)
                threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock, sock.makefile("r", newline="\r\n") as lines:
            for line in lines:
                self.commands.append(line.rstrip("\r\n"))
                self.speak(sock, self.commands[-1])
                if self._end_after is not None and line.startswith(self._end_after):
                    return
