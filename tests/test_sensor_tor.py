"""`shim run --dns-mode tor` from outside: names by the upstream's RESOLVE, answers remembered, and no other way out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dns.message import from_wire
from rig.asking import Where, address, answers, ask, ask_tcp, rcode, udp_client, wire
from rig.border import CANARY, IN_TESTS, sniffing
from rig.namespace import Namespace
from rig.programs import require_namespaces
from rig.shim import Shim
from rig.upstream import Behaviour, Upstream
from rig.wire import GREETING, socks5, tunnel5
from rig.wire import ask as send

PAGE, PAGE_ADDRESS = "page.test", "93.184.216.34"
GET = b"GET / HTTP/1.0\r\n\r\n"


def resolving(upstream: str, mode: str = "warn", config: Path | None = None) -> Shim:
    return Shim("--dns", "127.0.0.1:0", "--dns-mode", "tor", "--mode", mode, config=config, upstream=upstream)


def sensor(shim: Shim) -> Where:
    return address(shim.ready["dns"][0])


@pytest.fixture(scope="module")
def shim(upstream: Upstream) -> Iterator[Shim]:
    with resolving(upstream.address) as process:
        yield process


class TestAnswers:
    def test_an_address(self, shim: Shim, upstream: Upstream) -> None:
        assert answers(ask(sensor(shim), wire("Page.Test"))) == [f"A 60 {PAGE_ADDRESS}"]
        seen = upstream.wait_for(PAGE)
        assert (seen.command, seen.atyp, seen.port) == (0xF0, 3, 0)
        line = shim.wait_for("dns_query", qname=PAGE)
        assert (line["answer"], line["rcode"], line["addresses"]) == ("tor", "NOERROR", [PAGE_ADDRESS])

    def test_by_tcp(self, shim: Shim) -> None:
        assert answers(ask_tcp(sensor(shim), wire(PAGE))[0]) == [f"A 60 {PAGE_ADDRESS}"]

    def test_ipv6_where_tor_finds_one(self, shim: Shim) -> None:
        assert answers(ask(sensor(shim), wire("six.test", "AAAA"))) == ["AAAA 60 2001:db8::34"]
        reply = ask(sensor(shim), wire("six.test", "A"))
        assert (rcode(reply), answers(reply)) == ("NOERROR", [])

    def test_the_name_of_an_address(self, shim: Shim, upstream: Upstream) -> None:
        assert answers(ask(sensor(shim), wire("34.216.184.93.in-addr.arpa", "PTR"))) == [f"PTR 60 {PAGE}."]
        assert upstream.seen[-1].command == 0xF1

    @pytest.mark.parametrize("rdtype", ["HTTPS", "SVCB", "TXT", "MX"])
    def test_other_types_are_empty_and_not_asked(self, rdtype: str, shim: Shim, upstream: Upstream) -> None:
        asked = len(upstream.seen)
        reply = ask(sensor(shim), wire(PAGE, rdtype))
        assert (rcode(reply), answers(reply), len(upstream.seen)) == ("NOERROR", [], asked)

    @pytest.mark.parametrize("name", ["wpad.test", "printer.local", "localhost", "1.0.0.127.in-addr.arpa"])
    def test_what_belongs_here_is_not_asked(self, name: str, shim: Shim, upstream: Upstream) -> None:
        asked = len(upstream.seen)
        assert rcode(ask(sensor(shim), wire(name, "PTR" if name.endswith("arpa") else "A"))) == "NXDOMAIN"
        assert len(upstream.seen) == asked

    @pytest.mark.parametrize(("reply", "expected"), [(1, "SERVFAIL"), (4, "NXDOMAIN"), (0xF0, "SERVFAIL")])
    def test_what_tor_refuses(self, reply: int, expected: str, shim: Shim, upstream: Upstream) -> None:
        upstream.behave["refused.test"] = Behaviour(reply=reply)
        mark = shim.mark()
        assert rcode(ask(sensor(shim), wire("refused.test"))) == expected
        line = shim.wait_for("dns_query", mark, qname="refused.test")
        assert (line["rcode"], line["answer"]) == (expected, "tor")

    def test_questions_meanwhile_do_not_wait(self, shim: Shim, upstream: Upstream) -> None:
        upstream.behave["slow.test"] = Behaviour(delay_s=1.5, reply=4)
        with udp_client(sensor(shim)) as client:
            for number, name in enumerate(("slow.test", PAGE, "slow.test")):
                client.send(wire(name, id=number))
            ids = [from_wire(client.recv(512)).id for _ in range(3)]
        assert ids[0] == 1 and set(ids) == {0, 1, 2}
        assert len(upstream.asked_for("slow.test")) == 1


class TestIsolation:
    def test_each_client_has_circuits_of_its_own(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text('[policy]\nisolate = "client"\n')
        mark = len(upstream.seen)
        with resolving(upstream.address, config=config) as shim:
            for source in ("127.0.0.1", "127.0.0.2"):
                with udp_client(sensor(shim), source=source) as client:
                    client.send(wire(PAGE))
                    client.recv(512)
            tunnel5(shim.socks, b"echo.test", 80).sock.close()
        first, second, tunnel = upstream.seen[mark:]
        assert first.username == second.username == b"leakshim"
        assert first.password != second.password
        assert tunnel.password == first.password, "the name and the connection of one client go together"

    def test_none_unless_asked_for(self, shim: Shim, upstream: Upstream) -> None:
        ask(sensor(shim), wire(PAGE))
        assert upstream.wait_for(PAGE).username is None


class TestMemory:
    @pytest.mark.parametrize("mode", ["warn", "block", "repair"])
    def test_an_address_that_tor_gave_is_no_leak(self, mode: str, upstream: Upstream) -> None:
        with resolving(upstream.address, mode) as shim:
            ask(sensor(shim), wire(PAGE))
            got = send(shim.socks, (GREETING, 2), (socks5(PAGE_ADDRESS, 80), 10), (GET, 0))
            assert b"reached" in got
            line = shim.decided()
            assert (line["exposure"], line["action"]) == ("resolved_by_tor", "forward")
            shim.closed(conn=line["conn"])
            assert not [found for found in shim.find("leak_found") if found["kind"] != "dns_query"]
            assert not shim.find("leak_found", confidence="confirmed")

    def test_another_client_has_not_been_told(self, upstream: Upstream) -> None:
        with resolving(upstream.address) as shim:
            with udp_client(sensor(shim), source="127.0.0.9") as other:
                other.send(wire(PAGE))
                other.recv(512)
            tunnel5(shim.socks, PAGE_ADDRESS, 80).sock.close()
            assert shim.decided()["exposure"] == "address"


class TestUpstreamAway:
    def test_servfail_and_nothing_else(self, tmp_path: Path) -> None:
        with Upstream() as gone:
            pass
        with resolving(gone.address) as shim:
            assert rcode(ask(sensor(shim), wire(PAGE))) == "SERVFAIL"
            query_id = shim.wait_for("dns_query", qname=PAGE, rcode="SERVFAIL")["query"]
            failed = shim.wait_for("upstream_failed")
            assert (failed["error"], failed["query"]) == ("connection_refused", query_id)

    def test_it_comes_back(self) -> None:
        with Upstream() as upstream:
            upstream.stop()
            with resolving(upstream.address) as shim:
                assert rcode(ask(sensor(shim), wire(PAGE))) == "SERVFAIL"
                upstream.start()
                assert rcode(ask(sensor(shim), wire(PAGE))) == "NOERROR"

    def test_the_end_of_the_shim_is_not_told_as_its_failure(self, upstream: Upstream) -> None:
        upstream.behave["never.test"] = Behaviour(stop_at="reply", hold=True)
        with resolving(upstream.address) as shim, udp_client(sensor(shim)) as client:
            client.send(wire("never.test"))
            upstream.wait_for("never.test")
            shim.stop()
            assert not shim.find("upstream_failed")
            assert shim.find("dns_query", qname="never.test", rcode="SERVFAIL")


QUERIES = """
import sys
from rig.asking import address, ask, ask_tcp, wire
where = address(sys.argv[1])
for rdtype in ("A", "AAAA", "HTTPS", "TXT"):
    for name in ("page.test", "six.test", "nobody.test", "wpad.test", "x.onion", "use-application-dns.net"):
        ask(where, wire(name, rdtype)); ask_tcp(where, wire(name, rdtype))
