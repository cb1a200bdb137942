"""`shim run` from outside: exceptions to the policy, by port, by program and by destination."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.programs import require_program
from rig.shim import Line, Shim
from rig.upstream import Upstream
from rig.wire import GREETING, NO_AUTH, REFUSED4, ask, http_connect, refused5, socks4, socks5, tunnel5

TRIES = 5


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


def curl(shim: Shim, url: str, option: str = "--socks5-hostname", *more: str) -> subprocess.CompletedProcess[str]:
    """The real program, through the shim's SOCKS listener."""
    environ = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    argv = ["curl", "-q", "-sS", "-m", "10", option, shim.socks, *more, url]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=20, check=False)


def curl_is_refused(shim: Shim, url: str, option: str = "--socks5-hostname") -> None:
    done = curl(shim, url, option)
    assert done.returncode == 97, done.stderr


def our_request(shim: Shim, host: str | bytes) -> None:
    """Our own request for this at port 80, answered or refused."""
    ask(shim.socks, (GREETING, 2), (socks5(host, 80), 10), (b"GET / HTTP/1.0\r\n\r\n", 0))


def judged(shim: Shim, destination: str, attempt: Callable[[], object]) -> Line:
    """How a request is decided once its program is known in time. A busy machine may need another attempt."""
    for _ in range(TRIES):
        mark = shim.mark()
        attempt()
        line = shim.decided(mark, destination=destination)
        if line.get("reason") != "program_unknown":
            break
    return line


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "shim.toml"


