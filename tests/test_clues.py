"""What an accepted connection and a datagram tell of the other end."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

import pytest
from rig.senders import listening

from shim.witness.clues import Endpoint, Flow, LocalPeer, of_connection, of_datagram


def test_both_ends_of_a_tcp_connection() -> None:
    with listening() as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            ends = Endpoint(*client.getsockname()), Endpoint(*server.getsockname())
            assert of_connection(accepted) == Flow("tcp", *ends)
            assert of_connection(accepted, query=True) == Flow("tcp", *ends, query=True)


def test_of_ipv6_only_address_and_port() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("needs IPv6")
    with server, socket.create_connection(server.getsockname()[:2]) as client:
        accepted, _ = server.accept()
        with accepted:
            assert of_connection(accepted) == Flow(
                "tcp", Endpoint(*client.getsockname()[:2]), Endpoint(*server.getsockname()[:2])
            )


def test_the_process_behind_a_unix_socket(tmp_path: Path) -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))
        accepted, _ = server.accept()
        with accepted:
            clue = of_connection(accepted)
    assert isinstance(clue, LocalPeer)
    assert (clue.pid, clue.uid) == (os.getpid(), os.getuid())
    assert before <= clue.at <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_connection_that_broke_tells_nothing() -> None:
    with listening() as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with accepted:
            assert of_connection(accepted) is None


def test_a_datagram_is_a_query() -> None:
    flow = of_datagram(("127.0.0.1", 40000), ("0.0.0.0", 53))
    assert flow == Flow("udp", Endpoint("127.0.0.1", 40000), Endpoint("0.0.0.0", 53), query=True)
