"""A sentinel goes through every path of the sensor: while scrubbing is on, no line shows it, nor an address for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from rig.asking import address, ask, ask_tcp, udp_client, wire
from rig.shim import Shim
from rig.upstream import RESOLVED, REVERSED, Behaviour, Upstream
from rig.wire import GREETING, Client, socks5

WORD, FOUND = "s3ntinel", "93.184.216.177"
NAMES = [
    f"{WORD}.test",
    f"{WORD.upper()}.test",
    f"{WORD}.onion",
    f"x.{WORD}.onion.lan",
    f"{WORD}.local",
    f"{WORD}",
    f"wpad.{WORD}.test",
    f"_http._tcp.{WORD}.test",
    f"no.{WORD}.test",
    f"garbage.{WORD}.test",
    f"nothing.{WORD}.test",
]


def odd(name: str) -> Iterator[bytes]:
    """The name in messages that are no plain query."""
    message = wire(name)
    yield message[:5] + b"\2" + message[6:] + message[12:]
    yield message[:-2] + b"\0\3"
    yield message[:2] + b"\x28" + message[3:]
    yield wire(name, edns=3)
    yield message + b"\0" * 5000
    yield message[:6] + b"\xff\xff" + message[8:]
    yield message.replace(WORD.encode(), b"\xff" + WORD.encode()[1:])
    yield message[:-3]
    yield b"\0" * 2 + b"\x81" + message[3:]


@pytest.fixture(scope="module")
def spiteful() -> Iterator[Upstream]:
    """An upstream that finds the sentinel, and repeats it in its own mistakes."""
    RESOLVED[f"{WORD}.test"], REVERSED[FOUND] = FOUND, f"{WORD}.test"
    try:
        with Upstream() as server:
            server.behave[f"no.{WORD}.test"] = Behaviour(reply=4)
            server.behave[f"garbage.{WORD}.test"] = Behaviour(stop_at="reply", say=WORD.encode() * 40)
            server.behave[f"nothing.{WORD}.test"] = Behaviour(stop_at="reply")
            yield server
    finally:
        del RESOLVED[f"{WORD}.test"], REVERSED[FOUND]


def started(dns_mode: str, log_format: str, upstream: Upstream, folder: Path, reveal: bool = False) -> Shim:
    config = folder / "shim.toml"
    config.write_text(f'[dns]\ncapacity = 4\nstate = "{folder / WORD}"\n')
    options = ("--dns", "127.0.0.1:0", "--dns-mode", dns_mode, "--log-level", "debug", "--mode", "repair")
    return Shim(*options, log_format=log_format, config=config, upstream=upstream.address, reveal=reveal)


def listeners(shim: Shim) -> tuple[str, str]:
    """Where SOCKS and DNS are listened for, read from the first line of either format."""
    while len(found := re.findall(r"127\.0\.0\.1:\d+", "".join(shim.raw[:1]))) < 2:
        assert shim.process.poll() is None, shim.stderr
    return found[0], found[1]


def send_everything(shim: Shim) -> None:
    """Every input, then a request to each address that came back."""
    socks, where = listeners(shim)[0], address(listeners(shim)[1])
    got = {FOUND}
    for name in NAMES:
        for rdtype in ("A", "AAAA", "HTTPS", "PTR"):
            replies = [ask(where, wire(name, rdtype)), *ask_tcp(where, wire(name, rdtype))]
            got |= {str(data) for reply in replies for rrset in reply.answer for data in rrset if rdtype == "A"}
        for message in odd(name):
            with udp_client(where) as client:
                client.send(message)
    for found in got:
        ask(where, wire(ip_address(found).reverse_pointer, "PTR"))
        with Client(socks) as client:
            client.send(GREETING + socks5(found, 80))
            client.end()
            client.read_all()


@pytest.mark.parametrize("dns_mode", ["refuse", "issue", "tor"])
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nothing_shows_the_sentinel(dns_mode: str, log_format: str, spiteful: Upstream, tmp_path: Path) -> None:
    with started(dns_mode, log_format, spiteful, tmp_path) as shim:
        send_everything(shim)
    said = shim.stderr.lower()
    secrets = [WORD, WORD.encode().hex(), FOUND, bytes(map(int, FOUND.split("."))).hex(), "198.18.", "198.19."]
    assert [secret for secret in secrets if secret in said] == []
    assert "dns_query" in said or "query" in said


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nor_with_the_upstream_away(log_format: str, tmp_path: Path) -> None:
    with Upstream() as gone:
        pass
    with started("tor", log_format, gone, tmp_path) as shim:
        send_everything(shim)
    assert WORD not in shim.stderr.lower() and FOUND not in shim.stderr


def test_nor_a_state_file_that_cannot_be_used(spiteful: Upstream, tmp_path: Path) -> None:
    """Its own name is a destination to nobody, but what stands in it is."""
    (tmp_path / WORD).write_text(f'{{"version": 1, "next": [], "entries": [["{WORD}", "{WORD}.test", 0, 0]]}}')
    with started("issue", "json", spiteful, tmp_path) as shim:
        assert shim.wait_for("state_failed")["error"] == "not_a_state"
    assert WORD not in shim.stderr


def test_it_would_be_found(spiteful: Upstream, tmp_path: Path) -> None:
    with started("tor", "json", spiteful, tmp_path, reveal=True) as shim:
        send_everything(shim)
        shim.wait_for("dns_query", qname=f"{WORD}.test", addresses=[FOUND])