class TestPrograms:
    REFUSE_CURL = '[[policy.rule]]\nprogram = "curl"\nsuffix = "test"\nallow = false\n'

    def test_one_is_refused_before_any_byte_goes_upstream_and_another_is_not(
        self, config: Path, upstream: Upstream
    ) -> None:
        require_program("curl")
        config.write_text(self.REFUSE_CURL)
        with Shim(config=config, upstream=upstream.address) as shim:
            accepted = upstream.accepted
            line = judged(shim, "first.test:80", lambda: curl_is_refused(shim, "http://first.test/"))
            assert upstream.accepted == accepted, "nobody even connected to the upstream"
            assert (line["action"], line["reason"], line["policy_rule"]) == ("block", "refused_by_rule", 1)
            assert not shim.find("leak_found")
            other = judged(shim, "second.test:80", lambda: our_request(shim, b"second.test"))
            assert (other["action"], "policy_rule" in other) == ("forward", False)

    def test_a_program_has_a_mode_of_its_own(self, config: Path, upstream: Upstream) -> None:
        require_program("curl")
        config.write_text('[[policy.rule]]\nprogram = "curl"\nmode = "block"\n')
        with Shim(config=config, upstream=upstream.address) as shim:
            refused = judged(
                shim, "93.184.216.70:80", lambda: curl_is_refused(shim, "http://93.184.216.70/", "--socks5")
            )
            assert (refused["action"], refused["reason"]) == ("block", "address_only")
            found = shim.wait_for("leak_found", conn=refused["conn"])
            assert (found["process"]["name"], found["action"]) == ("curl", "block")
            other = judged(shim, "93.184.216.71:80", lambda: our_request(shim, "93.184.216.71"))
            assert other["action"] == "forward"
        assert not upstream.asked_for("93.184.216.70")

    def test_many_at_once_are_each_judged_by_their_own(self, config: Path, upstream: Upstream) -> None:
        require_program("curl")
        config.write_text(self.REFUSE_CURL)
        with Shim(config=config, upstream=upstream.address) as shim:
            argv = ["curl", "-q", "-sS", "-m", "10", "--socks5-hostname", shim.socks]
            curls = [
                subprocess.Popen([*argv, f"http://c{n}.test/"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
                for n in range(8)
            ]
            for n in range(40):
                our_request(shim, b"p%d.test" % n)
            assert [process.wait(20) for process in curls] == [97] * 8
            theirs = [shim.decided(destination=f"c{n}.test:80")["reason"] for n in range(8)]
            ours = [shim.decided(destination=f"p{n}.test:80").get("reason") for n in range(40)]
            assert set(theirs) <= {"refused_by_rule", "program_unknown"}, (
                "who is not known in time does not pass either"
            )
            assert None in ours and set(ours) <= {None, "program_unknown"}
            assert not any(upstream.asked_for(f"c{n}.test") for n in range(8))
            assert [bool(upstream.asked_for(f"p{n}.test")) for n in range(40)] == [reason is None for reason in ours]


class TestDestinations:
    def test_by_name_network_and_port(self, config: Path, upstream: Upstream) -> None:
        config.write_text(
            """
            [policy]
            mode = "block"
            [[policy.rule]]
            network = "93.184.216.0/28"
            port = 853
            allow = true
            [[policy.rule]]
            suffix = "ads.test"
            allow = false
            [[policy.rule]]
            name = "apart.test"
            isolate = "destination"
            """
        )
        with Shim(config=config, upstream=upstream.address) as shim:
            with tunnel5(shim.socks, "93.184.216.9", 853):
                line = shim.decided(destination="93.184.216.9:853")
            assert (line["action"], line["reason"], line["policy_rule"]) == ("forward", "allowed_by_rule", 1)
            assert "allowed_by_rule" in shim.wait_for("leak_found", conn=line["conn"])["evidence"]
            for destination in ("93.184.216.9", "93.184.216.17"):
                assert ask(shim.socks, (GREETING, 2), (socks5(destination, 854), 0)) == NO_AUTH + refused5(2)
            assert ask(shim.socks, (socks4(b"x.ADS.test", 80), 0)) == REFUSED4
            with tunnel5(shim.socks, b"loads.test", 80), tunnel5(shim.socks, b"apart.test", 80):
                pass
        assert upstream.asked_for("loads.test")[0].username is None
        assert upstream.asked_for("apart.test")[0].username is not None
        assert not upstream.asked_for("x.ADS.test")

    def test_a_local_destination_can_be_allowed_to_some(self, config: Path, upstream: Upstream) -> None:
        config.write_text('[[policy.rule]]\nname = "localhost"\nport = 8080\nallow = true\n')
        with Shim(config=config, upstream=upstream.address) as shim:
            ask(shim.socks, (GREETING, 2), (socks5(b"localhost", 8080), 10))
            assert shim.decided(destination="localhost:8080")["reason"] == "allowed_by_rule"
            assert ask(shim.socks, (GREETING, 2), (socks5(b"localhost", 22), 0)) == NO_AUTH + refused5(2)
        assert upstream.asked_for("localhost")

    def test_sighup_reads_the_rules_again_and_keeps_the_old_ones_if_the_new_are_wrong(
        self, config: Path, upstream: Upstream
    ) -> None:
        config.write_text("")
        with Shim(config=config, upstream=upstream.address) as shim:
            with tunnel5(shim.socks, b"before.test", 80):
                pass
            config.write_text('[[policy.rule]]\nsuffix = "test"\nallow = false\n')
            shim.signal(signal.SIGHUP)
            assert shim.wait_for("config_reloaded")["needs_restart"] == []
            assert ask(shim.socks, (GREETING, 2), (socks5(b"after.test", 80), 0)) == NO_AUTH + refused5(2)
            config.write_text("[[policy.rule]]\nport = 80\n")
            shim.signal(signal.SIGHUP)
            (problem,) = shim.wait_for("config_rejected")["problems"]
            assert "policy.rule[1]" in problem
            assert ask(shim.socks, (GREETING, 2), (socks5(b"still.test", 80), 0)) == NO_AUTH + refused5(2)
        assert not upstream.asked_for("after.test")
        assert not upstream.asked_for("still.test")


class TestWaitForName:
    RESOLVED = ("--resolve", "page.test:80:93.184.216.80")

    def test_repair_sends_the_name_that_the_first_bytes_hold(self, config: Path, upstream: Upstream) -> None:
        require_program("curl")
        config.write_text('[policy]\nmode = "repair"\nwait_for_name = true\n')
        with Shim(config=config, upstream=upstream.address) as shim:
            fetched = curl(shim, "http://page.test/", "--socks5", *self.RESOLVED)
            assert (fetched.returncode, bool(fetched.stdout)) == (0, True), fetched.stderr
            line = shim.decided(destination="93.184.216.80:80")
            assert (line["action"], line["reason"], line["name"]) == ("repair", "first_bytes", "page.test")
            found = shim.wait_for("leak_found", conn=line["conn"], revision=2)
            assert (found["rule"], found["confidence"], found["name"]) == ("L02", "probable", "page.test")
            assert "http_host_is_name" in found["evidence"]
        assert not upstream.asked_for("93.184.216.80")
        assert upstream.asked_for("page.test")

    def test_block_learns_the_name_and_breaks_off(self, config: Path, upstream: Upstream) -> None:
        require_program("curl")
        config.write_text('[policy]\nmode = "block"\nwait_for_name = true\n')
        with Shim(config=config, upstream=upstream.address) as shim:
            asked = len(upstream.seen)
            refused = curl(shim, "http://page.test/", "--socks5", *self.RESOLVED)
            assert refused.returncode in (52, 55, 56), refused.stderr  # it was told that it is connected
            line = shim.decided(destination="93.184.216.80:80")
            assert (line["action"], line["reason"]) == ("block", "address_only")
            found = shim.wait_for("leak_found", conn=line["conn"], revision=2)
            assert (found["rule"], found["name"], found["action"]) == ("L02", "page.test", "block")
            assert ask(shim.socks, (GREETING, 2), (socks5("93.184.216.81", 22), 0)) == NO_AUTH + refused5(2)
            silent = ask(shim.socks, (GREETING, 2), (socks5("93.184.216.82", 443), 0))
            assert silent == NO_AUTH + refused5(0), "a success that is none, and then the end"
            assert shim.ended("93.184.216.82:443")["reason"] == "refused"
            assert len(upstream.seen) == asked
