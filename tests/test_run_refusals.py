"""`shim run` from outside: what is refused, with which bytes, and what the log says of it."""

from __future__ import annotations

import time
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from rig.shim import Shim
from rig.upstream import Upstream
from rig.wire import (
    AUTH_OK,
    BIND,
    GREETING,
    GREETING_AUTH,
    NO_AUTH,
    REFUSED4,
    RESOLVE,
    UDP_ASSOCIATE,
    WITH_AUTH,
    Client,
    ask,
    auth,
    http_connect,
    refused5,
    socks4,
    socks5,
    tunnel5,
)


@pytest.fixture(params=["warn", "block"])
def shim(request: pytest.FixtureRequest) -> Shim:
    """The shim, in each of the two modes."""
    return request.getfixturevalue(request.param)


MAPPED = f"[{IPv6Address('::ffff:93.184.216.52')}]:80"  # its text differs between versions of Python


class TestCommands:
    @pytest.mark.parametrize(
        ("command", "name", "kind", "rule"),
        [(BIND, "BIND", "bind_attempt", "L17"), (UDP_ASSOCIATE, "UDP_ASSOCIATE", "udp_attempt", "L16")],
    )
    def test_bind_and_udp_are_refused_and_found(
        self, command: int, name: str, kind: str, rule: str, shim: Shim
    ) -> None:
        destination = f"{name.replace('_', '-').lower()}.test"
        assert ask(shim.socks, (GREETING, 2), (socks5(destination.encode(), 7, command), 0)) == NO_AUTH + refused5(7)
        line = shim.decided(command=name, destination=f"{destination}:7")
        assert (line["exposure"], line["action"]) == ("not_applicable", "block")
        finding = shim.wait_for("leak_found", conn=line["conn"])
        assert (finding["kind"], finding["rule"], finding["confidence"]) == (kind, rule, "confirmed")
        closed = shim.closed(conn=line["conn"])
        assert (closed["reason"], closed["sent"], closed["received"]) == ("refused", 0, 12)

    def test_bind_of_socks4(self, shim: Shim) -> None:
        assert ask(shim.socks, (socks4("93.184.216.40", 7, BIND), 0)) == REFUSED4
        line = shim.decided(destination="93.184.216.40:7")
        assert (line["command"], line["exposure"]) == ("BIND", "not_applicable")
        assert shim.wait_for("leak_found", conn=line["conn"])["kind"] == "bind_attempt"


