"""The upstream misbehaves in every state of a connection: killed, reset, hung, garbled, cut short, byte by byte.

Real sockets, a real `shim run`; the upstream's end of each connection is in the test's hands.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig.faults import GRANTED, METHOD, Accepted, Census, Meddler, census, quick, serves
from rig.shim import ROOT, Shim
from rig.wire import GREETING, NO_AUTH, Client, refused5, socks5

ASK = GREETING + socks5(b"fault.test", 80)
BEFORE_THE_REPLY = {
    "nothing": b"",
    "half a method": METHOD[:1],
    "a method": METHOD,
    "half a reply": METHOD + GRANTED[:5],
    "all but a byte": METHOD + GRANTED[:-1],
    "half a name": METHOD + b"\5\0\0\3\x0aab",
}
GARBAGE = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "tls": b"\x15\x03\x01\x00\x02\x02\x28",
    "version": b"\4\0",
    "zeros": bytes(64),
    "reply version": METHOD + b"\4\0\0\1" + bytes(6),
    "address type": METHOD + b"\5\0\0\x7f" + bytes(6),
    "much": b"\xff" * 100_000,
}
Deed = Callable[[Accepted], None]
LEAVING: dict[str, Deed] = {"close": lambda end: end.sock.close(), "reset": lambda end: end.reset()}


@pytest.fixture(scope="module")
def meddler() -> Iterator[Meddler]:
    with Meddler() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def shim(meddler: Meddler, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim]:
    config = quick(tmp_path_factory.mktemp("quick"))
    with Shim("--http", "127.0.0.1:0", config=config, upstream=meddler.address) as process:
        yield process


def ask(people: Census, meddler: Meddler) -> tuple[Client, Accepted]:
    """A client that waits for its reply, and the upstream that owes it."""
    client = people.join()
    client.send(ASK)
    upstream = meddler.accept()
    upstream.asked()
    assert client.read(2) == NO_AUTH
    return client, upstream


def tunnel(people: Census, meddler: Meddler) -> tuple[Client, Accepted]:
    """Both ends of an open tunnel."""
    client, upstream = ask(people, meddler)
    upstream.send(METHOD + GRANTED)
    assert client.read(10) == GRANTED
    return client, upstream


def still_tunnels(shim: Shim, meddler: Meddler) -> None:
    """The next one is served."""
    with census(shim) as people:
        client, upstream = tunnel(people, meddler)
        with upstream:
            upstream.send(b"well")
            assert client.read(4) == b"well"


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("said", BEFORE_THE_REPLY)
def test_it_goes_before_it_has_replied(said: str, leaving: str, shim: Shim, meddler: Meddler) -> None:
    with census(shim) as people:
        client, upstream = ask(people, meddler)
        upstream.send(BEFORE_THE_REPLY[said])
        LEAVING[leaving](upstream)
        assert client.read_all() == refused5(1)
    assert [line["reason"] for line in people.settle()] == ["upstream_failed"]
    still_tunnels(shim, meddler)


@pytest.mark.parametrize("said", BEFORE_THE_REPLY)
def test_it_hangs_before_it_has_replied(said: str, shim: Shim, meddler: Meddler) -> None:
    with census(shim) as people:
        client, upstream = ask(people, meddler)
        with upstream:
            upstream.send(BEFORE_THE_REPLY[said])
            assert client.read_all() == refused5(1)
            assert upstream.closed(), "a leg that nobody waits for is given up"
    assert shim.wait_for("upstream_failed", people.mark)["error"] == "reply_timeout"
    still_tunnels(shim, meddler)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_it_talks_nonsense(garbage: str, shim: Shim, meddler: Meddler) -> None:
    with census(shim) as people:
        client, upstream = ask(people, meddler)
        with upstream:
            try:
                upstream.send(GARBAGE[garbage])
            except OSError:  # hung up on in the middle of it
                assert garbage == "much"
            assert client.read_all() == refused5(1)
    assert [line["reason"] for line in people.settle()] == ["upstream_failed"]
    still_tunnels(shim, meddler)


def test_its_reply_comes_byte_by_byte_with_data_behind_it(shim: Shim, meddler: Meddler) -> None:
    with census(shim) as people:
        client, upstream = ask(people, meddler)
        with upstream:
            for byte in METHOD + GRANTED + b"then data":
                upstream.send(bytes([byte]))
            assert client.read(19) == GRANTED + b"then data"


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("state", ["idle", "client ended", "itself ended", "client does not read"])
def test_it_goes_while_it_relays(state: str, leaving: str, shim: Shim, meddler: Meddler) -> None:
    with census(shim) as people:
        client, upstream = tunnel(people, meddler)
        sent = b""
        match state:
            case "client ended":
                client.end()
                assert upstream.closed()
            case "itself ended":
                upstream.end()
                assert client.closed()
            case "client does not read":
                sent = fill(upstream)
        LEAVING[leaving](upstream)
        got = client.read_all()
        assert sent.startswith(got)
        if leaving == "close":
            assert got == sent, "what was sent before a clean end arrives"
        client.sock.close()
    (ended,) = people.settle()
    assert ended["reason"] in ("upstream_closed", "upstream_reset", "client_closed")
    still_tunnels(shim, meddler)


def fill(end: Client) -> bytes:
    """Send until nothing more goes; all that was sent."""
    end.sock.setblocking(False)
    sent = b""
    try:
        while len(sent) < 64 << 20:
            piece = os.urandom(1 << 16)
            sent += piece[: end.sock.send(piece)]
    except BlockingIOError:
        return sent
    finally:
        end.sock.settimeout(10)
    raise AssertionError("nothing holds it back")


def test_it_hangs_while_it_relays_and_the_client_leaves(shim: Shim, meddler: Meddler) -> None:
    """Bytes that it does not take hold the client back, and do not hold up the end."""
    with census(shim) as people:
        client, upstream = tunnel(people, meddler)
        with upstream:
            assert fill(client)
            client.reset()
            with pytest.raises(ConnectionResetError):
                while upstream.sock.recv(1 << 20):
                    pass
    assert [line["reason"] for line in people.settle()] == ["client_reset"]
    still_tunnels(shim, meddler)


SERVER = """
import sys
from rig.upstream import Upstream
with Upstream() as upstream:
    print(upstream.address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def running(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The rig's upstream as a process of its own, and where it listens."""
    source = SERVER if not port else SERVER.replace("Upstream()", f"Upstream(port={port})")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout
        try:
            address = process.stdout.readline().strip()
            assert address, "it could not be started"
            yield process, address
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def test_it_is_killed_and_started_again() -> None:
    with running() as (process, address), Shim(upstream=address) as shim:
        with census(shim) as people:
            inside = [people.join() for _ in range(20)]
            for client in inside:
                client.send(GREETING + socks5(b"echo.test", 80))
                assert client.read(12)[:4] == NO_AUTH + b"\5\0"
            process.kill()
            process.wait()
            assert all(client.closed() for client in inside)
            late = people.join()
            late.send(ASK)
            assert late.read_all() == NO_AUTH + refused5(1)
        assert shim.wait_for("upstream_failed", people.mark)["error"] == "connection_refused"
        with running(int(address.rpartition(":")[2])):
            serves(shim)


def test_it_is_stopped_and_goes_on(tmp_path: Path) -> None:
    """A stopped process still takes connections, by its kernel: requests end by their deadline, tunnels wait."""
    with running() as (process, address), Shim(config=quick(tmp_path), upstream=address) as shim:
        with census(shim) as people:
            tunnelled, waiting = people.join(), people.join()
            tunnelled.send(GREETING + socks5(b"echo.test", 80))
            assert len(tunnelled.read(12)) == 12
            process.send_signal(signal.SIGSTOP)
            tunnelled.send(b"wait")
            waiting.send(ASK)
            assert waiting.read_all() == NO_AUTH + refused5(1)
            process.send_signal(signal.SIGCONT)
            assert tunnelled.read(4) == b"wait"
        serves(shim)