ask(where, wire("34.216.184.93.in-addr.arpa", "PTR"))
ask(where, b"\\0\\1" + bytes(10))
print("asked")
"""


@pytest.mark.parametrize("mode", ["refuse", "issue", "tor"])
def test_the_sensor_sends_no_packet_but_to_its_client(mode: str, upstream: Upstream, tmp_path: Path) -> None:
    """Its upstream is a unix socket here, so every packet in the namespace must be its client's or for its client."""
    require_namespaces()
    with Namespace(tmp_path, {}) as space:
        for family in ("-4", "-6"):
            assert space.run(["ip", family, "route", "add", "default", "dev", "lo"]).returncode == 0
        with sniffing(space) as packets:
            argv = ("--dns", "127.0.0.1:0", "--dns-mode", mode)
            with Shim(*argv, upstream=upstream.unix, prefix=space.prefix) as shim:
                where = shim.ready["dns"][0]
                driven = space.run([sys.executable, "-c", QUERIES, where], env=IN_TESTS, timeout_s=60)
                assert driven.stdout == "asked\n", driven.stderr
            space.run([sys.executable, "-c", CANARY])
    kinds = {tuple(line.split()) for line in packets}
    port = where.rpartition(":")[2]
    mine = {kind for kind in kinds if kind[1] == kind[3] == "127.0.0.1" and port in (kind[2], kind[4])}
    canary = {kind for kind in kinds if kind[3] == "192.0.2.53"}
    assert {kind[0] for kind in mine} == {"udp", "tcp"}, "the client's queries were seen"
    assert canary, "a packet that leaves would have been seen"
    assert kinds - mine - canary == set()
