"""`shim run --dns` from outside: what is answered, refused and dropped, by UDP and TCP, and what the log says of it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dns.message import Message, from_wire
from rig.asking import (
    Where,
    address,
    answers,
    ask,
    ask_tcp,
    is_reply,
    query,
    rcode,
    udp_client,
    unanswered,
    wire,
)
from rig.family import children
from rig.shim import Shim, run
from rig.upstream import Upstream

Ask = Callable[[Where, bytes], Message]
ONION = "p53lf57qovyuvwsc6xnrppyply3vtqm7l6pcobkmyqsiofyeznfu5uqd.onion"


@pytest.fixture(scope="module")
def refusing(upstream: Upstream) -> Iterator[Shim]:
    """A sensor that refuses, in both families."""
    with Shim("--dns", "127.0.0.1:0", "--dns", "[::1]:0", upstream=upstream.address) as shim:
        yield shim


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"])
def where(request: pytest.FixtureRequest, refusing: Shim) -> Where:
    return next(found for found in map(address, refusing.ready["dns"]) if found[0] == request.param)


@pytest.fixture(params=["udp", "tcp"])
def by(request: pytest.FixtureRequest) -> Ask:
    """One way to ask."""
    return ask if request.param == "udp" else lambda where, message: ask_tcp(where, message)[0]


def changed(message: bytes, *changes: tuple[int, int]) -> bytes:
    """The message with some bytes replaced."""
    copy = bytearray(message)
    for place, value in changes:
        copy[place] = value
    return bytes(copy)


class TestReady:
    def test_udp_and_tcp_share_the_port(self, refusing: Shim, where: Where) -> None:
        assert len(refusing.ready["dns"]) == 2
        assert rcode(ask(where, wire("a.test"))) == rcode(ask_tcp(where, wire("a.test"))[0]) == "NXDOMAIN"

    def test_a_given_port(self, upstream: Upstream) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with Shim("--dns", f"127.0.0.1:{port}", upstream=upstream.address) as shim:
            assert shim.ready["dns"] == [f"127.0.0.1:{port}"]
            assert rcode(ask(("127.0.0.1", port), wire("a.test"))) == "NXDOMAIN"

    def test_a_taken_port_ends_the_start_and_is_named(self, upstream: Upstream) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            done = run("run", "--socks", "127.0.0.1:0", "--dns", f"127.0.0.1:{port}", "--upstream", upstream.address)
        assert done.returncode not in (0, 1, 2, 3)
        assert f"127.0.0.1:{port}: address already in use" in done.stderr

    @pytest.mark.parametrize("where", ["0.0.0.0:5353", "[::]:5353", "192.0.2.1:53"])
    def test_other_machines_are_refused_unless_allowed(self, where: str) -> None:
        done = run("run", "--dns", where)
        assert done.returncode == 2
        assert "listen.allow_remote" in done.stderr

    def test_no_dns_without_being_asked(self, upstream: Upstream) -> None:
        with Shim(upstream=upstream.address) as shim:
            assert shim.ready["dns"] == []


class TestRefuse:
    @pytest.mark.parametrize("rdtype", ["A", "AAAA", "HTTPS", "SVCB", "PTR", "TXT", "ANY"])
    def test_any_type(self, rdtype: str, where: Where, by: Ask, refusing: Shim) -> None:
        mark, name = refusing.mark(), f"{rdtype.lower()}.example.com"
        reply = by(where, wire(name, rdtype, id=77))
        assert (rcode(reply), answers(reply), reply.id, is_reply(reply)) == ("NXDOMAIN", [], 77, True)
        line = refusing.wait_for("dns_query", mark, qname=name)
        assert (line["qtype"], line["rcode"], line["answer"]) == (rdtype, "NXDOMAIN", "refuse")
        assert line["level"] == "info"
        assert (line["process"] is None) == ("process_reason" in line)

    def test_the_log_says_which_way_it_came(self, where: Where, refusing: Shim) -> None:
        mark = refusing.mark()
        ask(where, wire("way.test"))
        assert refusing.wait_for("dns_query", mark, qname="way.test")["transport"] == "udp"
        mark = refusing.mark()
        ask_tcp(where, wire("way.test"))
        assert refusing.wait_for("dns_query", mark, qname="way.test")["transport"] == "tcp"

    def test_refused_when_set(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text('[dns]\nrefusal = "REFUSED"\n')
        with Shim("--dns", "127.0.0.1:0", config=config, upstream=upstream.address) as shim:
            reply = ask(address(shim.ready["dns"][0]), wire("www.example.com"))
            assert (rcode(reply), reply.authority) == ("REFUSED", [])
            assert shim.wait_for("dns_query")["rcode"] == "REFUSED"

    def test_the_case_of_the_question_comes_back(self, where: Where, by: Ask, refusing: Shim) -> None:
        mark = refusing.mark()
        reply = by(where, wire("wWw.eXaMpLe.CoM"))
        assert str(reply.question[0].name) == "wWw.eXaMpLe.CoM."
        refusing.wait_for("dns_query", mark, qname="www.example.com")

    def test_query_ids_are_unique(self, where: Where, refusing: Shim) -> None:
        ask_tcp(where, *[wire("many.test", id=number) for number in range(50)])
        refusing.wait_for("dns_query", qname="many.test")
        ids = [line["query"] for line in refusing.find("dns_query")]
        assert len(ids) == len(set(ids))


class TestEdns:
    def test_an_opt_for_an_opt(self, where: Where, by: Ask) -> None:
        assert by(where, wire("a.test", edns=0)).edns == 0
        assert by(where, wire("a.test")).edns == -1

    def test_a_version_we_do_not_speak(self, where: Where, by: Ask) -> None:
        reply = by(where, wire("a.test", edns=1))
        assert (rcode(reply), reply.edns) == ("BADVERS", 0)

    def test_the_payload_size_is_ours(self, where: Where) -> None:
        assert ask(where, query("a.test", edns=0, payload=4096).to_wire()).payload == 1232


class TestOddMessages:
    def test_two_questions(self, where: Where, by: Ask, refusing: Shim) -> None:
        mark = refusing.mark()
        one = wire("first.test")
        two = changed(one, (5, 2)) + one[12:]
        assert rcode(by(where, two)) == "FORMERR"
        assert refusing.wait_for("dns_query", mark, qname="first.test")["rcode"] == "FORMERR"

    def test_no_question(self, where: Where, by: Ask) -> None:
        assert rcode(by(where, changed(wire("a.test"), (5, 0)))) == "FORMERR"

    def test_another_class(self, where: Where, by: Ask, refusing: Shim) -> None:
        mark = refusing.mark()
        message = wire("version.bind", "TXT")
        assert rcode(by(where, message[:-2] + b"\0\3")) == "REFUSED"
        refusing.wait_for("dns_query", mark, qname="version.bind", rcode="REFUSED")

    @pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 15])
    def test_another_opcode(self, opcode: int, where: Where, by: Ask) -> None:
        assert rcode(by(where, changed(wire("a.test"), (2, opcode << 3)))) == "NOTIMP"

    def test_too_many_records(self, where: Where, by: Ask) -> None:
        assert rcode(by(where, changed(wire("a.test"), (6, 255), (7, 255)))) == "FORMERR"

    def test_too_long_by_udp(self, where: Where, refusing: Shim) -> None:
        mark = refusing.mark()
        assert rcode(ask(where, wire("long.test") + b"\0" * 5000)) == "FORMERR"
        refusing.wait_for("dns_query", mark, qname="long.test", rcode="FORMERR")

    def test_a_name_that_is_no_text_is_shown_escaped(self, where: Where, by: Ask, refusing: Shim) -> None:
        mark = refusing.mark()
        message = wire("x.test")[:12] + b"\x06\xff\x1b[m.\n\x04test\0\0\1\0\1"
        reply = by(where, message)
        assert rcode(reply) == "NXDOMAIN"
        refusing.wait_for("dns_query", mark, qname="\\255\\027[m\\.\\010.test")

    @pytest.mark.parametrize("message", [b"", b"\0", b"\0" * 11, wire("a.test")[:11]])
    def test_less_than_a_header_is_dropped(self, message: bytes, where: Where) -> None:
        assert unanswered(where, message)

    def test_a_response_is_dropped_and_told(self, where: Where, refusing: Shim) -> None:
        mark = refusing.mark()
        assert unanswered(where, changed(wire("loop.test"), (2, 0x81)))
        line = refusing.wait_for("dns_query", mark, answer="drop")
        assert (line["qname"], line["qtype"], line["rcode"]) == ("", "", "")

    def test_a_cut_message(self, where: Where) -> None:
        message = wire("www.example.com")
        for end in range(12, len(message)):
            reply = ask(where, message[:end])
            assert rcode(reply) == "FORMERR", end

    def test_a_chain_of_pointers_is_not_followed(self, where: Where) -> None:
        chain = b"".join((0xC000 | 12 + 2 * hop).to_bytes(2, "big") for hop in range(1, 900))
        assert rcode(ask(where, wire("a.test")[:12] + chain + b"\0\0\1\0\1")) == "FORMERR"


@pytest.mark.parametrize("mode", ["refuse", "issue", "tor"])
class TestInEveryMode:
    @pytest.fixture
    def shim(self, mode: str, upstream: Upstream) -> Iterator[Shim]:
        with Shim("--dns", "127.0.0.1:0", "--dns-mode", mode, upstream=upstream.address) as shim:
            yield shim

    def test_names_that_must_not_exist(self, shim: Shim, upstream: Upstream) -> None:
        where, asked = address(shim.ready["dns"][0]), len(upstream.seen)
        for name in (ONION, f"www.{ONION}", f"{ONION}.corp.lan"):
            assert rcode(ask(where, wire(name))) == "NXDOMAIN"
            query_id = shim.wait_for("dns_query", qname=name)["query"]
            finding = shim.wait_for("leak_found", query=query_id)
            assert (finding["kind"], finding["confidence"]) == ("onion_in_dns", "confirmed")
        assert rcode(ask(where, wire("use-application-dns.net"))) == "NXDOMAIN"
        assert len(upstream.seen) == asked

    def test_a_late_end_answers_nothing_and_faults_nothing(self, shim: Shim, upstream: Upstream) -> None:
        with udp_client(address(shim.ready["dns"][0])) as client:
            for number in range(200):
                client.send(wire(f"{number}.end.test", id=number))
            shim.stop()

    def test_an_end_while_askers_are_looked_up_faults_nothing(self, shim: Shim) -> None:
        lookers = [pid for guardian in children(shim.process.pid) for pid in children(guardian)]
        with udp_client(address(shim.ready["dns"][0])) as client:
            for pid in lookers:
                os.kill(pid, signal.SIGSTOP)
            for number in range(50):
                client.send(wire(f"{number}.end.test", id=number))
            shim.stop()


class TestLimit:
    def test_a_flood_is_dropped_and_counted_to_the_last(self, upstream: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[dns]\nqueries_per_second = 20\n")
        with Shim("--dns", "127.0.0.1:0", config=config, upstream=upstream.address) as shim:
            where = address(shim.ready["dns"][0])
            with udp_client(where) as client:
                for lump in range(10):
                    for number in range(100):
                        client.send(wire("flood.test", id=number))
                    # Another client is served all the while; its answer also says that the lump was read.
                    with udp_client(where, source=f"127.0.7.{lump + 1}") as other:
                        other.send(wire("other.test"))
                        assert rcode(from_wire(other.recv(512))) == "NXDOMAIN"
            shim.wait_for("queries_dropped")
            shim.stop()
            answered, dropped = len(shim.find("dns_query", qname="flood.test")), shim.find("queries_dropped")
        assert 20 <= answered < 500
        assert answered + sum(line["count"] for line in dropped) == 1000
        assert all(line["level"] == "warning" and line["client"].startswith("127.0.0.1:") for line in dropped)

    def test_two_hundred_a_second_are_never_refused(self, upstream: Upstream) -> None:
        with Shim("--dns", "127.0.0.1:0", upstream=upstream.address) as shim:
            where = address(shim.ready["dns"][0])
            replies = ask_tcp(where, *[wire("busy.test", id=number) for number in range(1000)])
            assert sorted(reply.id for reply in replies) == list(range(1000))
