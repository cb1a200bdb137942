"""shim.sensor.tcp over real sockets, on both loops: framing, pipelining, late replies, an end for who stalls."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rig.asking import Where, framed, read_framed, tcp_client
from rig.loops import LOOPS, NAMES, running

from shim.model import Peer
from shim.protocol.dns import MAX_TCP
from shim.sensor import tcp
from shim.sensor.tcp import TcpListener

QUICK_S = 0.5
"""An idle deadline that a test can wait for, and who speaks at once on a busy machine does not miss."""


class Oracle:
    """Stands in for the responder: says each message back, or does what its first word asks."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.peers: set[Peer] = set()
        self.held: list[Callable[[bytes], None]] = []
        self.holding = threading.Event()

    def handle(
        self, wire: bytes, peer: Peer, _listener: str, _transport: str, deliver: Callable[[bytes], None]
    ) -> bytes | None:
        self.seen.append(wire)
        self.peers.add(peer)
        match wire.partition(b" ")[0]:
            case b"late":
                self.held.append(deliver)
                self.holding.set()
                return None
            case b"early":
                deliver(b"before it was known to be late")
                return None
            case b"nothing":
                return b""
            case b"much":
                return b"z" * 60_000
            case b"release":
                self.release()
        return wire

    def release(self) -> None:
        while self.held:
            self.held.pop(0)(b"at last")


@pytest.fixture(params=LOOPS, ids=NAMES)
def new_loop(request: pytest.FixtureRequest) -> Any:
    return request.param


@contextlib.contextmanager
def listening(new_loop: Any, idle_timeout_s: float = 60, host: str = "127.0.0.1") -> Iterator[tuple[Any, Oracle]]:
    oracle = Oracle()
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.bind((host, 0))
    sock.listen(512)
    where = sock.getsockname()[:2]
    listener = TcpListener(sock, "here", oracle, idle_timeout_s)  # type: ignore[arg-type]
    with running(new_loop, listener.run):
        yield where, oracle


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_message_and_its_answer(host: str, new_loop: Any) -> None:
    with listening(new_loop, host=host) as (where, oracle), tcp_client(where) as client:
        client.sendall(framed(b"hello"))
        assert read_framed(client) == b"hello"
        assert oracle.peers == {Peer(host, client.getsockname()[1])}


def test_byte_by_byte(new_loop: Any) -> None:
    with listening(new_loop) as (where, oracle), tcp_client(where) as client:
        for byte in framed(b"one") + framed(b"two"):
            client.send(bytes([byte]))
        assert [read_framed(client), read_framed(client)] == [b"one", b"two"]
        assert oracle.seen == [b"one", b"two"]


def test_thousands_in_one_go_come_back_in_order(new_loop: Any) -> None:
    messages = [b"%d" % number for number in range(20_000)]
    with listening(new_loop) as (where, _), tcp_client(where) as client:
        sending = threading.Thread(target=client.sendall, args=(b"".join(map(framed, messages)),))
        sending.start()
        got = [read_framed(client) for _ in messages]
        sending.join()
    assert got == messages


@pytest.mark.parametrize("length", [0, 1, 12, MAX_TCP - 1, MAX_TCP])
def test_every_length_up_to_the_limit(length: int, new_loop: Any) -> None:
    with listening(new_loop) as (where, oracle), tcp_client(where) as client:
        client.sendall(framed(b"q" * length) + framed(b"after"))
        if length:
            assert read_framed(client) == b"q" * length
        assert read_framed(client) == b"after"
        assert oracle.seen == [b"q" * length, b"after"]


@pytest.mark.parametrize("length", [MAX_TCP + 1, MAX_TCP + 2, 65535])
def test_what_is_longer_is_read_as_far_as_the_gate_needs_and_ends_the_connection(length: int, new_loop: Any) -> None:
    with listening(new_loop) as (where, oracle), tcp_client(where) as client:
        client.sendall(framed(b"first") + framed(b"L" * length)[: 2 + MAX_TCP + 1])
        assert read_framed(client) == b"first"
        assert read_framed(client) == b"L" * (MAX_TCP + 1)
        assert read_framed(client) is None
        assert oracle.seen[1:] == [b"L" * (MAX_TCP + 1)]


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", b"POST", b"CONNECT a:1 HTTP/1.1\r\n", b"\x16\3\1\2\0\1"])
def test_another_protocol_is_hung_up_on_and_told_as_nothing(start: bytes, new_loop: Any) -> None:
    with listening(new_loop) as (where, oracle), tcp_client(where) as client:
        for byte in start[:4]:
            client.send(bytes([byte]))
        assert read_framed(client) is None
        assert oracle.seen == [b""]


def test_a_message_whose_length_begins_like_another_protocol_is_read(new_loop: Any) -> None:
    with listening(new_loop) as (where, _), tcp_client(where) as client:
        client.sendall(framed(b"q" * 0x1603))
        assert read_framed(client) == b"q" * 0x1603


def test_who_is_owed_nothing_gets_nothing(new_loop: Any) -> None:
    with listening(new_loop) as (where, _), tcp_client(where) as client:
        client.sendall(framed(b"nothing") + framed(b"something"))
        assert read_framed(client) == b"something"


