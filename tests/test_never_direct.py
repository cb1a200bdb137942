"""Not one packet leaves but to the upstream: whatever clients do, whatever goes wrong, in every mode.

Shim and clients run where a default route leads to a device on which every packet is seen. Their only resolver is the
shim's sensor, their upstream is a unix socket; what leaves can only have gone around it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.border import IN_TESTS, border, leaving
from rig.clients import (
    Program,
    Task,
    chromium,
    curl,
    curl_tunnel,
    firefox,
    proxychains,
    requests,
    socat,
    torsocks,
)
from rig.inject import used
from rig.namespace import Namespace
from rig.programs import missing, require_namespaces, require_program
from rig.shim import ROOT, Shim
from rig.upstream import Behaviour, Upstream

from shim.sandbox import offered

IN_PATHS = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
LISTED, ADDRESS, UNLISTED, LITERAL = "page.test", "93.184.216.34", "unlisted.test", "93.184.216.99"
PROGRAMS: dict[str, Program] = {
    **{f"curl {option}": curl(option) for option in ("--socks4", "--socks4a", "--socks5", "--socks5-hostname")},
    "curl --proxytunnel": curl_tunnel,
    "torsocks": torsocks,
    "socat": socat("SOCKS4A"),
    "proxychains4": proxychains("socks5", proxy_dns=True),
    "requests": requests("socks5h"),
}
QUERIES = """
import contextlib, socket
from rig.asking import framed, wire
names = ["page.test", "unlisted.test", "www.example.com", "x.onion", "localhost", "34.216.184.93.in-addr.arpa"]
queries = [wire(name, rdtype) for rdtype in ("A", "AAAA", "PTR", "MX", "HTTPS", "ANY") for name in names]
with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.connect(("127.0.0.1", 53))
    for query in queries:
        udp.send(query)
    with socket.create_connection(("127.0.0.1", 53), timeout=1) as tcp:
        tcp.sendall(b"".join(map(framed, queries)))
        udp.settimeout(0.5)
        for _ in queries:
            udp.recv(4096)
        tcp.recv(4096)
