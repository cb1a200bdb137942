"""`shim run` from outside: foreign protocols, broken handshakes, deadlines, and the limits that hold off a crowd."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from rig.shim import Shim
from rig.upstream import Upstream
from rig.waiting import until
from rig.wire import (
    GREETING,
    GREETING_AUTH,
    NO_AUTH,
    REFUSED4,
    WITH_AUTH,
    Client,
    ask,
    refused5,
    socks4,
    socks5,
    tunnel5,
)

HTTP = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n"
TLS = bytes.fromhex("1603010200010001fc0303") + bytes(32)


@pytest.fixture(params=["warn", "block"])
def shim(request: pytest.FixtureRequest) -> Shim:
    """The shim, in each of the two modes."""
    return request.getfixturevalue(request.param)


class TestForeign:
    @pytest.mark.parametrize("first", [HTTP, b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", b"POST / HTTP/1.0\r\n\r\n"])
    def test_http_on_the_socks_port_is_closed_and_found(self, first: bytes, shim: Shim) -> None:
        mark = shim.mark()
        assert ask(shim.socks, (first, 0)) == b""
        failed = shim.wait_for("handshake_failed", mark)
        assert (failed["error"], failed["reply"]) == ("not_socks", "")
        finding = shim.wait_for("leak_found", mark, conn=failed["conn"])
        assert (finding["kind"], finding["rule"], finding["protocol"]) == ("not_socks", "L24", "http")
        closed = shim.closed(mark, conn=failed["conn"])
        assert (closed["sent"], closed["received"], closed["reason"]) == (0, 0, "protocol_error")

    def test_tls_on_the_socks_port(self, shim: Shim) -> None:
        mark = shim.mark()
        assert ask(shim.socks, (TLS, 0)) == b""
        failed = shim.wait_for("handshake_failed", mark)
        assert failed["error"] == "not_socks"
        assert shim.wait_for("leak_found", mark, conn=failed["conn"])["kind"] == "not_socks"
        shim.closed(mark, conn=failed["conn"])

    @pytest.mark.parametrize("first", [b"\0\1\2\3", b"\6\1\0", b"SSH-2.0-x\r\n", b"\xff" * 600], ids=repr)
    def test_anything_else(self, first: bytes, shim: Shim) -> None:
        mark = shim.mark()
        assert ask(shim.socks, (first, 0)) == b""
        failed = shim.wait_for("handshake_failed", mark)
        assert failed["reply"] == ""
        shim.closed(mark, conn=failed["conn"])
        assert not shim.find("request_decided", mark, conn=failed["conn"])

    def test_a_readable_page_if_policy_wants_it(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[policy]\nhttp_hint = true\n")
        with Shim(config=config, upstream=upstream.address) as shim:
            page = ask(shim.socks, (HTTP, 0))
            assert page.split(b" ")[1] == b"400"
            assert b"SOCKS" in page and b"example.org" not in page
            failed = shim.wait_for("handshake_failed")
            assert bytes.fromhex(failed["reply"]) == page
            assert shim.closed()["received"] == len(page)

    @pytest.mark.parametrize(
        "first",
        [b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", GREETING, b"CONNECT\r\n\r\n", TLS],
        ids=["get", "socks", "broken", "tls"],
    )
    def test_no_connect_on_the_http_port(self, first: bytes, warn: Shim) -> None:
        mark = warn.mark()
        answer = ask(warn.http, (first, 0))
        assert answer == b"" or answer.split(b" ")[1][:1] in (b"4", b"5")
        assert b"example.org" not in answer
        failed = warn.wait_for("handshake_failed", mark)
        assert bytes.fromhex(failed["reply"]) == answer
        warn.closed(mark, conn=failed["conn"])


class TestHandshakes:
    @pytest.mark.parametrize(
        ("steps", "reply"),
        [
            ([(GREETING, 2), (socks5(b"two words.test", 80), 0)], NO_AUTH + refused5(1)),
            ([(GREETING, 2), (socks5(b"nul\0l.test", 80), 0)], NO_AUTH + refused5(1)),
            ([(GREETING, 2), (socks5(b"a.test", 80, 9), 0)], NO_AUTH + refused5(1)),
            ([(b"\5\1\1", 0)], b"\5\xff"),
            ([(socks4(b"two words.test", 80), 0)], REFUSED4),
            ([(socks4(b"a" * 256, 80), 0)], REFUSED4),
        ],
        ids=["name", "nul", "command", "method", "4a name", "4a long"],
    )
    def test_a_refusal_while_parsing(self, steps: list[tuple[bytes, int]], reply: bytes, shim: Shim) -> None:
        mark = shim.mark()
        assert ask(shim.socks, *steps) == reply
        failed = shim.wait_for("handshake_failed", mark)
        assert bytes.fromhex(failed["reply"]) == (reply[2:] if reply[:2] == NO_AUTH else reply)
        closed = shim.closed(mark, conn=failed["conn"])
        assert (closed["reason"], closed["received"]) == ("protocol_error", len(reply))
        assert not shim.find("request_decided", mark, conn=failed["conn"])

    @pytest.mark.parametrize(
        "start", [b"", b"\5", GREETING, GREETING_AUTH, GREETING + b"\5\1\0\3", b"\4\1\0"], ids=repr
    )
    def test_have_a_deadline(self, start: bytes, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[limits]\nhandshake_timeout_s = 0.3\n")
        with Shim(config=config, upstream=upstream.address) as shim, Client(shim.socks) as client:
            client.send(start)
            assert client.read_all() in (b"", NO_AUTH, WITH_AUTH)
            assert shim.wait_for("handshake_failed")["error"] == "timeout"
            assert shim.closed()["reason"] == "timeout"

    def test_the_deadline_does_not_touch_a_tunnel(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[limits]\nhandshake_timeout_s = 2\n")
        with Shim(config=config, upstream=upstream.address) as shim, tunnel5(shim.socks, b"echo.test", 80) as client:
            with Client(shim.socks):  # came later, and its time is over
                assert shim.wait_for("handshake_failed")["error"] == "timeout"
            client.send(b"x")
            assert client.read(1) == b"x"

    def test_an_idle_deadline_ends_a_tunnel_if_asked_for(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[limits]\nidle_timeout_s = 0.3\n")
        with Shim(config=config, upstream=upstream.address) as shim, tunnel5(shim.socks, b"echo.test", 80) as client:
            assert client.closed()
            assert "timeout" in shim.closed()["reason"]


HOG = """
import contextlib, socket, sys
held = []
refused = 0
kind, _, where = sys.argv[1].rpartition(":")
while refused < 20:
    sock = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    sock.connect(where if kind == "unix" else (kind, int(where)))
    with contextlib.suppress(OSError):
        sock.sendall(b"\\5\\1\\0")
        if sock.recv(2) == b"\\5\\0":
            held.append(sock)
            continue
    refused += 1