def test_a_late_answer_holds_up_neither_its_own_connection_nor_others(new_loop: Any) -> None:
    with listening(new_loop) as (where, _), tcp_client(where) as patient, tcp_client(where) as other:
        patient.sendall(framed(b"late") + framed(b"quick"))
        assert read_framed(patient) == b"quick"
        other.sendall(framed(b"release"))
        assert read_framed(patient) == b"at last"


def test_an_answer_that_is_there_before_it_is_known_to_be_late(new_loop: Any) -> None:
    with listening(new_loop, QUICK_S) as (where, _), tcp_client(where) as client:
        client.sendall(framed(b"early"))
        assert read_framed(client) == b"before it was known to be late"
        assert read_framed(client) is None, "idle, with nothing to wait for"


def test_who_says_nothing_is_cut_off(new_loop: Any) -> None:
    with listening(new_loop, QUICK_S) as (where, _), tcp_client(where) as client:
        assert read_framed(client) is None


def test_dripping_does_not_help(new_loop: Any) -> None:
    with listening(new_loop, QUICK_S) as (where, oracle), tcp_client(where) as client:
        client.settimeout(QUICK_S / 10)
        with contextlib.suppress(ConnectionError):
            for byte in framed(b"x" * 300):
                client.send(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    if not client.recv(1):
                        break
        assert oracle.seen == []


def test_who_waits_for_tor_is_not_idle(new_loop: Any) -> None:
    with listening(new_loop, QUICK_S) as (where, oracle), tcp_client(where) as patient:
        patient.sendall(framed(b"late"))
        assert oracle.holding.wait(10)
        with tcp_client(where) as idle:
            assert read_framed(idle) is None
        with tcp_client(where) as other:
            other.sendall(framed(b"release"))
            assert read_framed(patient) == b"at last"
        assert read_framed(patient) is None


def test_who_ends_after_asking_still_gets_the_answer(new_loop: Any) -> None:
    with listening(new_loop) as (where, oracle), tcp_client(where) as client, tcp_client(where) as other:
        client.sendall(framed(b"now") + framed(b"late") + framed(b"late"))
        client.shutdown(socket.SHUT_WR)
        assert read_framed(client) == b"now"
        assert oracle.holding.wait(10)
        other.sendall(framed(b"release"))
        assert [read_framed(client) for _ in range(3)] == [b"at last", b"at last", None]


def test_who_ends_with_nothing_to_wait_for_is_closed(new_loop: Any) -> None:
    with listening(new_loop) as (where, _), tcp_client(where) as client:
        client.sendall(framed(b"now") + b"\0")
        client.shutdown(socket.SHUT_WR)
        assert [read_framed(client), read_framed(client)] == [b"now", None]


def test_a_late_answer_for_a_connection_that_is_gone(new_loop: Any) -> None:
    with listening(new_loop) as (where, oracle):
        with tcp_client(where) as gone:
            gone.sendall(framed(b"late"))
            assert oracle.holding.wait(10)
        with tcp_client(where) as client:
            client.sendall(framed(b"release") + framed(b"alive"))
            assert [read_framed(client), read_framed(client)] == [b"release", b"alive"]


def test_nothing_more_is_read_from_who_does_not_read(new_loop: Any) -> None:
    """Its kernel buffers fill, then ours; then it is not heard any more, and idle."""
    asked = 4000
    with listening(new_loop, idle_timeout_s=0.5) as (where, oracle), tcp_client(where) as deaf:
        with pytest.raises(ConnectionError):
            deaf.sendall(framed(b"much " + b"x" * 1000) * asked)
        assert 0 < len(oracle.seen) < asked


def test_no_more_connections_than_fit(new_loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MAX_CONNECTIONS", 3)
    with listening(new_loop) as (where, _), contextlib.ExitStack() as stack:
        first, second, third = [joined(stack, where) for _ in range(3)]
        for client in (third, first):
            client.sendall(framed(b"once more"))
            assert read_framed(client) == b"once more"
        fourth = joined(stack, where)
        assert read_framed(second) is None, "idle for longest"
        for client in (first, third, fourth):
            client.sendall(framed(b"still in"))
            assert read_framed(client) == b"still in"


def test_who_waits_for_tor_makes_way_for_nobody(new_loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MAX_CONNECTIONS", 2)
    with listening(new_loop) as (where, oracle), contextlib.ExitStack() as stack:
        patient, other = joined(stack, where), joined(stack, where)
        patient.sendall(framed(b"late"))
        assert oracle.holding.wait(10)
        third = joined(stack, where)
        assert read_framed(other) is None, "later than the other one, but it waits for nothing"
        oracle.holding.clear()
        third.sendall(framed(b"late"))
        assert oracle.holding.wait(10)
        with tcp_client(where) as fourth:
            assert read_framed(fourth) is None, "all the others wait"
        patient.sendall(framed(b"release"))
        assert {read_framed(patient), read_framed(patient), read_framed(third)} == {b"release", b"at last"}


def joined(stack: contextlib.ExitStack, where: Where) -> socket.socket:
    """A client that was answered."""
    client = stack.enter_context(tcp_client(where))
    client.sendall(framed(b"in"))
    assert read_framed(client) == b"in"
    return client


def test_the_end_cuts_what_is_open(new_loop: Any) -> None:
    with contextlib.ExitStack() as stack:
        with listening(new_loop) as (where, _):
            client = stack.enter_context(tcp_client(where))
            client.sendall(framed(b"in"))
            assert read_framed(client) == b"in"
        assert read_framed(client) is None
