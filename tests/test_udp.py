"""shim.sensor.udp over real sockets, on both loops: every answer to whom it belongs, whatever became of the others'."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rig.asking import udp_client
from rig.loops import LOOPS, NAMES, running
from rig.waiting import until_in_loop

from shim.events import Event, QueriesDropped
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import Peer
from shim.policy import Policy
from shim.sensor.limiter import RateLimiter
from shim.sensor.responder import Responder
from shim.sensor.udp import MAX_WAITING, UdpListener, send_all

TOO_BIG = b"x" * 70_000
"""What sendto(2) refuses: no datagram is so long."""


class Oracle:
    """Stands in for the responder: says each message back, or does what its first word asks."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, Peer]] = []
        self.held: list[Callable[[bytes], None]] = []

    def handle(
        self, wire: bytes, peer: Peer, _listener: str, _transport: str, deliver: Callable[[bytes], None]
    ) -> bytes | None:
        self.seen.append((wire, peer))
        match wire.partition(b" ")[0]:
            case b"big":
                return TOO_BIG
            case b"late":
                self.held.append(deliver)
                return None
            case b"nothing":
                return b""
            case b"release":
                for deliver in self.held:
                    deliver(b"at last")
        return wire


@pytest.fixture(params=LOOPS, ids=NAMES)
def new_loop(request: pytest.FixtureRequest) -> Any:
    return request.param


@contextlib.contextmanager
def listening(new_loop: Any, host: str = "127.0.0.1") -> Iterator[tuple[Any, Oracle]]:
    """A listener on any free port, and who answers there."""
    oracle = Oracle()
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    where = sock.getsockname()[:2]
    with running(new_loop, lambda: UdpListener(sock, "here", oracle).run()):  # type: ignore[arg-type]
        yield where, oracle


def test_each_client_gets_its_own_answer(new_loop: Any) -> None:
    with listening(new_loop) as (where, oracle), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(udp_client(where)) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(b"%d" % number)
        assert [client.recv(100) for client in clients] == [b"%d" % number for number in range(20)]
        ports = {peer.port for _, peer in oracle.seen}
        assert ports == {client.getsockname()[1] for client in clients}


def test_ipv6(new_loop: Any) -> None:
    with listening(new_loop, "::1") as (where, oracle), udp_client(where) as client:
        client.send(b"six")
        assert client.recv(100) == b"six"
        assert oracle.seen[0][1].host == "::1"


@pytest.mark.parametrize("failures", [1, 3, 40])
def test_an_answer_that_cannot_be_sent_costs_nobody_else_his(failures: int, new_loop: Any) -> None:
    with listening(new_loop) as (where, _), udp_client(where) as unlucky, udp_client(where) as lucky:
        for number in range(failures):
            unlucky.send(b"big")
            lucky.send(b"mine %d" % number)
        assert [lucky.recv(100) for _ in range(failures)] == [b"mine %d" % number for number in range(failures)]
        unlucky.send(b"now")
        assert unlucky.recv(100) == b"now"


def test_a_late_answer_holds_up_nobody(new_loop: Any) -> None:
    with listening(new_loop) as (where, _), udp_client(where) as patient, udp_client(where) as other:
        patient.send(b"late")
        for _ in range(3):
            other.send(b"quick")
            assert other.recv(100) == b"quick"
        other.send(b"release")
        assert other.recv(100) == b"release"
        assert patient.recv(100) == b"at last"


def test_who_is_owed_nothing_gets_nothing(new_loop: Any) -> None:
    with listening(new_loop) as (where, _), udp_client(where) as client:
        client.send(b"nothing")
        client.send(b"something")
        assert client.recv(100) == b"something"


def test_a_client_that_is_gone_is_no_trouble(new_loop: Any) -> None:
    with listening(new_loop) as (where, oracle):
        for _ in range(3):
            with udp_client(where) as gone:
                gone.send(b"late")
        with udp_client(where) as client:
            client.send(b"release")
            assert client.recv(100) == b"release"
            client.send(b"alive")
            assert client.recv(100) == b"alive"
        assert len(oracle.held) == 3


def test_the_largest_and_the_empty_datagram(new_loop: Any) -> None:
    with listening(new_loop) as (where, oracle), udp_client(where) as client:
        client.send(b"")
        client.send(b"y" * 65507)
        assert client.recv(1 << 17) == b"y" * 65507
        assert [len(wire) for wire, _ in oracle.seen] == [0, 65507]


class Sock:
    """A socket whose system takes some datagrams, refuses or holds up others: what loopback never does."""

    def __init__(self, *moods: str) -> None:
        self.moods = list(moods)
        self.sent: list[bytes] = []

    def sendto(self, data: bytes, _flags: int, _name: Any) -> None:
        match self.moods.pop(0) if self.moods else "well":
            case "fails":
                raise OSError(90, "too long")
            case "full":
                raise BlockingIOError
        self.sent.append(data)


def outbox(*replies: bytes) -> deque[tuple[bytes, Any]]:
    return deque((reply, ("127.0.0.1", 9)) for reply in replies)


@pytest.mark.parametrize(
    ("moods", "sent"),
    [
        (["well", "fails", "well", "fails", "fails", "well"], [b"1", b"3", b"6"]),
        (["full", "well", "full", "full", "well", "fails"], [b"1", b"2", b"4", b"5", b"6"]),
    ],
    ids=["refused", "no room"],
)
def test_all_that_can_be_sent_is_sent_in_order(moods: list[str], sent: list[bytes], new_loop: Any) -> None:
    sock, waiting = Sock(*moods), outbox(b"1", b"2", b"3", b"4", b"5", b"6")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(send_all(sock, waiting))  # type: ignore[arg-type]
    assert (sock.sent, waiting) == (sent, outbox())


async def test_while_there_is_no_room_others_are_served_and_the_wait_can_be_ended() -> None:
    sock, waiting = Sock(*["full"] * 1_000_000), outbox(b"1")
    sending = asyncio.create_task(send_all(sock, waiting))  # type: ignore[arg-type]
    await until_in_loop(lambda: len(sock.moods) < 999_998)
    assert (sock.sent, waiting) == ([], outbox(b"1"))
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_only_so_many_answers_wait_and_the_others_are_counted() -> None:
    events: list[Event] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        responder = Responder(Judge(Policy(), AnswerMemory()), events.append, lambda *_: None, RateLimiter(0))
        listener = UdpListener(sock, "here", responder)
        for port in range(MAX_WAITING + 10):
            listener._put(("127.0.0.1", port), b"reply")
            listener._put(("127.0.0.1", port), b"")  # nothing is owed, and nothing lost
        assert len(listener._outbox) == MAX_WAITING
    telling = asyncio.create_task(responder.unsent.tell())
    await asyncio.sleep(0)
    telling.cancel()
    (dropped,) = events
    assert isinstance(dropped, QueriesDropped)
    assert (dropped.count, dropped.peer.port, dropped.reason) == (10, MAX_WAITING + 9, "send_queue")
