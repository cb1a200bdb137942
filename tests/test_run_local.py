"""`shim run` from outside: CONNECT to this machine or its network is refused, however it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig.shim import Shim
from rig.upstream import Upstream
from rig.wire import (
    GREETING,
    NO_AUTH,
    REFUSED4,
    ask,
    http_connect,
    refused5,
    socks4,
    socks5,
)


@pytest.fixture(params=["warn", "block"])
def shim(request: pytest.FixtureRequest) -> Shim:
    """The shim, in each of the two modes."""
    return request.getfixturevalue(request.param)


LOCAL_TEXT = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "017700000001", "0.0.0.0", "0"),
    *("10.1.2.3", "10.1", "167837955", "172.16.0.1", "172.31.255.255", "192.168.1.1", "192.168.257", "169.254.0.1"),
    *("0xa9fe0001", "::1", "[::1]", "::", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "[::ffff:10.0.0.1]"),
    *("fe80::1", "febf::1", "fc00::1", "fdff::1", "localhost", "LocalHost", "localhost.", "a.localhost"),
    *("printer.local", "PRINTER.LOCAL."),
]
NOT_LOCAL_TEXT = [
    *("198.51.100.1", "198.18.0.1", "224.0.0.1", "64:ff9b::7f00:1", "100.64.0.1", "172.32.0.1", "192.169.0.1"),
    *("local", "localhost.test", "mylocalhost", "2001:db8::1", "fe00::1", "11.0.0.1", "1.0.0.127"),
]


class TestLocal:
    @pytest.mark.parametrize("text", LOCAL_TEXT)
    def test_text_is_refused_in_every_form_and_mode(self, text: str, shim: Shim, upstream: Upstream) -> None:
        mark, asked = shim.mark(), len(upstream.seen)
        assert ask(shim.socks, (GREETING, 2), (socks5(text.encode(), 81), 0)) == NO_AUTH + refused5(2)
        line = shim.decided(mark, exposure="local")
        assert line["action"] == "block"
        assert shim.wait_for("leak_found", conn=line["conn"])["kind"] == "local_destination"
        assert ask(shim.socks, (socks4(text.encode(), 82), 0)) == REFUSED4
        shim.closed(conn=shim.decided(mark, exposure="local", protocol="socks4a")["conn"])
        assert len(upstream.seen) == asked

    @pytest.mark.parametrize(
        "address", ["127.0.0.1", "127.255.255.254", "10.0.0.1", "192.168.0.1", "172.20.0.1", "169.254.9.9", "0.0.1.0"]
    )
    def test_binary_addresses(self, address: str, shim: Shim) -> None:
        mark = shim.mark()
        assert ask(shim.socks, (socks4(address, 83), 0)) == REFUSED4
        assert ask(shim.socks, (GREETING, 2), (socks5(address, 84), 0)) == NO_AUTH + refused5(2)
        assert ask(shim.socks, (GREETING, 2), (socks5(f"::ffff:{address}", 85), 0)) == NO_AUTH + refused5(2)
        for destination in (f"{address}:83", f"{address}:84"):
            assert shim.decided(mark, destination=destination)["exposure"] == "local"

    @pytest.mark.parametrize("address", ["::", "::1", "fe80::1", "fd00::1"])
    def test_binary_ipv6_addresses(self, address: str, shim: Shim) -> None:
        assert ask(shim.socks, (GREETING, 2), (socks5(address, 86), 0)) == NO_AUTH + refused5(2)
        assert shim.decided(destination=f"[{address}]:86")["exposure"] == "local"

    @pytest.mark.parametrize("target", ["127.0.0.1:80", "[::1]:80", "localhost:80", "2130706433:80", "x.local:80"])
    def test_http(self, target: str, shim: Shim) -> None:
        assert ask(shim.http, (http_connect(target), 0)).split(b" ")[1] == b"403"

    @pytest.mark.parametrize("text", NOT_LOCAL_TEXT)
    def test_what_only_looks_local_is_not(self, text: str, warn: Shim) -> None:
        ask(warn.socks, (GREETING, 2), (socks5(text.encode(), 87), 10), (b"GET / HTTP/1.0\r\n\r\n", 0))
        shown = f"[{text}]:87" if ":" in text else f"{text}:87"
        line = warn.decided(destination=shown)
        assert (line["exposure"] != "local", line["action"]) == (True, "forward")

    def test_what_is_allowed_is_forwarded(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text('[policy]\nallow_local = ["10.0.0.0/8", "localhost:8080"]\n')
        with Shim(config=config, upstream=upstream.address) as shim:
            for host, port in ((b"10.1.2.3", 80), (b"localhost", 8080)):
                assert ask(shim.socks, (GREETING, 2), (socks5(host, port), 0)) == NO_AUTH + refused5(4)
            assert ask(shim.socks, (GREETING, 2), (socks5(b"localhost", 81), 0)) == NO_AUTH + refused5(2)
        assert [seen.host for seen in upstream.seen[-2:]] == ["10.1.2.3", "localhost"]
