"""A program that opens sockets and holds them: the other side of the look-ups' tests.

Run as a script: sender.py KIND HOST PORT COUNT. Each socket sends "PID NUMBER"; all stay open until standard input ends.
KIND is tcp, udp-connected, udp-bound, udp-wildcard, unix (HOST is its path), or a hasty one: then nothing stays open.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType


class Sender:
    """A child process that runs this file."""

    def __init__(self, kind: str, host: str, port: int, count: int = 1, *, prefix: tuple[str, ...] = ()) -> None:
        command = [*prefix, sys.executable, "-I", "-S", __file__, kind, host, str(port), str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        self.pid = self._process.pid

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Let it close everything and exit; wait for that."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)

    def wait(self) -> None:
        """Wait for one that ends by itself."""
        self._process.wait(10)
        self.end()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _tcp(host: str, port: int) -> socket.socket:
    sock = socket.socket(_family(host), socket.SOCK_STREAM)
    sock.connect((host, port))
    return sock


def _udp(host: str, port: int, how: str) -> socket.socket:
    sock = socket.socket(_family(host), socket.SOCK_DGRAM)
    if how == "connected":
        sock.connect((host, port))
    elif how == "bound":
        sock.bind((host, 0))
    return sock


def _unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    return sock


def _main(kind: str, host: str, port: int, count: int) -> None:
    held = []
    for number in range(count):
        payload = f"{os.getpid()} {number}".encode()
        family, _, how = kind.partition("-")
        sock = {"tcp": lambda: _tcp(host, port), "udp": lambda: _udp(host, port, how), "unix": lambda: _unix(host)}[
            family
        ]()
        if family == "udp" and how != "connected":
            sock.sendto(payload, (host, port))
        else:
            sock.send(payload)
        if how == "hasty":
            sock.close()
        else:
            held.append(sock)
    if "hasty" not in kind:
        sys.stdin.read()


if __name__ == "__main__":
    assert Path(sys.argv[0]).name == "sender.py"
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
