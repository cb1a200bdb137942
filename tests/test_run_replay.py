"""`shim replay` from outside: the log of a running shim gives the findings that stand in it."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest
from rig.asking import address, answers, ask, wire
from rig.shim import Shim, run
from rig.upstream import Upstream
from rig.wire import GREETING, RESOLVE, http_connect, socks4, socks5
from rig.wire import ask as send

NAME = "secret.example.org"


def live(dns_mode: str, upstream: Upstream, level: str) -> str:
    """The log of a shim that has met a little of everything."""
    flags = ("--dns", "127.0.0.1:0", "--dns-mode", dns_mode, "--log-level", level)
    with Shim(*flags, upstream=upstream.address) as shim:
        sensor = address(shim.ready["dns"][0])
        for name in (NAME, "www.example.net", "www.example.net.corp.lan", "example.onion", "wpad", "qwhjdkzlmn"):
            found = answers(ask(sensor, wire(name)))
            for host in (text.split()[2] for text in found):
                send(shim.socks, (socks4(host, 80), 8))
                send(shim.socks, (GREETING + socks5(host, 443), 12))
        send(shim.socks, (GREETING + socks5(b"www.example.net", 443), 12))
        send(shim.socks, (GREETING + socks5(NAME.encode(), 0, RESOLVE), 12))
        for last in range(6):
            send(shim.socks, (GREETING + socks5(f"203.0.113.{last}", 443), 12))
        send(shim.socks, (GREETING + socks5(b"203.0.113.9", 443), 12))
        ask(sensor, wire(ip_address("203.0.113.1").reverse_pointer, "PTR"))
        send(shim.socks, (http_connect("www.example.com:443"), 0))
    return shim.stderr


@pytest.mark.parametrize(
    ("dns_mode", "level"),
    [("refuse", "debug"), ("issue", "debug"), ("tor", "debug"), ("refuse", "info"), ("issue", "info")],
)
def test_live_and_replay_say_the_same(dns_mode: str, level: str, upstream: Upstream, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(live(dns_mode, upstream, level))
    told = [json.loads(line) for line in log.read_text().splitlines() if '"event":"leak_found"' in line]
    replayed = run("replay", "--format", "json", str(log))
    assert (replayed.returncode, replayed.stderr) == (1, "")
    assert [json.loads(line) for line in replayed.stdout.splitlines()] == told
    kinds = {line["kind"] for line in told}
    assert {"dns_query", "onion_in_dns", "address_only", "address_as_text", "not_socks"} <= kinds
    # Where the queries were the way to issued addresses, they were no look-ups beside the proxy.
    assert kinds & {"local_resolution", "dns_beside_proxy"} == {
        "local_resolution" if dns_mode == "issue" else "dns_beside_proxy"
    }


def test_a_scrubbed_log_says_why_it_cannot_be_replayed(upstream: Upstream, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Shim("--log-level", "debug", upstream=upstream.address, reveal=False) as shim:
        send(shim.socks, (GREETING + socks5("203.0.113.1", 443), 12))
    log.write_text(shim.stderr)
    replayed = run("replay", str(log))
    assert (replayed.returncode, replayed.stdout) == (2, "")
    assert "names are scrubbed here" in replayed.stderr
