"""Crowds: thousands of half handshakes, of resets, of DNS queries. Whoever behaves is served meanwhile.

Nothing is timed: what must not wait for the crowd is shown to come before the crowd has moved.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from rig.asking import Where, address, ask_tcp, udp_client, wire
from rig.faults import census, serves
from rig.shim import ROOT, Shim
from rig.upstream import Upstream
from rig.wire import GREETING, NO_AUTH, Client, socks5

BELOW, BEYOND = 4000, 5000
"""Half handshakes: as many as the limits take, and more than that."""

TRIES = 400
ASK = GREETING + socks5(b"echo.test", 80)


@pytest.fixture
def shim(upstream: Upstream) -> Iterator[Shim]:
    """With the default settings."""
    with Shim("--dns", "127.0.0.1:0", "--log-level", "info", upstream=upstream.address) as process:
        yield process


def attempt(client: Client) -> bool:
    """Whether a client that behaves gets its tunnel; False if it was refused."""
    try:
        client.send(ASK + b"x")
        return client.read(13).endswith(b"x")
    except OSError:
        return False


def test_half_handshakes_delay_nobody(shim: Shim) -> None:
    """Each says a byte now and then. The good one is served before any of them has ended or got on."""
    with census(shim) as people:
        crowd = [people.join() for _ in range(BELOW)]
        for byte in GREETING[:2]:
            for client in crowd:
                client.send(bytes([byte]))
            for _ in range(10):
                assert attempt(people.join())
        assert not shim.find("handshake_failed", people.mark), "the crowd is still there"
        assert not shim.find("connection_refused", people.mark)
        crowd[0].send(GREETING[2:])
        assert crowd[0].read(2) == NO_AUTH, "slow is no crime"


def test_more_half_handshakes_than_there_is_room_for(shim: Shim) -> None:
    """Those that have waited for longest make way: the crowd cannot keep others out until its deadline."""
    with census(shim) as people:
        for _ in range(BEYOND):
            people.join().send(GREETING[:1])
        tries = 0
        while not attempt(people.join()):
            threading.Event().wait(0.025)
            tries += 1
            assert tries < TRIES, "kept out"
        shim.wait_for("handshake_failed", people.mark, error="timeout")  # some had to make way
    serves(shim)


def test_clients_that_only_reset(shim: Shim) -> None:
    with census(shim) as people:
        inside = people.join()
        inside.send(ASK)
        assert len(inside.read(12)) == 12
        for turn in range(2000):
            client = people.join()
            client.send(ASK[: turn % len(ASK)])
            client.reset()
            if turn % 500 == 0:
                inside.send(b"x")
                assert inside.read(1) == b"x"
    serves(shim)


FLOOD = """
import socket, sys, time
from rig.asking import wire
host, port, source = sys.argv[1:]
message = wire("flood.test")
reply = message[:2] + b"\\x84\\0" + message[4:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.bind((source, 0))
    print("ready", flush=True)
    while True:
        for data in (message, message, reply, message[:7], b"\\xff" * 1400):
            sender.sendto(data, (host, int(port)))
        time.sleep(0.0001)
"""


@contextlib.contextmanager
def flooding(where: Where, sources: list[str]) -> Iterator[None]:
    """Queries, junk and answers, more than can be answered, from processes of their own: threads would slow down the
    test. Not as fast as they go: what the system drops before the shim has seen it is none of the shim's doing.
    """
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    argv = [sys.executable, "-c", FLOOD, where[0], str(where[1])]
    with contextlib.ExitStack() as floods:
        for source in sources:
            sender = floods.enter_context(subprocess.Popen([*argv, source], env=env, stdout=subprocess.PIPE))
            floods.callback(sender.kill)
            assert sender.stdout and sender.stdout.readline() == b"ready\n"
        yield


def test_a_dns_flood_holds_up_neither_tunnels_nor_the_queries_of_others(shim: Shim) -> None:
    """Nor does it push their lines out of a log that is written faster than anybody reads it."""
    where = address(shim.ready["dns"][0])
    with census(shim) as people:
        with flooding(where, ["127.0.0.1", "127.0.0.3"]):
            assert all(attempt(people.join()) for _ in range(20))
            with udp_client(where, "127.0.0.9") as patient:
                assert any(heard(patient, number) for number in range(120)), "a full network drops some, not all"
        with udp_client(where, "127.0.0.10") as late:
            assert any(heard(late, number) for number in range(60))
    serves(shim)


def heard(client: socket.socket, number: int) -> bool:
    """Whether this query is answered soon."""
    client.settimeout(0.5)
    client.send(wire("other.test", id=number))
    try:
        return client.recv(4096)[:2] == number.to_bytes(2, "big")
    except TimeoutError:
        return False


def test_dns_connections_that_say_nothing(shim: Shim) -> None:
    """More than are taken at once: who has been idle for longest is cut off, and all others are answered."""
    where = address(shim.ready["dns"][0])
    crowd = [socket.create_connection(where, timeout=10) for _ in range(400)]
    try:
        with udp_client(where) as other:
            assert heard(other, 1)
        assert len(ask_tcp(where, wire("page.test"))) == 1, "nor do they keep out who comes later"
        serves(shim)
    finally:
        for sock in crowd:
            sock.close()
