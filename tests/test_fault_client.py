"""Clients misbehave at every byte of what they say: they leave, reset, fall silent, go on with junk, or dribble.

Every one of them ends in exactly one `connection_closed`, the upstream's leg ends with it, and the shim goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from rig.faults import Census, census, quick, serves
from rig.shim import Shim
from rig.upstream import Behaviour, Upstream
from rig.waiting import PATIENCE_S
from rig.wire import (
    GREETING,
    GREETING_AUTH,
    NO_AUTH,
    Client,
    auth,
    http_connect,
    socks4,
    socks5,
    tunnel5,
)

WIRE = {
    "socks5": GREETING + socks5(b"echo.test", 80),
    "socks5 with a password": GREETING_AUTH + auth(b"me", b"secret") + socks5(b"echo.test", 80),
    "socks4": socks4("93.184.216.34", 80, user=b"me"),
    "socks4a": socks4(b"echo.test", 80),
    "http": http_connect("echo.test:80"),
}
JUNK = {
    "proxy v1": b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\n",
    "proxy v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
    "proxy v1 before socks": b"PROXY UNKNOWN\r\n" + GREETING,
    "http": b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\n\5\1\0",
    "tls": bytes.fromhex("1603010200010001fc0303") + os.urandom(505),
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "xml": b"<?xml version='1.0'?><stream:stream>",
    "dns": b"\0\x1d\x12\x34\1\0\0\1" + bytes(6) + b"\1a\4test\0\0\1\0\1",
    "zeros": bytes(4096),
    "random": os.urandom(4096),
}


@pytest.fixture(scope="module")
def shim(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim]:
    config = quick(tmp_path_factory.mktemp("quick"))
    with Shim("--http", "127.0.0.1:0", config=config, upstream=upstream.address) as process:
        yield process


def at_each_byte(wire: str, people: Census) -> Iterator[Client]:
    """A client for each beginning of the message, which it has sent."""
    message = WIRE[wire]
    where = people.shim.http if wire == "http" else people.shim.socks
    for count in range(len(message) + 1):
        client = people.join(where)
        client.send(message[:count])
        yield client


@pytest.mark.parametrize("wire", WIRE)
@pytest.mark.parametrize("deed", ["close", "reset", "end", "junk", "silence"])
def test_at_each_byte_of_a_handshake(deed: str, wire: str, shim: Shim) -> None:
    with census(shim) as people:
        for client in at_each_byte(wire, people):
            match deed:
                case "close":
                    client.sock.close()
                case "reset":
                    client.reset()
                case "end":
                    client.end()
                case "junk":
                    client.send(b"\xff" * 300)
        if deed == "silence":  # all but the last, which has nothing left to say, run into the deadline
            failed = people.wait_for("handshake_failed", len(WIRE[wire]))
            assert {line["error"] for line in failed} == {"timeout"}
    serves(shim)


@pytest.mark.parametrize("wire", WIRE)
def test_byte_by_byte(wire: str, shim: Shim) -> None:
    with census(shim) as people:
        client = people.join(shim.http if wire == "http" else shim.socks)
        for byte in WIRE[wire]:
            client.send(bytes([byte]))
        if wire == "socks4":
            client.send(b"GET / HTTP/1.0\r\n\r\n")
        else:
            for byte in b"then this":
                client.send(bytes([byte]))
        client.end()
        assert client.read_all().endswith(b"reached 93.184.216.34" if wire == "socks4" else b"then this")


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("port", ["socks", "http"])
def test_something_else_is_said(port: str, junk: str, shim: Shim, upstream: Upstream) -> None:
    """Neither is it taken for a request, nor does what follows it count."""
    before = len(upstream.seen)
    with census(shim) as people:
        client = people.join(getattr(shim, port))
        client.send(JUNK[junk])
        client.end()
        answer = client.read_all()
        assert port == "http" or answer == b"" or answer[:1] in b"\0\5", "a page learns nothing from the SOCKS port"
    assert not shim.find("request_decided", people.mark)
    assert len(upstream.seen) == before
    serves(shim)


@pytest.mark.parametrize("deed", ["close", "reset", "end"])
def test_it_leaves_while_the_upstream_owes_the_reply(deed: str, shim: Shim, upstream: Upstream) -> None:
    upstream.behave["mute.test"] = Behaviour(stop_at="reply", hold=True)
    with census(shim) as people:
        client = people.join()
        client.send(GREETING + socks5(b"mute.test", 80))
        assert client.read(2) == NO_AUTH
        seen = upstream.wait_for("mute.test")
        {"close": client.sock.close, "reset": client.reset, "end": client.end}[deed]()
        assert seen.ended.wait(PATIENCE_S)
    upstream.seen.remove(seen)
    serves(shim)


@pytest.mark.parametrize("deed", ["close", "reset", "end"])
@pytest.mark.parametrize("state", ["idle", "after a few bytes", "in bulk", "with bytes unread"])
def test_it_leaves_its_tunnel(state: str, deed: str, shim: Shim, upstream: Upstream) -> None:
    with census(shim) as people:
        client = people.join()
        client.send(GREETING + socks5(b"echo.test", 80))
        assert len(client.read(12)) == 12
        match state:
            case "after a few bytes":
                client.send(b"few")
                assert client.read(3) == b"few"
            case "in bulk":
                for _ in range(32):
                    client.send(bytes(1 << 16))
                    assert len(client.read(1 << 16)) == 1 << 16
            case "with bytes unread":
                client.send(bytes(1 << 16))
        {"close": client.sock.close, "reset": client.reset, "end": client.end}[deed]()
    serves(shim)


def test_it_does_not_read_what_it_asked_for_and_nobody_else_waits(shim: Shim) -> None:
    with census(shim) as people:
        deaf = people.join()
        deaf.send(GREETING + socks5(b"echo.test", 80))
        assert len(deaf.read(12)) == 12
        deaf.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):  # the echo stands still once everything between is full
            while True:
                deaf.send(bytes(1 << 16))
        people.count += 1
        with tunnel5(shim.socks, b"echo.test", 80) as other:
            other.send(b"x")
            assert other.read(1) == b"x"
