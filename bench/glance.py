"""The look-up alone: how long a witness takes at a glance, without the process and the socket between it and the loop.

Programs connect or send, and say what their pid is, with which each answer is compared. Nothing leaves loopback.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the tree this file is in, not what is installed

from shim.witness.clues import Clue, of_connection, of_datagram
from shim.witness.looking import Sighting
from shim.witness.witness import Witness

SENDER = Path(__file__).resolve().parent.parent / "tests" / "rig" / "sender.py"
COUNT = 1000
"""Look-ups of each program."""

WAIT_S = 20.0
TESTS = {
    "TCP, one program": ("tcp-asking", 1),
    "TCP, 8 programs at once": ("tcp-asking", 8),
    "TCP, one program, 30 at once": ("tcp-crowd-asking", 1),
    "UDP connected, 8 programs at once": ("udp-asking", 8),
    "UDP unconnected, 8 programs at once": ("udp-wildcard-asking", 8),
}


class Glances:
    """What a witness says of who comes, and how long it took to say so."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self.searched = self.wrong = 0
        self._witness = Witness()

    def look(self, clue: Clue | None, pid: int) -> None:
        """Who is it? What is not seen at a glance is searched for, so that it is known the next time."""
        assert clue is not None
        begun, cpu = time.perf_counter(), time.thread_time()
        found = self._witness.glance(clue)
        took, used = time.perf_counter() - begun, time.thread_time() - cpu
        if isinstance(found, Sighting):
            self.seconds.append(took)
            self.cpu.append(used)
            self.wrong += found.process is None or found.process.pid != pid
            return
        self.searched += 1
        if not list(self._witness.skim([found])):
            list(self._witness.search([found], time.monotonic() + WAIT_S))

    def row(self, name: str) -> str:
        """One row of the table."""
        total = len(self.seconds) + self.searched
        times, middle = sorted(self.seconds), statistics.median(self.seconds)
        cells = f"{total:,}", f"{100 * len(times) / total:.1f} %", self.wrong, f"{middle * 1e3:.3f}"
        late, used = f"{times[int(len(times) * 0.95)] * 1e3:.2f}", f"{statistics.median(self.cpu) * 1e6:.0f}"
        return f"| {' | '.join(map(str, (name, *cells, late, used)))} |"


def serve(kind: str, programs: int, seen: Glances) -> None:
    """Answer so many programs till each has asked COUNT times."""
    tcp = kind.startswith("tcp")
    with (
        socket.socket(type=socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as server,
        selectors.DefaultSelector() as at,
    ):
        server.bind(("127.0.0.1", 0))
        if tcp:
            server.listen(64)
        host, port = server.getsockname()
        words = [sys.executable, "-I", "-S", str(SENDER), kind, host, str(port), str(COUNT)]
        running = [subprocess.Popen(words) for _ in range(programs)]
        one: Callable[[socket.socket, Glances], None] = connection if tcp else datagram
        at.register(server, selectors.EVENT_READ)
        for _ in range(programs * COUNT):
            if not at.select(WAIT_S):
                break
            one(server, seen)
        for process in running:
            process.kill()
            process.wait()


def connection(server: socket.socket, seen: Glances) -> None:
    """One that has come."""
    sock, _ = server.accept()
    with sock:
        seen.look(of_connection(sock), int(sock.recv(64).split()[0]))
        sock.send(b"!")


def datagram(server: socket.socket, seen: Glances) -> None:
    """The same of a datagram."""
    data, client = server.recvfrom(64)
    seen.look(of_datagram(client, server.getsockname()), int(data.split()[0]))
    server.sendto(b"!", client)


def main() -> None:
    """All tests, one row each."""
    print("| test | look-ups | at a glance | wrong | median ms | p95 ms | CPU µs |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, (kind, programs) in TESTS.items():
        seen = Glances()
        serve(kind, programs, seen)
        print(seen.row(name), flush=True)


if __name__ == "__main__":
    main()