class TestUnsafe:
    @pytest.mark.parametrize(
        ("destination", "steps", "refusal"),
        [
            ("93.184.216.50:80", [(socks4("93.184.216.50", 80), 0)], REFUSED4),
            ("93.184.216.51:80", [(GREETING, 2), (socks5("93.184.216.51", 80), 0)], NO_AUTH + refused5(2)),
            ("[2001:db8::50]:80", [(GREETING, 2), (socks5("2001:db8::50", 80), 0)], NO_AUTH + refused5(2)),
            (
                MAPPED,
                [(GREETING, 2), (socks5("::ffff:93.184.216.52", 80), 0)],
                NO_AUTH + refused5(2),
            ),
            ("93.184.216.53:0", [(GREETING, 2), (socks5("93.184.216.53", 0, RESOLVE), 0)], NO_AUTH + refused5(2)),
            (
                "93.184.216.54:80",
                [(GREETING_AUTH, 2), (auth(b"u", b"p"), 2), (socks5("93.184.216.54", 80), 0)],
                WITH_AUTH + AUTH_OK + refused5(2),
            ),
            ("93.184.216.55:80", [(GREETING + socks5("93.184.216.55", 80) + b"early", 0)], NO_AUTH + refused5(2)),
        ],
        ids=["socks4", "ipv4", "ipv6", "mapped", "resolve", "auth", "pipelined"],
    )
    def test_an_address_is_refused_under_block(
        self, destination: str, steps: list[tuple[bytes, int]], refusal: bytes, block: Shim, upstream: Upstream
    ) -> None:
        asked = len(upstream.seen)
        assert ask(block.socks, *steps) == refusal
        line = block.decided(destination=destination)
        assert (line["exposure"], line["action"]) == ("address", "block")
        finding = block.wait_for("leak_found", conn=line["conn"])
        assert (finding["kind"], finding["action"]) == ("address_only", "block")
        assert block.closed(conn=line["conn"])["reason"] == "refused"
        assert len(upstream.seen) == asked, "nothing of it reached the upstream"

    def test_http_to_an_address_under_block(self, block: Shim) -> None:
        answer = ask(block.http, (http_connect("93.184.216.56:443"), 0))
        line = block.decided(destination="93.184.216.56:443")
        if line["exposure"] == "address":
            assert answer.split(b" ")[1] == b"403"
        else:
            assert (line["exposure"], line["action"]) == ("address_as_text", "forward")

    def test_text_is_forwarded_with_a_warning_or_refused_by_policy(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        for policy, expected in (("warn", NO_AUTH + b"\5\0"), ("block", NO_AUTH + b"\5\2")):
            config.write_text(f'[policy]\nmode = "block"\naddress_as_text = "{policy}"\n')
            with Shim(config=config, upstream=upstream.address) as shim, Client(shim.socks) as client:
                client.send(GREETING + socks5(b"93.184.216.57", 80))
                assert client.read(4) == expected
                line = shim.decided()
                assert line["exposure"] == "address_as_text"
                assert shim.wait_for("leak_found")["kind"] == "address_as_text"

    def test_text_policy_does_not_apply_to_warn(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text('[policy]\naddress_as_text = "block"\n')
        with Shim(config=config, upstream=upstream.address) as shim, tunnel5(shim.socks, b"93.184.216.58", 80):
            assert shim.decided()["action"] == "forward"

    @pytest.mark.parametrize(
        "text", ["93.184.216.59", "1572395067", "0x5db8d83b", "0135.0270.0330.073", "93.184.55355"]
    )
    def test_every_textual_form_is_an_address_as_text(self, text: str, warn: Shim) -> None:
        ask(warn.socks, (GREETING, 2), (socks5(text.encode(), 8080), 10), (b"GET / HTTP/1.0\r\n\r\n", 0))
        assert warn.decided(destination=f"{text}:8080")["exposure"] == "address_as_text"

    def test_what_tor_resolved_for_this_client_is_no_leak(self, upstream: Upstream) -> None:
        """So torsocks works: RESOLVE, then the address as text."""
        for mode in ("warn", "block"):
            with Shim("--mode", mode, upstream=upstream.address) as shim:
                ask(shim.socks, (GREETING, 2), (socks5(b"page.test", 0, RESOLVE), 0))
                with tunnel5(shim.socks, b"93.184.216.34", 80):
                    pass
                with tunnel5(shim.socks, "93.184.216.34", 81):
                    pass
                assert shim.decided(destination="93.184.216.34:80")["exposure"] == "resolved_by_tor"
                assert shim.decided(destination="93.184.216.34:81")["exposure"] == "resolved_by_tor"
                shim.ended("93.184.216.34:81")
                time.sleep(0.3)  # a finding would be written within 250 ms
                assert not shim.find("leak_found")

    def test_resolving_a_literal_teaches_nothing(self, upstream: Upstream) -> None:
        with Shim(upstream=upstream.address) as shim:
            ask(shim.socks, (GREETING, 2), (socks5("93.184.216.34", 0, RESOLVE), 0))
            with tunnel5(shim.socks, "93.184.216.34", 80):
                pass
            assert shim.decided(destination="93.184.216.34:80")["exposure"] == "address"

    def test_repair_without_a_known_name_is_block(self, upstream: Upstream) -> None:
        with Shim("--mode", "repair", upstream=upstream.address) as shim:
            assert ask(shim.socks, (GREETING, 2), (socks5("93.184.216.60", 80), 0)) == NO_AUTH + refused5(2)
            with tunnel5(shim.socks, b"echo.test", 80):
                pass
            assert shim.decided(destination="echo.test:80")["action"] == "forward"
