"""What a web page can make a browser send to a port of this machine: to the SOCKS, HTTP and DNS ports it does nothing.

A page chooses method (of a few), path, some headers and the body, never the first bytes of a connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.asking import wire
from rig.faults import census, serves
from rig.namespace import Namespace
from rig.programs import require_namespaces, require_program
from rig.shim import ROOT, Shim
from rig.upstream import Upstream
from rig.wire import GREETING, Client, http_connect, socks4, socks5

NOBODYS = "12345"
"""A port at which nobody listens in an empty namespace."""

SMUGGLED = GREETING + socks5(b"smuggled.test", 80)
QUERY = wire("smuggled.test")
FRAMED = len(QUERY).to_bytes(2, "big") + QUERY


def post(body: bytes, kind: str = "text/plain", method: str = "POST") -> bytes:
    """A form or a fetch without preflight."""
    head = f"{method} /x HTTP/1.1\r\nHost: 127.0.0.1:9250\r\nOrigin: http://evil.test\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: keep-alive\r\n\r\n".encode() + body


def hello() -> bytes:
    """A ClientHello whose session ticket the page's server has chosen."""
    ticket = SMUGGLED + FRAMED
    body = b"\3\3" + os.urandom(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    extension = struct.pack(">HH", 35, len(ticket)) + ticket
    body += struct.pack(">H", len(extension)) + extension
    handshake = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + struct.pack(">H", len(handshake)) + handshake


PAGES = {
    "get": b"GET /smuggled.test HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "post socks5": post(SMUGGLED),
    "post socks4": post(socks4(b"smuggled.test", 80)),
    "post dns": post(FRAMED),
    "post connect": post(http_connect("smuggled.test:443")),
    "multipart": post(b"--x\r\n\r\n" + SMUGGLED + b"\r\n--x--", "multipart/form-data; boundary=x"),
    "pipelined": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20 + SMUGGLED,
    "preflight": post(b"", method="OPTIONS"),
    "put": post(SMUGGLED, method="PUT"),
    "websocket": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + SMUGGLED,
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "tls": hello(),
    "turn over tcp": struct.pack(">HHI", 3, len(SMUGGLED), 0x2112A442) + os.urandom(12) + SMUGGLED,
    "stun over tcp": struct.pack(">HHI", 1, len(FRAMED), 0x2112A442) + os.urandom(12) + FRAMED,
    "long path": b"GET /" + SMUGGLED.hex().encode() * 400 + b" HTTP/1.1\r\n\r\n",
}


@pytest.fixture(scope="module")
def shim(upstream: Upstream) -> Iterator[Shim]:
    flags = ("--mode", "warn", "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0")
    with Shim(*flags, upstream=upstream.address) as process:
        yield process


@pytest.mark.parametrize("sent", PAGES)
@pytest.mark.parametrize("port", ["socks", "http"])
def test_nothing_is_asked_for_and_nothing_given_away(port: str, sent: str, shim: Shim, upstream: Upstream) -> None:
    before = len(upstream.seen)
    with census(shim) as people:
        client = people.join(getattr(shim, port))
        answer = said(client, PAGES[sent])
    assert answer == b"", "a page could tell from an answer what listens here"
    assert not shim.find("request_decided", people.mark)
    assert len(upstream.seen) == before
    assert "smuggled" not in "".join(shim.raw)
    serves(shim)


@pytest.mark.parametrize("sent", PAGES)
def test_nothing_is_looked_up(sent: str, shim: Shim, upstream: Upstream) -> None:
    before = len(upstream.seen)
    with Client(shim.ready["dns"][0]) as client:
        said(client, PAGES[sent])
    with Client(shim.ready["dns"][0]) as client:  # what came before has been read by the time that this is answered
        client.send(FRAMED.replace(b"smuggled", b"honestly"))
        assert client.read(4)[2:] == QUERY[:2]
    assert len(upstream.seen) == before
    assert not [line for line in shim.find("dns_query") if "smuggled" in str(line.get("qname"))]


@pytest.mark.parametrize("sent", [name for name in PAGES if "over tcp" not in name])
def test_the_dns_port_hangs_up_at_once(sent: str, shim: Shim) -> None:
    """As a port does at which nobody listens, as far as a page can tell; not when a deadline is over."""
    mark = shim.mark()
    with Client(shim.ready["dns"][0]) as client, contextlib.suppress(OSError):
        client.send(PAGES[sent])
        assert client.read_all() == b""
    shim.wait_for("dns_query", mark, answer="drop")


def said(client: Client, message: bytes) -> bytes:
    """What is answered to this."""
    with contextlib.suppress(OSError):  # hung up on while it was said
        client.send(message)
        client.end()
    return client.read_all()


@pytest.mark.clients
def test_a_page_in_a_real_browser_reaches_nothing_and_learns_nothing(upstream: Upstream, tmp_path: Path) -> None:
    """For the page each attempt ends as it does at a port where nobody listens."""
    require_namespaces()
    require_program("chromium")
    with Namespace(tmp_path, {}) as space:
        flags = ("--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", "--dns-mode", "tor")
        with Shim(*flags, upstream=upstream.unix, prefix=space.prefix) as process:
            before = len(upstream.seen)
            ports = [where.rpartition(":")[2] for where in (process.socks, process.http, process.ready["dns"][0])]
            env = {"PYTHONPATH": str(ROOT / "tests"), "HOME": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
            argv = [sys.executable, "-m", "rig.hostile_page", str(tmp_path), *ports, NOBODYS]
            done = space.run(argv, env, timeout_s=100)
            outcomes = json.loads(done.stdout or "{}")
            for port in ports:
                mine = {
                    name.removesuffix(f" {port}"): how for name, how in outcomes.items() if name.endswith(f" {port}")
                }
                theirs = {name: outcomes[f"{name} {NOBODYS}"] for name in mine}
                assert len(mine) > 15, done.stderr
                assert mine == theirs
            assert not {"yes", "opaque0", "basic200"} & set(outcomes.values())
            process.stop()  # all that it has seen is in its log
            assert process.find("handshake_failed"), "it was tried"
            assert not process.find("request_decided")
            assert not [line for line in process.find("dns_query") if "smuggled" in str(line.get("qname"))]
            assert len(upstream.seen) == before
