"""`shim run` from outside: exceptions to the policy, by port, by program and by destination."""

from __future__ import annotations

from pathlib import Path

from rig.shim import Shim
from rig.upstream import Upstream
from rig.wire import GREETING, NO_AUTH, REFUSED4, ask, http_connect, refused5, socks4, socks5, tunnel5


class TestPlaintextPorts:
    def test_one_that_is_warned_about_is_forwarded_and_found_with_its_program(
        self, warn: Shim, upstream: Upstream
    ) -> None:
        with tunnel5(warn.socks, b"imap.test", 143):
            line = warn.decided(destination="imap.test:143")
            found = warn.wait_for("leak_found", conn=line["conn"])
        assert (line["exposure"], line["action"], line["plaintext"]) == ("name", "forward", True)
        assert (found["kind"], found["rule"], found["confidence"]) == ("plaintext_port", "L18", "confirmed")
        assert (found["evidence"], found["action"]) == (["plaintext_port"], "forward")
        assert "imaps://" in found["advice"]
        assert found["process"]["name"]
        assert upstream.asked_for("imap.test")

    def test_one_that_is_rejected_reaches_nobody(self, tmp_path: Path, upstream: Upstream) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[policy]\nreject_plaintext_ports = [23]\n")
        with Shim("--http", "127.0.0.1:0", config=config, upstream=upstream.address) as shim:
            asked = len(upstream.seen)
            assert ask(shim.socks, (GREETING, 2), (socks5(b"a.telnet.test", 23), 0)) == NO_AUTH + refused5(2)
            assert ask(shim.socks, (socks4(b"b.telnet.test", 23), 0)) == REFUSED4
            assert ask(shim.http, (http_connect("c.telnet.test:23"), 0)).split(b" ")[1] == b"403"
            assert len(upstream.seen) == asked, "nothing of it reached the upstream"
            for letter in "abc":
                line = shim.decided(destination=f"{letter}.telnet.test:23")
                assert (line["action"], line["reason"], line["plaintext"]) == ("block", "plaintext_port", True)
                found = shim.wait_for("leak_found", conn=line["conn"])
                assert (found["kind"], found["action"]) == ("plaintext_port", "block")
