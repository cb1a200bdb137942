"""Who sent it: how long a look-up takes among many processes, how often it is right, and that it is never wrong.

Programs connect to a server in this process, and each says what its pid is: the attributor's answer is compared with
that. Nothing leaves loopback; every process is ended when the run ends, however it ends.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the tree this file is in, not what is installed

import uvloop

from shim.events import Event, ProcessIdentified
from shim.sandbox import restrict_witness
from shim.witness.attributor import HOLD_S, Attributor
from shim.witness.clues import Clue, of_connection, of_datagram
from shim.witness.desk import start

SENDER = Path(__file__).resolve().parent.parent / "tests" / "rig" / "sender.py"
AT_ONCE = 8
QUIET_S = 0.02
"""Nothing more comes after so long."""

DESCRIPTORS = 36
"""Open in each bystander: with 300 of them, as many as on a desktop (10,800)."""

SERVERS = 12
"""One for each test; each has a process of its own that looks, forked before there are threads."""

HEAD = (
    "| test | look-ups | right | wrong | none | median ms | p95 ms | in 20 ms | loop µs | witness µs |\n"
    "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
)


@dataclass
class Tally:
    """What came of the look-ups of one test."""

    right: int = 0
    wrong: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    loop_cpu: float = 0.0
    witness_cpu: float = 0.0

    def row(self, name: str) -> str:
        """One row of the table."""
        times = sorted(self.seconds)
        total = len(times)
        cells = (
            name,
            f"{total:,}",
            f"{100 * self.right / total:.2f} %",
            str(self.wrong),
            ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common()) or "0",
            f"{statistics.median(times) * 1e3:.3f}",
            f"{times[int(total * 0.95)] * 1e3:.2f}",
            f"{100 * sum(each <= HOLD_S for each in times) / total:.1f} %",
            f"{self.loop_cpu / total * 1e6:.0f}",
            f"{self.witness_cpu / total * 1e6:.0f}",
        )
        return f"| {' | '.join(cells)} |"


class Server:
    """Takes connections or datagrams, looks each up before it answers, and compares."""

    def __init__(self, kind: socket.SocketKind, witness: tuple[int, socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            self._sock.listen(4096)
        self.name = self._sock.getsockname()
        self.tally = Tally()
        self.witness, sock = witness
        self._attributor = Attributor(self._publish, self._loop, sock)
        self._timing = False
        self._loop.add_reader(sock.fileno(), self._timed, self._attributor._read)
        flush = self._attributor._flush
        self._attributor._flush = lambda: self._timed(flush)  # type: ignore[method-assign]
        self._attributor.prepare()
        self._waiting: dict[str, tuple[int, float]] = {}
        self._answers: dict[str, Callable[[], None]] = {}
        self._last = 0
        self._loop.add_reader(self._sock.fileno(), self._connection if kind == socket.SOCK_STREAM else self._datagram)

    async def settled(self) -> None:
        """Wait until all that has come has been told."""
        told = -1
        while self._waiting or told < len(self.tally.seconds):
            told = len(self.tally.seconds)
            await asyncio.sleep(QUIET_S)

    def close(self) -> None:
        """Stop."""
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._attributor.close()

    def look(self, pid: int, clue: Clue | None, answer: Callable[[], None]) -> None:
        """Look up one sender, who says that it is `pid`, and answer it then."""
        self._last += 1
        subject = f"c{self._last}"
        self._answers[subject] = answer
        self._waiting[subject] = pid, time.perf_counter()
        self._timed(self._attributor.identify, subject, clue)

    def _timed(self, call: Callable[..., None], *arguments: object) -> None:
        if self._timing:  # within what is counted already
            return call(*arguments)
        self._timing, cpu = True, time.thread_time()
        call(*arguments)
        self.tally.loop_cpu += time.thread_time() - cpu
        self._timing = False
        return None

    def _connection(self) -> None:
        sock, _ = self._sock.accept()
        self._loop.add_reader(sock.fileno(), self._request, sock)

    def _request(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock.fileno())
        data = sock.recv(64)
        self.look(int(data.split()[0]), of_connection(sock), lambda: _answer(sock))

    def _datagram(self) -> None:
        data, client = self._sock.recvfrom(64)
        answer = lambda: self._sock.sendto(b"!", client)  # noqa: E731
        self.look(int(data.split()[0]), of_datagram(client, self.name), lambda: _quietly(answer))

    def _publish(self, event: Event) -> None:
        assert isinstance(event, ProcessIdentified), event
        pid, start = self._waiting.pop(event.subject)
        self.tally.seconds.append(time.perf_counter() - start)
        if event.process is None:
            self.tally.reasons[event.reason or ""] += 1
        elif event.process.pid == pid:
            self.tally.right += 1
        else:
            self.tally.wrong += 1
        self._loop.call_soon(self._late, event.subject)

    def _late(self, subject: str) -> None:
        answer = self._answers.pop(subject, None)
        if answer is not None:
            answer()


def _answer(sock: socket.socket) -> None:
    _quietly(lambda: sock.send(b"!"))
    sock.close()


def _quietly(send: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        send()


@contextlib.contextmanager
def bystanders(count: int) -> Iterator[None]:
    """Processes that have nothing to do with it, each with its share of descriptors."""
    null = [os.open("/dev/null", os.O_RDONLY) for _ in range(DESCRIPTORS - 3)]
    crowd = []
    try:
        crowd = [
            subprocess.Popen(["sleep", "3600"], stdin=null[0], stdout=null[0], stderr=null[0], pass_fds=null)
            for _ in range(count)
        ]
        yield
    finally:
        for process in crowd:
            process.kill()
        for process in crowd:
            process.wait()
        for number in null:
            os.close(number)


def command(kind: str, name: tuple[str, int], count: int) -> list[str]:
    """How a sender is started."""
    return [sys.executable, "-I", "-S", str(SENDER), kind, name[0], str(name[1]), str(count)]


async def programs(kind: str, name: tuple[str, int], number: int, count: int, pass_fds: tuple[int, ...]) -> None:
    """Run so many programs that send so often, some at a time."""
    turn = asyncio.Semaphore(AT_ONCE if count > 1 else 1)

    async def one() -> None:
        async with turn:
            process = await asyncio.create_subprocess_exec(*command(kind, name, count), pass_fds=pass_fds)
            await process.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(one())


async def veterans(name: tuple[str, int], crowd: list[subprocess.Popen[bytes]]) -> None:
    """Let processes that are older than all others send, one after another."""
    for process in crowd:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
        await asyncio.to_thread(process.wait)


def start_veterans(number: int, name: tuple[str, int]) -> list[subprocess.Popen[bytes]]:
    """Processes that wait for their word: the first that a run starts."""
    waiting = ["sh", "-c", 'read word; exec "$@"', "sh", *command("tcp-asking", name, 1)]
    return [subprocess.Popen(waiting, stdin=subprocess.PIPE) for _ in range(number)]


async def in_flight(server: Server, count: int) -> None:
    """Connections that no process holds: their client is on its way from one to another, and never arrives."""
    here, there = socket.socketpair()
    with here, there, socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(count):
            client = socket.create_connection(listener.getsockname())
            accepted, _ = listener.accept()
            rights = array.array("i", [client.fileno()])
            here.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            client.close()
            server.look(0, of_connection(accepted), accepted.close)
            await server.settled()


def cpu_of(pid: int) -> float:
    """Seconds that all threads of a process have been at work."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9


