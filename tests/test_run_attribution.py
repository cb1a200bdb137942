"""`shim run` from outside: which program a finding names, for real programs and several at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig.programs import require_program
from rig.shim import Line, Shim
from rig.upstream import Behaviour, Upstream
from rig.wire import GREETING, Client, socks5

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="programs are looked up on Linux only")

CLIENT = """
import socket, sys, time
kept = []
for number in range(int(sys.argv[3])):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    sock.sendall(b"\\x05\\x01\\x00")
    sock.recv(2)
    sock.sendall(b"\\x05\\x01\\x00\\x01" + socket.inet_aton(sys.argv[2]) + b"\\x00\\x50")
    sock.recv(10)
    kept.append(sock)
time.sleep(0.5)
"""
"""Asks N times for an address, the port 80 of which it wants, and stays for as long as it may be looked for."""


TRIES = 10
LATE = ("gone", "timeout")


def port_of(address: str) -> str:
    return address.rpartition(":")[2]


def findings(shim: Shim, count: int) -> list[Line]:
    """The first revisions of so many findings."""
    for number in range(1, count + 1):
        shim.wait_for("leak_found", finding=f"f{number}")
    return [line for line in shim.lines if line["event"] == "leak_found" and line["revision"] == 1]


WAITS = "93.184.216.231"
"""An address that the upstream never answers for in these tests: whoever asks for it waits."""


@contextmanager
def curl(socks: str, host: str) -> Iterator[subprocess.Popen[bytes]]:
    """A curl that looks names up itself; ended at the end, should it still run."""
    command = [require_program("curl"), "-sS", "-m", "60", "--socks5", socks, f"http://{host}/"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_curl(found: Line, pid: int) -> None:
    assert found["process"]["pid"] == pid
    assert (found["process"]["name"], Path(found["process"]["exe"]).name) == ("curl", "curl")
    assert "process_reason" not in found
    assert found["message"].startswith(f"curl (pid {pid}, SOCKS5, port 80)")
    assert "socks5h://" in found["advice"]


def test_curl_is_named_with_its_pid_and_the_remedy(upstream: Upstream) -> None:
    """It waits for its answer, as long as it takes: so it is named at the first request, on a busy machine, too."""
    upstream.behave[WAITS] = Behaviour(stop_at="reply", hold=True)
    with Shim(upstream=upstream.address) as shim, curl(shim.socks, WAITS) as process:
        assert_curl(shim.wait_for("leak_found", kind="address_only"), process.pid)


def test_a_refused_curl_is_named_though_it_exits_at_once(upstream: Upstream) -> None:
    """The refusal waits for its name, 20 ms at most: a busy machine may need more, and a later curl is named then."""
    with Shim("--mode", "block", upstream=upstream.address) as shim:
        for _ in range(TRIES):
            mark = shim.mark()
            with curl(shim.socks, WAITS) as process:
                assert process.wait(30) != 0
            found = shim.wait_for("leak_found", mark, kind="address_only")
            if found["process"]:
                break
            assert found["process_reason"] in LATE
    assert_curl(found, process.pid)


def test_a_client_on_the_wrong_port_is_named(warn: Shim) -> None:
    curl = require_program("curl")
    subprocess.run([curl, "-sS", "-m", "5", f"http://{warn.ready['socks'][0]}/"], capture_output=True, check=False)
    found = warn.wait_for("leak_found", kind="not_socks")
    assert found["process"]["name"] == "curl"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_dns_query_is_named(transport: str, upstream: Upstream) -> None:
    """Whoever waits for its answer is there to be found: what is not said in time is late, and nobody is ever gone."""
    dig = require_program("dig")
    with Shim("--dns", "127.0.0.1:0", upstream=upstream.address) as shim:
        port = port_of(shim.ready["dns"][0])
        for number in range(TRIES):
            line = asked(shim, dig, port, transport, number)
            if line["process"]:
                break
            assert line["process_reason"] == "timeout"
        assert line["process"]["name"] == "dig"
        found = shim.wait_for("leak_found", query=line["query"])
        assert found["process"]["pid"] == line["process"]["pid"]


def asked(shim: Shim, dig: str, port: str, transport: str, number: int) -> Line:
    """Ask once; the query's line."""
    name = f"{transport}{number}.example.net"
    flag = "+tcp" if transport == "tcp" else "+notcp"
    command = [dig, "@127.0.0.1", "-p", port, flag, "+tries=1", name]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        assert process.wait(30) == 0
        line = shim.wait_for("dns_query", qname=name)
        assert line["process"] is None or line["process"]["pid"] == process.pid
        return line


