"""`shim run --dns-mode issue` from outside: an address that stands for a name, and what becomes of requests to it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from rig.asking import Where, address, answers, ask, ask_tcp, rcode, wire
from rig.shim import Shim
from rig.upstream import Upstream
from rig.wire import GREETING, GREETING_AUTH, NO_AUTH, REFUSED4, refused5, socks4, socks5, tunnel5
from rig.wire import ask as send

POOL = ip_network("198.18.0.0/15")
GET = b"GET / HTTP/1.0\r\n\r\n"


def issuing(upstream: Upstream, mode: str = "warn", config: Path | None = None) -> Shim:
    return Shim(
        *("--dns", "127.0.0.1:0", "--dns-mode", "issue", "--mode", mode), config=config, upstream=upstream.address
    )


def sensor(shim: Shim) -> Where:
    return address(shim.ready["dns"][0])


def issued(shim: Shim, name: str) -> str:
    """The address that a name gets now."""
    (found,) = answers(ask(sensor(shim), wire(name)))
    kind, ttl, text = found.split()
    assert (kind, ttl) == ("A", "1")
    return text


@pytest.fixture(scope="module")
def shim(upstream: Upstream) -> Iterator[Shim]:
    with issuing(upstream) as process:
        yield process


class TestAnswers:
    def test_one_address_a_name_from_the_pool(self, shim: Shim) -> None:
        first, second = issued(shim, "one.test"), issued(shim, "two.test")
        assert first != second == issued(shim, "TWO.test") and first == issued(shim, "one.test")
        assert all(ip_address(each) in POOL for each in (first, second))
        line = shim.wait_for("dns_query", qname="one.test")
        assert (line["answer"], line["rcode"], line["addresses"]) == ("issue", "NOERROR", [first])

    def test_the_same_by_tcp(self, shim: Shim) -> None:
        by_udp = issued(shim, "both.test")
        assert answers(ask_tcp(sensor(shim), wire("both.test"))[0]) == [f"A 1 {by_udp}"]

    def test_no_two_runs_begin_alike(self, upstream: Upstream) -> None:
        with issuing(upstream) as one, issuing(upstream) as other:
            assert issued(one, "first.test") != issued(other, "first.test"), "1 in 131,070 is chance"

    @pytest.mark.parametrize("rdtype", ["AAAA", "HTTPS", "SVCB", "MX", "TXT", "ANY"])
    def test_other_types_are_empty(self, rdtype: str, shim: Shim) -> None:
        reply = ask(sensor(shim), wire("other-types.test", rdtype))
        assert (rcode(reply), answers(reply)) == ("NOERROR", [])

    def test_ipv6_when_set(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[dns]\nipv6 = true\n")
        with issuing(upstream, config=config) as shim:
            (found,) = answers(ask(sensor(shim), wire("six.test", "AAAA")))
            kind, _, text = found.split()
            assert kind == "AAAA" and ip_address(text) in ip_network("2001:2::/48")
            with tunnel5(shim.socks, text, 80) as client:
                client.send(GET)
                assert b"reached six.test" in client.read_all()
        assert upstream.seen[-1].atyp == 3

    def test_the_name_of_an_address(self, shim: Shim) -> None:
        where = sensor(shim)
        there = ip_address(issued(shim, "there.test"))
        assert answers(ask(where, wire(there.reverse_pointer, "PTR"))) == ["PTR 1 there.test."]
        assert rcode(ask(where, wire("1.0.0.127.in-addr.arpa", "PTR"))) == "NXDOMAIN"
        assert rcode(ask(where, wire("34.216.184.93.in-addr.arpa", "PTR"))) == "NXDOMAIN"

    @pytest.mark.parametrize("name", ["wpad.test", "isatap.test", "printer.local", "localhost", "127.0.0.1"])
    def test_names_that_no_exit_should_hear(self, name: str, shim: Shim) -> None:
        assert rcode(ask(sensor(shim), wire(name))) == "NXDOMAIN"

    def test_a_full_pool_refuses_the_new_and_keeps_the_old(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[dns]\ncapacity = 2\n")
        with issuing(upstream, config=config) as shim:
            old = issued(shim, "old.test")
            issued(shim, "next.test")
            assert rcode(ask(sensor(shim), wire("new.test"))) == "SERVFAIL"
            line = shim.wait_for("dns_query", qname="new.test")
            assert (line["rcode"], line["answer"]) == ("SERVFAIL", "refuse")
            assert issued(shim, "old.test") == old
            with tunnel5(shim.socks, old, 80) as client:
                client.send(GET)
                assert b"reached old.test" in client.read_all()


class TestRequests:
    """An issued address never goes upstream: its name does, or nothing."""

    @pytest.mark.parametrize("mode", ["warn", "repair"])
    def test_the_name_goes_to_tor(self, mode: str, upstream: Upstream) -> None:
        with issuing(upstream, mode) as shim:
            for number, ask_for in enumerate((socks4, socks5)):
                host = f"{mode}{number}.test"
                there = issued(shim, host)
                steps = [(ask_for(there, 80), 8 if number == 0 else 10), (GET, 0)]
                got = send(shim.socks, *([(GREETING, 2)] if number else []), *steps)
                assert f"reached {host}".encode() in got
                seen = upstream.wait_for(host)
                assert (seen.atyp, seen.host) == (3, host)
                line = shim.decided(destination=f"{there}:80")
                assert (line["exposure"], line["action"], line["name"]) == ("issued", "repair", host)
                finding = shim.wait_for("leak_found", conn=line["conn"])
                assert (finding["kind"], finding["confidence"], finding["name"], finding["action"]) == (
                    *("local_resolution", "confirmed", host, "repair"),
                )
                assert not upstream.asked_for(there)

    def test_as_text_too(self, shim: Shim, upstream: Upstream) -> None:
        there = issued(shim, "text.test")
        with tunnel5(shim.socks, there.encode(), 80) as client:
            client.send(GET)
            assert b"reached text.test" in client.read_all()
        assert shim.decided(destination=f"{there}:80")["exposure"] == "issued"

    def test_the_clients_credentials_go_along(self, shim: Shim, upstream: Upstream) -> None:
        there = issued(shim, "user.test")
        send(shim.socks, (GREETING_AUTH, 2), (b"\1\3who\4pass", 2), (socks5(there, 80), 10), (GET, 0))
        seen = upstream.wait_for("user.test")
        assert (seen.username, seen.password) == (b"who", b"pass")

    def test_in_block_it_is_refused(self, upstream: Upstream) -> None:
        asked = len(upstream.seen)
        with issuing(upstream, "block") as shim:
            there = issued(shim, "blocked.test")
            assert send(shim.socks, (socks4(there, 80), 0)) == REFUSED4
            assert send(shim.socks, (GREETING, 2), (socks5(there, 81), 0)) == NO_AUTH + refused5(2)
            line = shim.decided(destination=f"{there}:81")
            assert (line["exposure"], line["action"], line["reason"]) == ("issued", "block", "issued")
            finding = shim.wait_for("leak_found", conn=line["conn"])
            assert (finding["kind"], finding["name"], finding["action"]) == (
                *("local_resolution", "blocked.test", "block"),
            )
        assert len(upstream.seen) == asked

    @pytest.mark.parametrize("mode", ["warn", "block", "repair"])
    def test_what_was_never_issued_is_stale(self, mode: str, upstream: Upstream) -> None:
        asked = len(upstream.seen)
        with issuing(upstream, mode) as shim:
            for number, there in enumerate(("198.18.0.0", "198.19.255.255", "198.18.77.7")):
                assert send(shim.socks, (GREETING, 2), (socks5(there, 80 + number), 0)) == NO_AUTH + refused5(2)
                line = shim.decided(destination=f"{there}:{80 + number}")
                assert (line["action"], line["reason"]) == ("block", "stale")
        assert len(upstream.seen) == asked

    def test_without_the_mode_the_pool_is_nothing_special(self, upstream: Upstream) -> None:
        upstream_seen = len(upstream.seen)
        with Shim("--dns", "127.0.0.1:0", upstream=upstream.address) as shim:
            send(shim.socks, (GREETING, 2), (socks5("198.18.0.1", 80), 0))
            assert shim.decided()["exposure"] == "address"
        assert upstream.seen[upstream_seen].host == "198.18.0.1"


class TestRestart:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        config = tmp_path / "shim.toml"
        config.write_text(f'[dns]\nstate = "{tmp_path / "state"}"\n')
        return config

    def test_without_a_file_the_address_is_stale(self, upstream: Upstream) -> None:
        with issuing(upstream) as before:
            there = issued(before, "gone.test")
        with issuing(upstream, "repair") as after:
            assert send(after.socks, (GREETING, 2), (socks5(there, 80), 0)) == NO_AUTH + refused5(2)
            assert after.decided()["reason"] == "stale"
        assert not upstream.asked_for("gone.test") and not upstream.asked_for(there)

    def test_with_a_file_it_still_stands_for_its_name(self, upstream: Upstream, config: Path) -> None:
        with issuing(upstream, config=config) as before:
            there = issued(before, "kept.test")
        with issuing(upstream, config=config) as after:
            with tunnel5(after.socks, there, 80) as client:
                client.send(GET)
                assert b"reached kept.test" in client.read_all()
            assert issued(after, "kept.test") == there
            assert issued(after, "new.test") != there
            assert not after.find("state_failed")

    def test_a_killed_shim_forgets_seconds_only(self, upstream: Upstream, config: Path) -> None:
        state = config.with_name("state")
        before = issuing(upstream, config=config)
        with pytest.raises(AssertionError, match="exit status -9"), before:
            there = issued(before, "killed.test")
            while "killed.test" not in (state.read_text() if state.exists() else ""):
                assert before.process.poll() is None
            before.process.kill()
        with issuing(upstream, config=config) as after:
            assert issued(after, "killed.test") == there

    @pytest.mark.parametrize("kind", ["text", "link", "folder"])
    def test_what_is_no_state_is_told_and_the_sensor_works(self, kind: str, upstream: Upstream, config: Path) -> None:
        state, target = config.with_name("state"), config.with_name("target")
        target.write_text("mine")
        match kind:
            case "text":
                state.write_text("mine")
            case "link":
                state.symlink_to(target)
            case _:
                state.mkdir()
        with issuing(upstream, config=config) as shim:
            error = shim.wait_for("state_failed")["error"]
            assert issued(shim, "works.test")
        assert error == {"text": "not_a_state", "link": "symbolic_link", "folder": "not_a_file"}[kind]
        assert target.read_text() == "mine" and (kind != "text" or state.read_text() == "mine")
