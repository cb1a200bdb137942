"""`shim run` from outside: what is granted reaches the upstream as it was asked for, and every byte arrives."""

from __future__ import annotations

import hashlib
import random
import threading
import time

import pytest
from rig.services import BANNER
from rig.shim import Shim
from rig.upstream import Upstream
from rig.waiting import PATIENCE_S
from rig.wire import (
    AUTH_OK,
    GRANTED4,
    GREETING,
    GREETING_AUTH,
    NO_AUTH,
    RESOLVE,
    RESOLVE_PTR,
    WITH_AUTH,
    Client,
    ask,
    auth,
    http_connect,
    socks4,
    socks5,
    tunnel5,
)

GRANTED5 = b"\5\0\0\1" + bytes(6)
GET = b"GET / HTTP/1.0\r\n\r\n"
TEN_MB = 10_000_000


class TestEachProtocol:
    @pytest.mark.parametrize("mode", ["warn", "block"])
    @pytest.mark.parametrize(
        ("protocol", "hello", "replies"),
        [
            ("socks4a", lambda name: [socks4(name, 80)], [GRANTED4 + bytes(6)]),
            ("socks5", lambda name: [GREETING, socks5(name, 80)], [NO_AUTH, GRANTED5]),
            (
                "socks5",
                lambda name: [GREETING_AUTH, auth(b"u", b"p"), socks5(name, 80)],
                [WITH_AUTH, AUTH_OK, GRANTED5],
            ),
        ],
        ids=["socks4a", "socks5", "socks5-auth"],
    )
    def test_a_name_is_forwarded_as_a_name(
        self, protocol: str, hello, replies: list[bytes], mode: str, upstream: Upstream, request: pytest.FixtureRequest
    ) -> None:
        shim: Shim = request.getfixturevalue(mode)
        name = f"{protocol}-{len(replies)}.{mode}.test"
        with Client(shim.socks) as client:
            for message, reply in zip(hello(name.encode()), replies, strict=True):
                client.send(message)
                assert client.read(len(reply)) == reply
            client.send(GET)
            assert name in client.read_all().decode()
        seen = upstream.wait_for(name)
        assert (seen.command, seen.atyp, seen.port) == (1, 3, 80)
        line = shim.decided(destination=f"{name}:80")
        assert {key: line[key] for key in ("protocol", "command", "exposure", "action")} == {
            "protocol": protocol,
            "command": "CONNECT",
            "exposure": "name",
            "action": "forward",
        }
        shim.closed(conn=line["conn"])
        assert not shim.find("leak_found", conn=line["conn"])

    @pytest.mark.parametrize(
        ("host", "atyp", "asked", "shown"),
        [
            ("93.184.216.1", 1, "93.184.216.1", "93.184.216.1:443"),
            ("2001:db8::1", 4, "2001:db8::1", "[2001:db8::1]:443"),
            (b"93.184.216.2", 3, "93.184.216.2", "93.184.216.2:443"),
            (b"[2001:db8::2]", 3, "[2001:db8::2]", "[2001:db8::2]:443"),
        ],
    )
    def test_an_address_is_forwarded_in_the_form_it_came_in(
        self, host: str | bytes, atyp: int, asked: str, shown: str, warn: Shim, upstream: Upstream
    ) -> None:
        """Sent on as text, an address would hide from SafeSocks."""
        with tunnel5(warn.socks, host, 443) as client:
            client.send(GET)
            assert b"200 OK" in client.read_all()
        assert upstream.wait_for(asked).atyp == atyp
        line = warn.decided(destination=shown)
        assert line["action"] == "forward"
        assert line["exposure"] == ("address_as_text" if atyp == 3 else "address")
        kind = "address_as_text" if atyp == 3 else "address_only"
        finding = warn.wait_for("leak_found", conn=line["conn"], kind=kind)
        assert (finding["confidence"], finding["action"], finding["name"]) == ("possible", "forward", None)
        assert finding["advice"] and finding["message"] and finding["evidence"]
        assert "process" in finding and (finding["process"] or finding["process_reason"])

    def test_http_connect(self, warn: Shim, upstream: Upstream) -> None:
        with Client(warn.http) as client:
            client.send(http_connect("http.test:80") + GET)
            answer = client.read_all()
        head, _, page = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))
        assert b"reached http.test" in page
        assert upstream.wait_for("http.test").atyp == 3
        assert warn.decided(destination="http.test:80")["protocol"] == "http"

    def test_http_connect_to_an_ipv6_address(self, warn: Shim, upstream: Upstream) -> None:
        with Client(warn.http) as client:
            client.send(http_connect("[2001:db8::99]:80") + GET)
            assert b"reached 2001:db8::99" in client.read_all()
        assert upstream.wait_for("2001:db8::99")
        assert warn.decided(destination="[2001:db8::99]:80")["exposure"] in ("address", "address_as_text")

    def test_resolve_and_its_reverse(self, warn: Shim) -> None:
        mark = warn.mark()
        answer = ask(warn.socks, (GREETING, 2), (socks5(b"page.test", 0, RESOLVE), 0))
        assert answer == NO_AUTH + b"\5\0\0" + socks5("93.184.216.34", 0)[3:]
        assert ask(warn.socks, (socks4(b"page.test", 0, RESOLVE), 0)) == b"\0\x5a\0\0\x5d\xb8\xd8\x22"
        answer = ask(warn.socks, (GREETING, 2), (socks5("93.184.216.34", 0, RESOLVE_PTR), 0))
        assert answer == NO_AUTH + b"\5\0\0" + socks5(b"page.test", 0)[3:]
        lines = [warn.decided(mark, command=command) for command in ("RESOLVE", "RESOLVE_PTR")]
        assert [line["exposure"] for line in lines] == ["name", "not_applicable"]
        assert lines[0]["destination"] == "page.test:0"


