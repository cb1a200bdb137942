"""shim.sensor.sockets: UDP and TCP on one port, in both families, and a plain word when that cannot be."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from shim.address import Address
from shim.errors import ListenError
from shim.sensor.sensor import Pair, address_of
from shim.sensor.sockets import bind_both


@pytest.fixture
def bound() -> Iterator[list[Pair]]:
    """What is bound in a test, closed after it."""
    pairs: list[Pair] = []
    yield pairs
    for pair in pairs:
        for sock in pair:
            sock.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1"])
def test_any_free_port_is_the_same_for_both(host: str, bound: list[Pair]) -> None:
    udp, tcp = pair = bind_both(Address(host, 0))
    bound.append(pair)
    assert udp.getsockname()[:2] == tcp.getsockname()[:2]
    assert (udp.type, tcp.type) == (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    assert not udp.getblocking() and not tcp.getblocking()
    shown = f"[{host}]" if ":" in host else host
    assert address_of(pair) == f"{shown}:{udp.getsockname()[1]}"


def test_a_given_port_in_both_families(bound: list[Pair]) -> None:
    bound.append(bind_both(Address("127.0.0.1", 0)))
    port = bound[0][0].getsockname()[1]
    bound.append(bind_both(Address("::1", port)))
    assert address_of(bound[1]) == f"[::1]:{port}"


def test_every_address_of_ipv6_leaves_ipv4_alone(bound: list[Pair]) -> None:
    bound.append(bind_both(Address("::", 0)))
    port = bound[0][0].getsockname()[1]
    bound.append(bind_both(Address("0.0.0.0", port)))


def test_the_same_port_again_after_an_end(bound: list[Pair]) -> None:
    """TCP connections that have just ended do not keep a restart from its port."""
    udp, tcp = bind_both(Address("127.0.0.1", 0))
    with socket.socket() as client:
        client.connect(tcp.getsockname())
        tcp.setblocking(True)
        tcp.accept()[0].close()
        client.recv(1)
    address = Address(*udp.getsockname())
    udp.close()
    tcp.close()
    bound.append(bind_both(address))


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_that_is_taken(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=rf"^127\.0\.0\.1:{port}: address already in use$"):
            bind_both(Address("127.0.0.1", port))


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(ListenError, match="cannot assign requested address"):
        bind_both(Address("192.0.2.1", 0))


def test_another_free_port_when_udp_has_the_first(bound: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free for TCP may be taken for UDP: then another is tried."""
    bind, tried = socket.socket.bind, list[int]()

    class Unlucky(socket.socket):
        def bind(self, address: tuple[str, int], /) -> None:  # type: ignore[override]
            if self.type == socket.SOCK_DGRAM:
                tried.append(address[1])
                if len(tried) < 3:
                    raise OSError(98, "Address already in use")
            bind(self, address)

    monkeypatch.setattr("shim.sensor.sockets.socket.socket", Unlucky)
    pair = bind_both(Address("127.0.0.1", 0))
    bound.append(pair)
    assert len(tried) == 3 and tried[-1] == pair[1].getsockname()[1]