def test_programs_at_once_are_never_mixed_up(upstream: Upstream) -> None:
    programs, each = 6, 8
    with Shim("--log-level", "warning", upstream=upstream.address) as shim:
        port = port_of(shim.ready["socks"][0])
        running = [
            subprocess.Popen([sys.executable, "-c", CLIENT, port, f"198.51.100.{number}", str(each)])
            for number in range(programs)
        ]
        expected = {f"198.51.100.{number}:80": process.pid for number, process in enumerate(running)}
        assert [process.wait(30) for process in running] == [0] * programs
        named = findings(shim, programs * each)
    assert len(named) == programs * each
    wrong = [line for line in named if line["process"] and line["process"]["pid"] != expected[line["destination"]]]
    assert wrong == []
    assert sum(line["process"] is not None for line in named) >= programs  # each is seen at least once


def test_a_client_that_is_gone_is_not_guessed(warn: Shim) -> None:
    with socket.create_connection(("127.0.0.1", int(port_of(warn.ready["socks"][0])))) as sock:
        sock.sendall(b"\x05\x01\x00\x05\x01\x00\x01\xc6\x33\x64\x63\x00\x50")
    found = warn.wait_for("leak_found", kind="address_only", destination="198.51.100.99:80")
    if found["process"] is None:
        assert found["process_reason"] in ("gone", "timeout", "busy")
    else:
        assert found["process"]["name"].startswith(("python", "pytest"))


@pytest.fixture
def silent(tmp_path: Path, upstream: Upstream) -> Iterator[Shim]:
    config = tmp_path / "shim.toml"
    config.write_text("[log]\nattribution = false\n")
    with Shim(upstream=upstream.address, config=config) as shim:
        yield shim


def test_attribution_can_be_switched_off(silent: Shim) -> None:
    with Client(silent.socks) as client:
        client.send(GREETING)
        client.send(socks5("198.51.100.98", 80))
        found = silent.wait_for("leak_found", kind="address_only")
    assert (found["process"], found["process_reason"]) == (None, "off")


def test_a_safe_request_is_never_looked_up(upstream: Upstream) -> None:
    with Shim("--log-level", "debug", upstream=upstream.address) as shim:
        with Client(shim.socks) as client:
            client.send(GREETING)
            client.send(socks5(b"page.test", 80))
            shim.decided(exposure="name")
        shim.closed()
        assert not [line for line in shim.lines if line["event"] in ("process_sought", "process_identified")]


def test_many_findings_a_second_lose_none_and_delay_nobody(upstream: Upstream) -> None:
    """More look-ups at once than may be under way: each finding comes all the same."""
    count = 400
    with Shim("--log-level", "warning", upstream=upstream.address) as shim:
        port = port_of(shim.ready["socks"][0])
        threads = [
            threading.Thread(
                target=subprocess.run,
                args=([sys.executable, "-c", CLIENT, port, "198.51.100.7", str(count // 4)],),
                kwargs={"check": True},
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(findings(shim, count)) == count


def test_a_thousand_requests_are_answered_while_nobody_can_be_found(upstream: Upstream) -> None:
    """Sockets in flight belong to no process: each search walks through everything, and far more come than it can."""
    count = 1000
    with Shim("--log-level", "warning", upstream=upstream.address) as shim:
        flights = [request_in_flight(shim, number) for number in range(count)]
        answers = [landed(flight) for flight in flights]
        assert answers == [b"\x05\x00\x05\x00"] * count
        found = findings(shim, count)
    named = [line["process"]["pid"] for line in found if line["process"]]
    assert set(named) <= {os.getpid()}, "seen before it was in flight"
    reasons = {line["process_reason"] for line in found if not line["process"]}
    assert reasons & {"busy", "timeout"}, "the look-ups lagged behind"
    assert reasons <= {"busy", "timeout", "other_namespace", "gone", "not_permitted"}


def request_in_flight(shim: Shim, number: int) -> socket.socket:
    """A request for an address whose own socket waits in another one to be received; that one."""
    ours, theirs = socket.socketpair()
    with theirs, socket.create_connection(("127.0.0.1", shim.port)) as sock:
        socket.send_fds(theirs, [b"x"], [sock.fileno()])
        sock.sendall(GREETING + socks5(f"198.51.100.{number % 250 + 1}", 8000 + number // 250))
    return ours


def landed(flight: socket.socket) -> bytes:
    """The first bytes of the answer."""
    with flight:
        _, descriptors, _, _ = socket.recv_fds(flight, 1, 1)
        with socket.socket(fileno=descriptors[0]) as sock:
            sock.settimeout(10)
            answer = b""
            while len(answer) < 4 and (more := sock.recv(64)):
                answer += more
            return answer[:4]