class TestBytes:
    @pytest.mark.parametrize("early", [b"", b"x", b"y" * 1000, b"z" * 100_000], ids=len)
    def test_early_data_of_both_sides_arrives_in_order(self, early: bytes, warn: Shim) -> None:
        with tunnel5(warn.socks, b"banner.test", 25, early) as client:
            client.send(b"end")
            assert client.read(len(BANNER + early) + 3) == BANNER + early + b"end"

    def test_everything_in_one_write_down_to_the_end(self, warn: Shim) -> None:
        with Client(warn.socks) as client:
            client.send(GREETING + socks5(b"digest.test", 80) + b"payload")
            client.end()
            answer = client.read_all()
        assert answer == NO_AUTH + GRANTED5 + f"7 {hashlib.sha256(b'payload').hexdigest()}".encode()

    def test_a_handshake_byte_by_byte(self, warn: Shim) -> None:
        with Client(warn.socks) as client:
            for byte in GREETING_AUTH + auth(b"u", b"p") + socks5(b"echo.test", 80) + b"hello":
                client.send(bytes([byte]))
            expected = WITH_AUTH + AUTH_OK + GRANTED5 + b"hello"
            assert client.read(len(expected)) == expected

    def test_ten_megabytes_both_ways_at_once(self, warn: Shim) -> None:
        data = random.Random(1).randbytes(TEN_MB)
        with tunnel5(warn.socks, b"echo.ten.test", 80) as client:
            sender = threading.Thread(target=lambda: (client.send(data), client.end()))
            sender.start()
            got = client.read_all()
            sender.join()
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
        line = warn.ended("echo.ten.test:80")
        assert (line["sent"], line["received"]) == (TEN_MB, TEN_MB + len(NO_AUTH + GRANTED5))

    def test_a_client_that_ends_still_gets_its_answer(self, warn: Shim) -> None:
        data = random.Random(2).randbytes(1_000_000)
        with tunnel5(warn.socks, b"digest.test", 80) as client:
            client.send(data)
            client.end()
            assert client.read_all() == f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()

    def test_an_upstream_that_ends_still_gets_what_the_client_sends(self, warn: Shim, upstream: Upstream) -> None:
        with tunnel5(warn.socks, b"hangup.test", 80) as client:
            assert client.read_all() == b"bye"
            client.send(b"after your end")
            client.end()
            seen = upstream.wait_for("hangup.test")
            assert seen.ended.wait(PATIENCE_S)
        assert seen.received == b"after your end"

    def test_a_reader_that_pauses_gets_everything(self, warn: Shim) -> None:
        """More than pipes and buffers of the shim's own hold, so both directions stall until it reads."""
        data = random.Random(3).randbytes(3 * TEN_MB)
        with tunnel5(warn.socks, b"echo.test", 80) as client:
            sender = threading.Thread(target=lambda: (client.send(data), client.end()))
            sender.start()
            time.sleep(0.5)
            got = client.read_all()
            sender.join()
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()

    def test_a_reset_of_the_upstream_ends_the_client(self, warn: Shim, upstream: Upstream) -> None:
        with tunnel5(warn.socks, b"reset.test", 80) as client:
            client.send(b"x")
            assert client.closed()
        assert warn.ended("reset.test:80")["sent"] == 1

    def test_a_reset_of_the_client_ends_the_upstream(self, warn: Shim, upstream: Upstream) -> None:
        client = tunnel5(warn.socks, b"echo.reset.test", 80)
        client.reset()
        assert upstream.wait_for("echo.reset.test").ended.wait(PATIENCE_S)
        warn.ended("echo.reset.test:80")

    def test_many_at_once(self, warn: Shim) -> None:
        clients = [tunnel5(warn.socks, f"echo.n{number}.test".encode(), 80) for number in range(100)]
        for number, client in enumerate(clients):
            client.send(f"{number:04}".encode())
        for number, client in enumerate(clients):
            with client:
                assert client.read(4) == f"{number:04}".encode()
        for number in range(100):
            assert warn.ended(f"echo.n{number}.test:80")["sent"] == 4


class TestCounts:
    """`sent`: application bytes to the upstream; `received`: bytes to the client, replies included."""

    def test_of_a_tunnel(self, warn: Shim) -> None:
        with tunnel5(warn.socks, b"echo.counted.test", 80, b"abc") as client:
            client.send(b"defg")
            assert client.read(7) == b"abcdefg"
            client.end()
            assert client.closed()
        line = warn.ended("echo.counted.test:80")
        assert (line["sent"], line["received"]) == (7, len(NO_AUTH + GRANTED5) + 7)
        assert 0 <= line["seconds"] < 10

    def test_of_an_upstream_that_ends(self, warn: Shim) -> None:
        with tunnel5(warn.socks, b"counted.test", 80, GET) as client:
            page = client.read_all()
        line = warn.ended("counted.test:80")
        assert (line["sent"], line["received"]) == (len(GET), len(NO_AUTH + GRANTED5 + page))
        assert line["reason"] == "upstream_closed"

    def test_of_a_client_that_ends(self, warn: Shim) -> None:
        with tunnel5(warn.socks, b"echo.ends.test", 80) as client:
            client.end()
            assert client.closed()
        assert warn.ended("echo.ends.test:80")["reason"] == "client_closed"

    def test_of_a_client_that_says_nothing(self, upstream: Upstream) -> None:
        with Shim(upstream=upstream.address) as shim:
            with Client(shim.socks):
                pass
            line = shim.closed()
        assert (line["sent"], line["received"], line["reason"]) == (0, 0, "client_closed")