"""
FAULTS = {
    "refuses": Behaviour(reply=5),
    "hangs": Behaviour(stop_at="accept", hold=True),
    "hangs before its reply": Behaviour(stop_at="reply", hold=True),
    "closes": Behaviour(stop_at="accept"),
    "talks nonsense": Behaviour(stop_at="method", say=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "says half a reply": Behaviour(stop_at="reply", say=b"\5\0\0\1"),
    "is no socks": Behaviour(stop_at="accept", say=b"\x15\3\1\0\2\2\x28"),
}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    require_namespaces()
    with border(tmp_path_factory.mktemp("border"), {LISTED: ADDRESS}, "127.0.0.1") as namespace:
        yield namespace


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "quick.toml"
    path.write_text("[limits]\nhandshake_timeout_s = 1\n[upstream]\nreply_timeout_s = 0.4\nconnect_timeout_s = 0.4\n")
    return path


def shim_in(space: Namespace, upstream: str | None, config: Path, *flags: str) -> Shim:
    """With all its listeners, the sensor where every resolver of the namespace asks."""
    flags = ("--http", "127.0.0.1:0", "--dns", "127.0.0.1:53", *flags)
    return Shim(*flags, config=config, upstream=upstream, prefix=space.prefix)


def everybody(space: Namespace, shim: Shim, folder: Path) -> None:
    """Every wire input, every kind of query, and real programs by name and by address."""
    driven = space.run([sys.executable, "-m", "rig.drive", shim.socks], env=IN_TESTS, timeout_s=100)
    assert int(driven.stdout) > 100, driven.stderr
    assert space.run([sys.executable, "-c", QUERIES], env=IN_TESTS, timeout_s=60).returncode == 0
    for number, (host, program) in enumerate((h, p) for h in (LISTED, UNLISTED, LITERAL) for p in PROGRAMS.values()):
        home = folder / str(number)
        home.mkdir()
        use(space, program, Task(host, shim.socks, shim.http, home))


def few(space: Namespace, shim: Shim, folder: Path) -> None:
    """Less of it, for faults that make each of them wait."""
    assert space.run([sys.executable, "-c", QUERIES], env=IN_TESTS, timeout_s=60).returncode == 0
    for host in (LISTED, LITERAL):
        for option in ("--socks4", "--socks5-hostname"):
            use(space, curl(option), Task(host, shim.socks, shim.http, folder))


def use(space: Namespace, program: Program, task: Task) -> None:
    """Whatever comes of it."""
    command = program(task)
    for name in command.programs:
        require_program(name)
    with contextlib.suppress(subprocess.TimeoutExpired):
        space.run(command.argv, command.env, timeout_s=30)


@pytest.mark.parametrize(
    ("mode", "dns"), [("warn", "refuse"), ("warn", "tor"), ("block", "issue"), ("repair", "issue"), ("repair", "tor")]
)
def test_over_all_clients(
    mode: str, dns: str, space: Namespace, upstream: Upstream, config: Path, tmp_path: Path
) -> None:
    before = len(upstream.seen)
    with leaving(space) as gone, shim_in(space, upstream.unix, config, "--mode", mode, "--dns-mode", dns) as shim:
        everybody(space, shim, tmp_path)
        shim.wait_for("dns_query")
    assert len(upstream.seen) > before, "and so was the upstream"
    assert gone == []


@pytest.mark.parametrize("fault", FAULTS)
def test_over_all_faults_of_the_upstream(
    fault: str, space: Namespace, upstream: Upstream, config: Path, tmp_path: Path
) -> None:
    upstream.behaviour = FAULTS[fault]
    try:
        with leaving(space) as gone, shim_in(space, upstream.unix, config, "--dns-mode", "tor") as shim:
            few(space, shim, tmp_path)
            shim.closed()
    finally:
        upstream.behaviour = Behaviour()
    assert gone == []


NOBODY = {
    "no socket file": ("unix:/nonexistent/socks", ""),
    "nobody listens": ("127.0.0.1:1", ""),
    "no tor to start": (None, '[upstream]\ntor_command = "/nonexistent/tor"\n'),
    "a tor that ends at once": (None, '[upstream]\ntor_command = "/bin/false"\n'),
}


@pytest.mark.parametrize("why", NOBODY)
def test_while_there_is_no_upstream(why: str, space: Namespace, tmp_path: Path) -> None:
    where, text = NOBODY[why]
    config = tmp_path / "shim.toml"
    config.write_text(text)
    with leaving(space) as gone, shim_in(space, where, config, "--dns-mode", "tor") as shim:
        few(space, shim, tmp_path)
        shim.wait_for("upstream_failed")
    assert gone == []


def test_while_the_machine_fails(space: Namespace, upstream: Upstream, config: Path, tmp_path: Path) -> None:
    """No descriptors, a bad file at a hangup, and a stop in the middle."""
    with leaving(space) as gone, shim_in(space, upstream.unix, config, "--dns-mode", "tor") as shim:
        mine = shim.process.pid
        soft, hard = resource.prlimit(mine, resource.RLIMIT_NOFILE)
        for spare in (0, 1, 2):
            resource.prlimit(mine, resource.RLIMIT_NOFILE, (used(mine) + spare, hard))
            space.run([sys.executable, "-c", QUERIES], env=IN_TESTS, timeout_s=60)
            space.run(["curl", "-sS", "-m", "2", "--socks5-hostname", shim.socks, f"http://{LISTED}/"])
        resource.prlimit(mine, resource.RLIMIT_NOFILE, (soft, hard))
        config.write_text("[upstream\n")
        shim.signal(signal.SIGHUP)
        shim.wait_for("config_rejected")
        few(space, shim, tmp_path)
        shim.signal(signal.SIGSTOP)
        with space.running(["curl", "-sS", "-m", "20", "--socks5-hostname", shim.socks, f"http://{UNLISTED}/"]):
            shim.signal(signal.SIGCONT)
            shim.decided(destination=f"{UNLISTED}:80")
        few(space, shim, tmp_path)
    assert gone == []


@pytest.mark.parametrize(("listener", "beside"), [("127.0.0.1:0", set()), ("[::1]:0", {"fe80::99", "ff02::99"})])
def test_by_a_socket_of_the_sensor_in_wrong_hands(listener: str, beside: set[str], space: Namespace) -> None:
    """It is there before the sandbox is. Without it there is a way, or the test would show nothing.

    Of IPv6 the kernel lets datagrams out to the neighbours on a link, if the sender names it, whatever it is bound to.
    """
    if lacking := [part for part, had in offered().items() if not had]:
        missing(f"needs all of the sandbox: {', '.join(lacking)}")
    assert out_of_wrong_hands(space, listener, "require") == beside
    assert out_of_wrong_hands(space, listener, "off") - beside


def out_of_wrong_hands(space: Namespace, listener: str, sandbox: str) -> set[str]:
    """Where a worker's datagrams go to that does all it can."""
    settings = {
        "sandbox.mode": sandbox,
        "listen.dns": [listener],
        "listen.socks": ["127.0.0.1:0"],
        "upstream.address": "127.0.0.1:1",
    }
    words = ['{"leave": true}', *(f"{key}={json.dumps(value)}" for key, value in settings.items())]
    with leaving(space) as gone:
        done = space.run([sys.executable, "-m", "rig.confined", *words], env=IN_TESTS | {"PYTHONPATH": IN_PATHS})
        assert int(done.stdout) > 10, done.stderr
    return {packet.split()[3] for packet in gone}


@pytest.mark.clients
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_over_browsers(browser: str, space: Namespace, upstream: Upstream, config: Path, tmp_path: Path) -> None:
    program = chromium("socks5") if browser == "chromium" else firefox(5)
    with leaving(space) as gone, shim_in(space, upstream.unix, config, "--dns-mode", "tor") as shim:
        use(space, program, Task(UNLISTED, shim.socks, shim.http, tmp_path))
        shim.decided(destination=f"{UNLISTED}:80")
    assert gone == []


def test_to_an_upstream_out_there_and_nowhere_else(space: Namespace, config: Path, tmp_path: Path) -> None:
    """It never answers; what leaves is the attempt to reach it."""
    with leaving(space) as gone, shim_in(space, "203.0.113.9:9050", config, "--dns-mode", "tor") as shim:
        use(space, curl("--socks5-hostname"), Task(UNLISTED, shim.socks, shim.http, tmp_path))
        use(space, curl("--socks5"), Task(LITERAL, shim.socks, shim.http, tmp_path))
    assert {tuple(packet.split()[3:]) for packet in gone} == {("203.0.113.9", "9050")}
