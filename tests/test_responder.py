"""shim.sensor.responder: from message to reply and event, with the real judge, in every DNS mode."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest
from dns.message import from_wire, make_query
from hypothesis import given
from hypothesis import strategies as st
from rig.asking import answers, is_reply, rcode, wire

from shim.events import DnsQueried, Event, Fault
from shim.judge.answering import Plan
from shim.judge.issued import IssuedPool
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import (
    Answer,
    Command,
    DnsAnswer,
    DnsMode,
    Exposure,
    Host,
    Peer,
    Process,
    Protocol,
    Reply,
    Request,
)
from shim.policy import DnsPolicy, Policy
from shim.sensor.askers import Seen
from shim.sensor.limiter import RateLimiter
from shim.sensor.lookups import Done
from shim.sensor.responder import NOTHING, Responder

CLIENT = Peer("127.0.0.1", 5353)
ONION = "p53lf57qovyuvwsc6xnrppyply3vtqm7l6pcobkmyqsiofyeznfu5uqd.onion"


class Sensor:
    """A responder with its judge, and an upstream that answers when told."""

    def __init__(self, mode: DnsMode, rate: int = 0, capacity: int = 100, **policy: Any) -> None:
        self.events: list[Event] = []
        self.late: list[bytes] = []
        self.lookups: list[tuple[Request, Done]] = []
        pool = IssuedPool(IPv4Network("198.18.0.0/24"), start=0, capacity=capacity) if mode is DnsMode.ISSUE else None
        self.judge = Judge(Policy(), AnswerMemory(), dns=DnsPolicy(mode, **policy), pool=pool)
        self.responder = Responder(self.judge, self.events.append, self._resolve, RateLimiter(rate))

    def _resolve(self, request: Request, _peer: Peer, _query: str, done: Done) -> None:
        self.lookups.append((request, done))

    def ask(self, message: bytes, transport: str = "udp") -> Any:
        """The reply, read; None when it is to come late."""
        reply = self.responder.handle(message, CLIENT, "127.0.0.1:53", transport, self.late.append)
        return reply if reply is None or reply == NOTHING else from_wire(reply)

    def answer(self, *said: Host | None, reply: int = Reply.SUCCEEDED) -> Any:
        """Have the upstream answer; the late reply, read."""
        _, done = self.lookups[-1]
        done(Answer(reply, said[0] if said and said[0] is not None else IPv4Address(0), 0) if said or reply else None)
        return from_wire(self.late[-1])

    def away(self) -> Any:
        """Have the upstream fail."""
        self.lookups[-1][1](None)
        return from_wire(self.late[-1])

    @property
    def last(self) -> DnsQueried:
        event = self.events[-1]
        assert isinstance(event, DnsQueried)
        return event

    def exposure(self, host: Host) -> Exposure:
        """How a request of the same client is judged now."""
        request = Request(Protocol.SOCKS5, Command.CONNECT, host, 80)
        return self.judge.judge(request, CLIENT, self.last.at + 1).exposure


class TestRefuse:
    @pytest.mark.parametrize("refusal", ["REFUSED", "NXDOMAIN"])
    @pytest.mark.parametrize("rdtype", ["A", "AAAA", "HTTPS", "TXT", "ANY"])
    def test_every_type_gets_the_same_rcode(self, refusal: str, rdtype: str) -> None:
        sensor = Sensor(DnsMode.REFUSE, refusal=refusal)
        reply = sensor.ask(wire("www.example.com", rdtype))
        assert (rcode(reply), answers(reply), is_reply(reply)) == (refusal, [], True)
        assert (sensor.last.qname, sensor.last.qtype) == ("www.example.com", rdtype)
        assert (sensor.last.rcode, sensor.last.answer, sensor.last.addresses) == (refusal, DnsAnswer.REFUSE, ())

    def test_each_query_has_an_id_of_its_own(self) -> None:
        sensor = Sensor(DnsMode.REFUSE)
        for _ in range(3):
            sensor.ask(wire("a.example"))
        assert len({event.query for event in sensor.events if isinstance(event, DnsQueried)}) == 3


@pytest.mark.parametrize("mode", list(DnsMode))
class TestInEveryMode:
    @pytest.mark.parametrize("name", [ONION, f"www.{ONION}", "short.onion", f"{ONION}.lan", "use-application-dns.net"])
    def test_names_that_must_not_exist(self, mode: DnsMode, name: str) -> None:
        sensor = Sensor(mode)
        assert rcode(sensor.ask(wire(name))) == "NXDOMAIN"
        assert (sensor.last.answer, sensor.last.qname) == (DnsAnswer.REFUSE, name)
        assert sensor.lookups == []

    def test_a_message_that_is_no_query_is_dropped_and_told(self, mode: DnsMode) -> None:
        sensor = Sensor(mode)
        response = bytearray(wire("a.example"))
        response[2] |= 0x80
        for message in (b"", b"\0" * 11, bytes(response)):
            assert sensor.ask(message) == NOTHING
            assert (sensor.last.answer, sensor.last.qname, sensor.last.rcode) == (DnsAnswer.DROP, "", "")

    def test_a_bad_query_shows_its_name_all_the_same(self, mode: DnsMode) -> None:
        sensor = Sensor(mode)
        twice = bytearray(wire("secret.example"))
        twice[5] = 2
        assert rcode(sensor.ask(bytes(twice))) == "FORMERR"
        assert (sensor.last.qname, sensor.last.answer, sensor.last.rcode) == (
            "secret.example",
            DnsAnswer.REFUSE,
            "FORMERR",
        )

    @given(message=st.binary(max_size=80))
    def test_any_bytes_end_in_one_event_and_no_fault(self, mode: DnsMode, message: bytes) -> None:
        sensor = Sensor(mode)
        sensor.responder.handle(message, CLIENT, "x", "udp", sensor.late.append)
        assert len(sensor.events) + len(sensor.lookups) == 1
        assert not any(isinstance(event, Fault) for event in sensor.events)


class TestIssue:
    def test_an_address_that_stands_for_the_name_for_a_second(self) -> None:
        sensor = Sensor(DnsMode.ISSUE)
        assert answers(sensor.ask(wire("wWw.Example.com"))) == ["A 1 198.18.0.1"]
        assert sensor.last.qname == "www.example.com"
        assert (sensor.last.answer, sensor.last.addresses) == (DnsAnswer.ISSUE, (IPv4Address("198.18.0.1"),))
        assert answers(sensor.ask(wire("www.example.com"))) == ["A 1 198.18.0.1"]
        assert answers(sensor.ask(wire("other.example.com"))) == ["A 1 198.18.0.2"]
        assert sensor.exposure(IPv4Address("198.18.0.1")) is Exposure.ISSUED

    def test_the_case_of_the_question_comes_back(self) -> None:
        reply = Sensor(DnsMode.ISSUE).ask(wire("wWw.eXaMpLe.CoM"))
        assert str(reply.question[0].name) == "wWw.eXaMpLe.CoM."

    @pytest.mark.parametrize("rdtype", ["AAAA", "HTTPS", "SVCB", "TXT", "MX"])
    def test_other_types_are_empty(self, rdtype: str) -> None:
        sensor = Sensor(DnsMode.ISSUE)
        reply = sensor.ask(wire("www.example.com", rdtype))
        assert (rcode(reply), answers(reply), sensor.last.answer) == ("NOERROR", [], DnsAnswer.ISSUE)

    def test_the_name_of_an_issued_address(self) -> None:
        sensor = Sensor(DnsMode.ISSUE)
        sensor.ask(wire("www.example.com"))
        assert answers(sensor.ask(wire("1.0.18.198.in-addr.arpa", "PTR"))) == ["PTR 1 www.example.com."]
        assert rcode(sensor.ask(wire("9.0.18.198.in-addr.arpa", "PTR"))) == "NXDOMAIN"
        assert rcode(sensor.ask(wire("www.example.com", "PTR"))) == "NXDOMAIN"

    def test_a_full_pool_refuses_and_evicts_nobody(self) -> None:
        sensor = Sensor(DnsMode.ISSUE, capacity=2)
        for name in ("a.example", "b.example"):
            assert rcode(sensor.ask(wire(name))) == "NOERROR"
        assert rcode(sensor.ask(wire("c.example"))) == "SERVFAIL"
        assert sensor.last.answer is DnsAnswer.REFUSE
        assert answers(sensor.ask(wire("a.example"))) == ["A 1 198.18.0.1"]


class TestTor:
    def test_an_address_comes_late_and_is_remembered(self) -> None:
        sensor = Sensor(DnsMode.TOR)
        assert sensor.ask(wire("Www.Example.com")) is None
        assert sensor.events == []
        request, _ = sensor.lookups[0]
        assert (request.command, request.host, request.port) == (Command.RESOLVE, "www.example.com", 0)
        assert answers(sensor.answer(IPv4Address("93.184.216.34"))) == ["A 60 93.184.216.34"]
        assert (sensor.last.answer, sensor.last.addresses) == (DnsAnswer.TOR, (IPv4Address("93.184.216.34"),))
        assert sensor.exposure(IPv4Address("93.184.216.34")) is Exposure.RESOLVED_BY_TOR

    def test_an_address_of_the_other_family_is_not_given_and_not_remembered(self) -> None:
        sensor = Sensor(DnsMode.TOR)
        sensor.ask(wire("www.example.com", "AAAA"))
        reply = sensor.answer(IPv4Address("93.184.216.34"))
        assert (rcode(reply), answers(reply), sensor.last.addresses) == ("NOERROR", [], ())
        assert sensor.exposure(IPv4Address("93.184.216.34")) is Exposure.ADDRESS

    def test_a_and_aaaa_are_one_question_to_tor(self) -> None:
        sensor = Sensor(DnsMode.TOR)
        sensor.ask(wire("www.example.com", "A", id=1))
        sensor.ask(wire("www.example.com", "AAAA", id=2))
        assert len(sensor.lookups) == 1
        sensor.answer(IPv6Address("2001:db8::34"))
        replies = {reply.id: reply for reply in map(from_wire, sensor.late)}
        assert (answers(replies[1]), answers(replies[2])) == ([], ["AAAA 60 2001:db8::34"])

    def test_reverse(self) -> None:
        sensor = Sensor(DnsMode.TOR)
        sensor.ask(wire("34.216.184.93.in-addr.arpa", "PTR"))
        request, _ = sensor.lookups[0]
        assert (request.command, request.host) == (Command.RESOLVE_PTR, IPv4Address("93.184.216.34"))
        assert answers(sensor.answer("www.example.com")) == ["PTR 60 www.example.com."]

    @pytest.mark.parametrize(
        ("code", "expected"), [(1, "SERVFAIL"), (4, "NXDOMAIN"), (6, "SERVFAIL"), (7, "SERVFAIL"), (0xF0, "SERVFAIL")]
    )
    def test_what_tor_refuses(self, code: int, expected: str) -> None:
        sensor = Sensor(DnsMode.TOR)
        sensor.ask(wire("www.example.com"))
        assert rcode(sensor.answer(reply=code)) == expected
        assert (sensor.last.rcode, sensor.last.answer) == (expected, DnsAnswer.TOR)

    def test_no_answer_at_all(self) -> None:
        sensor = Sensor(DnsMode.TOR)
        sensor.ask(wire("www.example.com"))
        assert rcode(sensor.away()) == "SERVFAIL"

    @pytest.mark.parametrize(
        ("name", "rdtype", "said"),
        [
            ("www.example.com", "A", "www.example.com"),
            ("34.216.184.93.in-addr.arpa", "PTR", IPv4Address("93.184.216.34")),
            ("34.216.184.93.in-addr.arpa", "PTR", "a..b"),
            ("34.216.184.93.in-addr.arpa", "PTR", "x" * 64 + ".example"),
            ("34.216.184.93.in-addr.arpa", "PTR", ""),
        ],
    )
    def test_an_exit_that_answers_nonsense(self, name: str, rdtype: str, said: Host) -> None:
        sensor = Sensor(DnsMode.TOR)
        sensor.ask(wire(name, rdtype))
        assert rcode(sensor.answer(said)) == "SERVFAIL"
        assert (sensor.last.rcode, sensor.last.addresses) == ("SERVFAIL", ())

    @pytest.mark.parametrize("rdtype", ["HTTPS", "SVCB", "TXT", "MX"])
    def test_other_types_are_empty_at_once(self, rdtype: str) -> None:
        sensor = Sensor(DnsMode.TOR)
        reply = sensor.ask(wire("www.example.com", rdtype))
        assert (rcode(reply), answers(reply), sensor.lookups) == ("NOERROR", [], [])
        assert sensor.last.answer is DnsAnswer.TOR


class Eyes:
    """Finds curl behind every query, as soon as it is told to."""

    def __init__(self) -> None:
        self.asked: list[Callable[[Seen], None]] = []

    def look(self, _query: str, _peer: Peer, _listener: str, _transport: str, then: Callable[[Seen], None]) -> None:
        self.asked.append(then)


def test_who_asked_with_another_class_is_looked_up_too() -> None:
    """Its name was given away, so there is a finding, and `off` would be untrue."""
    sensor, eyes = Sensor(DnsMode.REFUSE), Eyes()
    sensor.responder = Responder(sensor.judge, sensor.events.append, sensor._resolve, RateLimiter(0), eyes=eyes)
    message = make_query("version.bind", "TXT", "CH").to_wire()
    assert sensor.ask(message) is None
    assert not sensor.events
    eyes.asked.pop()((Process(7, "dig", "/usr/bin/dig"), None))
    assert rcode(from_wire(sensor.late[-1])) == "REFUSED"
    assert (sensor.last.qname, sensor.last.process, sensor.last.process_reason) == (
        "version.bind",
        Process(7, "dig", "/usr/bin/dig"),
        None,
    )
    assert sensor.ask(b"x") == NOTHING
    assert not eyes.asked, "who sends what is no query is not looked up"


def test_above_the_limit_nothing_is_answered_and_nothing_told() -> None:
    sensor = Sensor(DnsMode.REFUSE, rate=3)
    replies = [sensor.ask(wire("a.example")) for _ in range(10)]
    assert [reply != NOTHING for reply in replies] == [True] * 3 + [False] * 7
    assert len(sensor.events) == 3


def test_a_bug_of_ours_costs_one_query_its_answer() -> None:
    sensor = Sensor(DnsMode.ISSUE)
    plan = Judge.plan

    class Broken(Judge):
        def plan(self, name: str, qtype: int, pointer: IPv4Address | IPv6Address | None) -> Plan:
            if name == "bug.example":
                raise ZeroDivisionError("bug.example")
            return plan(self, name, qtype, pointer)

    sensor.responder = Responder(
        Broken(Policy(), AnswerMemory(), dns=sensor.judge.dns, pool=sensor.judge.pool),
        sensor.events.append,
        sensor._resolve,
        RateLimiter(0),
    )
    assert sensor.ask(wire("bug.example")) == NOTHING
    fault = sensor.events[-1]
    assert isinstance(fault, Fault) and fault.error == "ZeroDivisionError"
    assert "bug.example" not in str(fault)
    assert answers(sensor.ask(wire("a.example"))) == ["A 1 198.18.0.1"]