print("enough", flush=True)
sys.stdin.read()
"""
"""Opens connections until it is refused."""


def gets_through(where: str) -> bool:
    """Whether a tunnel is to be had now."""
    try:
        with Client(where) as client:
            client.send(GREETING + socks5(b"echo.test", 80) + b"x")
            return client.read(13).endswith(b"x")
    except OSError:
        return False


class TestLimits:
    @pytest.mark.parametrize("limit", ["connections", "connections_per_client"])
    def test_one_too_many_is_closed_and_named(self, limit: str, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text(f"[limits]\n{limit} = 2\n")
        with Shim(config=config, upstream=upstream.address) as shim:
            with tunnel5(shim.socks, b"echo.test", 80), tunnel5(shim.socks, b"echo.test", 80):
                with Client(shim.socks) as third:
                    third.send(GREETING)
                    assert third.closed()
                refused = shim.wait_for("connection_refused")
                assert refused["limit"].removeprefix("limits.") == limit
                shim.closed(conn=refused["conn"])
            for line in shim.find("request_decided"):
                shim.closed(conn=line["conn"])
            with tunnel5(shim.socks, b"echo.test", 80):
                pass

    @pytest.mark.parametrize("over", ["tcp", "unix"])
    def test_a_program_cannot_take_all_from_the_others(self, over: str, upstream: Upstream, tmp_path: Path) -> None:
        """Not one of its connections was looked up before half were taken."""
        config = tmp_path / "shim.toml"
        config.write_text("[limits]\nconnections_per_client = 200\nconnections_per_process = 10\n")
        socks = ["127.0.0.1:0" if over == "tcp" else f"unix:{tmp_path}/socks"]
        with Shim("--log-level", "debug", config=config, upstream=upstream.address, socks=socks) as shim:
            with subprocess.Popen(
                [sys.executable, "-c", HOG, shim.socks], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as hog:
                assert hog.stdout and hog.stdout.readline() == b"enough\n"
                refused = shim.wait_for("connection_refused", limit="connections_per_process")
                until(lambda: gets_through(shim.socks), "room for others, once it is known who has too many")
                hog.communicate(timeout=30)
            assert shim.closed(conn=refused["conn"])["reason"] == "limit"
            looked_up = {line["subject"] for line in shim.find("process_identified")}
            assert not looked_up & {f"c{number}" for number in range(1, 101)}
            with tunnel5(shim.socks, b"echo.test", 80):
                pass

    def test_handshakes_in_progress(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[limits]\nhandshakes = 2\n")
        with (
            Shim(config=config, upstream=upstream.address) as shim,
            Client(shim.socks) as one,
            Client(shim.socks) as two,
        ):
            for client in (one, two):
                client.send(GREETING)
                assert client.read(2) == NO_AUTH
            with Client(shim.socks) as third:
                third.send(GREETING)
                assert third.closed()
            assert shim.wait_for("connection_refused")["limit"].removeprefix("limits.") == "handshakes"
            one.send(socks5(b"echo.test", 80))
            assert one.read(2) == b"\5\0"
            with tunnel5(shim.socks, b"echo.test", 80):
                pass

    def test_defaults_take_512_connections_of_one_client(self, warn: Shim) -> None:
        mark = warn.mark()
        with ExitStack() as crowd:
            for _ in range(512):
                crowd.enter_context(tunnel5(warn.socks, b"echo.crowd.test", 80))
        assert not warn.find("connection_refused", mark)

    def test_every_accepted_connection_is_closed_once(self, upstream: Upstream) -> None:
        """Whatever the client does; `Shim.check` adds that none is closed twice."""
        inputs = [b"", GREETING, HTTP, TLS, GREETING + socks5(b"a.test", 80), socks4("10.0.0.1", 80), b"\5\0", b"\4"]
        with Shim(upstream=upstream.address) as shim:

            def come_and_go(first: bytes) -> None:
                for _ in range(25):
                    with Client(shim.socks) as client:
                        client.send(first)

            threads = [threading.Thread(target=come_and_go, args=(first,)) for first in inputs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            closed = shim.gather("connection_closed", 25 * len(inputs))
            assert len({line["conn"] for line in closed}) == 25 * len(inputs)
