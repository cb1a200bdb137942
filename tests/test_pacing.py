"""Nothing that stays on this machine is paced: asked of the sockets themselves."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from rig.plane import HandTurned

from shim.address import Address
from shim.model import Command, Protocol, Request
from shim.protocol.socks_client import SocksClient
from shim.proxy import pacing
from shim.proxy.listener import bind
from shim.proxy.upstream import UpstreamLeg

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="no TCP_CONGESTION on this system")

REQUEST = Request(Protocol.SOCKS5, Command.CONNECT, "a.test", 443)
LOOPBACK = ("127.0.0.1", "127.3.2.1", "::1")
DefaultIs = Callable[[bytes], None]


@pytest.fixture
def default_is(monkeypatch: pytest.MonkeyPatch) -> Iterator[DefaultIs]:
    """Let the shim take this for the system's congestion control."""

    def let(name: bytes) -> None:
        monkeypatch.setattr(pacing, "_default", lambda: name)
        pacing._control.cache_clear()

    yield let
    pacing._control.cache_clear()


def control(sock: socket.socket) -> bytes:
    """The congestion control of a socket."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.fixture
def systems() -> bytes:
    """The congestion control that new sockets get here."""
    with socket.socket() as fresh:
        return control(fresh)


def accepted(host: str) -> bytes:
    """The congestion control of what a listener at this address accepts."""
    with bind(Address(host)) as listener:
        listener.setblocking(True)
        with socket.create_connection(listener.getsockname()[:2], 10), listener.accept()[0] as taken:
            return control(taken)


def asked(host: str) -> bytes:
    """The congestion control of a connection to an upstream at this address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener, HandTurned() as plane:
        address = Address(*listener.getsockname()[:2])
        leg = UpstreamLeg(plane.plane, address, REQUEST, SocksClient(REQUEST, None), None)  # type: ignore[arg-type]
        leg.start()
        assert leg.sock is not None
        with listener.accept()[0]:
            got = control(leg.sock)  # type: ignore[arg-type]
        leg.close()
        return got


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("pacing_one", [b"bbr", b"bbr2", b"bbr3"])
def test_where_the_system_paces_loopback_is_left_out(pacing_one: bytes, host: str, default_is: DefaultIs) -> None:
    default_is(pacing_one)
    assert accepted(host) == b"reno"
    assert asked(host) == b"reno"


@pytest.mark.parametrize("other", [b"cubic", b"reno", b"dctcp", b""])
def test_any_other_congestion_control_stays(other: bytes, default_is: DefaultIs, systems: bytes) -> None:
    default_is(other)
    assert accepted("127.0.0.1") == systems
    assert asked("127.0.0.1") == systems


def test_whoever_comes_from_elsewhere_is_paced_as_the_system_wants(default_is: DefaultIs, systems: bytes) -> None:
    default_is(b"bbr")
    assert accepted("0.0.0.0") == systems


def test_the_systems_own_is_asked_for(systems: bytes) -> None:
    assert pacing._default() == systems