async def measure(scale: float, crowd_size: int, witnesses: list[tuple[int, socket.socket]]) -> None:
    """All tests, one row each."""
    servers: list[Server] = []

    def server(kind: socket.SocketKind) -> Server:
        servers.append(Server(kind, witnesses.pop()))
        return servers[-1]

    def times(count: int) -> int:
        return max(1, round(count * scale))

    old = server(socket.SOCK_STREAM)
    crowd = start_veterans(times(100), old.name)
    try:
        with bystanders(crowd_size):
            print(HEAD)
            await row("TCP, programs seen before", server(socket.SOCK_STREAM), "tcp-asking", AT_ONCE, times(1250))
            await row("TCP, one program", server(socket.SOCK_STREAM), "tcp-asking", 1, times(2500))
            await row("TCP, one program, 30 at once", server(socket.SOCK_STREAM), "tcp-crowd-asking", 1, times(2500))
            await row("UDP connected, seen before", server(socket.SOCK_DGRAM), "udp-asking", AT_ONCE, times(1250))
            await row("UDP unconnected", server(socket.SOCK_DGRAM), "udp-wildcard-asking", AT_ONCE, times(1250))
            await row("TCP, a new program each", server(socket.SOCK_STREAM), "tcp-asking", times(400), 1)
            await row("UDP, a new program each", server(socket.SOCK_DGRAM), "udp-asking", times(400), 1)
            await row("TCP, with 500 descriptors", server(socket.SOCK_STREAM), "tcp-asking", 4, times(250), 500)
            await timed("TCP, the oldest process, never seen", old, veterans(old.name, crowd))
            nowhere = server(socket.SOCK_STREAM)
            await timed("TCP, held by no process", nowhere, in_flight(nowhere, times(50)))
            await row("TCP, gone at once", server(socket.SOCK_STREAM), "tcp-hasty", AT_ONCE, times(1250))
            await row("UDP, gone at once", server(socket.SOCK_DGRAM), "udp-hasty", 5 * AT_ONCE, times(1250))
    finally:
        for each in servers:
            each.close()
        for process in crowd:
            process.kill()
            process.communicate()


async def row(name: str, server: Server, kind: str, number: int, count: int, descriptors: int = 0) -> None:
    """One test of programs that this run starts."""
    held = tuple(os.open("/dev/null", os.O_RDONLY) for _ in range(descriptors))
    await timed(name, server, programs(kind, server.name, number, count, held))
    for descriptor in held:
        os.close(descriptor)


async def timed(name: str, server: Server, work: Coroutine[None, None, None]) -> None:
    """Run one test to its end and print its row."""
    before = cpu_of(server.witness)
    await work
    await server.settled()
    server.tally.witness_cpu = cpu_of(server.witness) - before
    print(server.tally.row(name), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the look-ups to make")
    parser.add_argument("--bystanders", type=int, default=300, help="processes that have nothing to do with it")
    options = parser.parse_args()
    witnesses = [start(restrict_witness) for _ in range(SERVERS)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(options.scale, options.bystanders, witnesses))


if __name__ == "__main__":
    main()
