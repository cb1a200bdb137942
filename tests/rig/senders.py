"""Programs that send, and the sockets that they send to: for the tests of who sent what."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

SCRIPT = Path(__file__).with_name("sender.py")
TIMEOUT_S = 20.0


class Sender:
    """A child process that runs sender.py; use it as a context manager."""

    def __init__(
        self, kind: str, at: tuple[str, int], count: int = 1, *, script: Path = SCRIPT, program: str = sys.executable
    ) -> None:
        command = [program, "-I", "-S", str(script), kind, at[0], str(at[1]), str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let it close everything and exit, and wait for that."""
        self._process.communicate(timeout=TIMEOUT_S)


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A TCP server socket; for `::` one that takes IPv4, too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::", backlog=1024) as server:
        server.settimeout(TIMEOUT_S)
        yield server


@contextlib.contextmanager
def receiving(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A UDP server socket."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, 0))
        server.settimeout(TIMEOUT_S)
        yield server


def accepted(server: socket.socket) -> tuple[socket.socket, int]:
    """The next connection, and the pid that its client says it has."""
    sock, _ = server.accept()
    sock.settimeout(TIMEOUT_S)
    return sock, int(sock.recv(64).split()[0])
