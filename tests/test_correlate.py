"""shim.judge.correlate and findings: what is reported of an event, against the contract's example lines."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from stories import Story

from shim.events import ConnectionClosed, Event, HandshakeFailed, LeakFound, RequestDecided, UpstreamAnswered
from shim.judge.advice import ADVICE_IDS, advice_for
from shim.judge.classify import classify
from shim.judge.correlate import Correlator
from shim.judge.decide import decide
from shim.locale import catalogue
from shim.model import (
    Answer,
    Command,
    Exposure,
    Host,
    Knowledge,
    LeakKind,
    Mode,
    Peer,
    Protocol,
    Request,
    Standing,
    Verdict,
)
from shim.policy import Policy
from shim.record import scrub

PEER = Peer("127.0.0.1", 40000)
LISTENER = "127.0.0.1:9250"
V4 = IPv4Address("93.184.216.34")
POOL = IPv4Address("198.18.7.9")


def decided(
    request: Request,
    policy: Policy | None = None,
    knowledge: Knowledge | None = None,
    conn: str = "c1",
    at: float = 1.0,
) -> RequestDecided:
    """The event of a request, judged as the judge judges it."""
    knowledge = knowledge or Knowledge()
    exposure = classify(request, knowledge)
    verdict = Verdict(exposure, decide(request, exposure, knowledge, policy or Policy()), knowledge.names)
    return RequestDecided(at, conn, PEER, LISTENER, request, verdict)


def broken(error: str, foreign: str | None, conn: str = "c1") -> HandshakeFailed:
    """The event of a handshake that failed."""
    return HandshakeFailed(1.0, conn, PEER, LISTENER, error, b"", foreign)


def only(event: Event) -> LeakFound:
    """The one finding of one event."""
    (found,) = Correlator().feed(event)
    return found


def line(found: LeakFound) -> dict[str, object]:
    """The keys that a log line takes from a finding as they are."""
    keys = ("finding", "revision", "kind", "confidence", "conn", "protocol", "destination", "name", "action", "rule")
    return {key: getattr(found, key) for key in keys} | {"evidence": list(found.evidence)}


# What the contract's examples.jsonl shows of these flows, word for word, in its order f1 to f5.
EXAMPLES = """
{"finding": "f1", "revision": 1, "kind": "address_only", "confidence": "possible", "conn": "c2", "protocol": "socks5", "destination": "93.184.216.34:443", "name": null, "action": "forward", "evidence": ["address_request"], "rule": "L03"}
{"finding": "f2", "revision": 1, "kind": "address_only", "confidence": "possible", "conn": "c3", "protocol": "socks4", "destination": "93.184.216.34:80", "name": null, "action": "block", "evidence": ["address_request"], "rule": "L01"}
{"finding": "f3", "revision": 1, "kind": "address_as_text", "confidence": "possible", "conn": "c4", "protocol": "socks5", "destination": "93.184.216.34:80", "name": null, "action": "forward", "evidence": ["text_address", "typed_literal_likely"], "rule": "L04"}
{"finding": "f4", "revision": 1, "kind": "bind_attempt", "confidence": "confirmed", "conn": "c5", "protocol": "socks5", "destination": "0.0.0.0:0", "name": null, "action": "block", "evidence": ["bind_command"], "rule": "L17"}
{"finding": "f5", "revision": 1, "kind": "not_socks", "confidence": "confirmed", "conn": "c6", "protocol": "http", "destination": "", "name": null, "action": "block", "evidence": ["http_request_line"], "rule": "L24"}
"""  # noqa: E501

BLOCK = Policy(mode=Mode.BLOCK)

STORY = [
    decided(Request(Protocol.SOCKS5, Command.CONNECT, "www.example.com", 443), conn="c1"),
    ConnectionClosed(1.5, "c1", 1820, 48211, 0.21, "client_closed"),
    decided(Request(Protocol.SOCKS5, Command.CONNECT, V4, 443), conn="c2"),
    decided(Request(Protocol.SOCKS4, Command.CONNECT, V4, 80), BLOCK, conn="c3"),
    decided(Request(Protocol.SOCKS5, Command.CONNECT, str(V4), 80), conn="c4"),
    decided(Request(Protocol.SOCKS5, Command.BIND, IPv4Address("0.0.0.0"), 0), conn="c5"),
    broken("not_socks", "http", conn="c6"),
    broken("malformed_name", None, conn="c7"),
]


def test_the_contracts_flows_give_the_contracts_findings() -> None:
    correlator = Correlator()
    found = [finding for event in STORY for finding in correlator.feed(event)]
    assert [line(each) for each in found] == [json.loads(text) for text in EXAMPLES.strip().splitlines()]
    assert [each.port for each in found] == [443, 80, 80, 0, None]
    assert all(each.at == 1.0 and each.process is None and each.prevented is None for each in found)


def test_the_same_events_give_the_same_findings_again() -> None:
    first, second = Correlator(), Correlator()
    assert [first.feed(event) for event in STORY] == [second.feed(event) for event in STORY]


# Protocol, command, host, then rule, kind, confidence, evidence and advice; all in mode warn.
REQUESTS: list[tuple[Protocol, Command, Host, str, str, str, str, str]] = [
    (*row[:2], host, *row[2:])
    for host, *rows in [
        (
            V4,
            (Protocol.SOCKS4, Command.CONNECT, "L01", "address_only", "possible", "address_request", "socks4"),
            (Protocol.SOCKS4, Command.RESOLVE, "L01", "address_only", "possible", "address_request", "socks4"),
            (Protocol.SOCKS4A, Command.CONNECT, "L01", "address_only", "possible", "address_request", "socks4"),
            (Protocol.SOCKS5, Command.CONNECT, "L03", "address_only", "possible", "address_request", "socks5"),
            (Protocol.SOCKS5, Command.RESOLVE, "L03", "address_only", "possible", "address_request", "socks5"),
            (Protocol.HTTP, Command.CONNECT, "L03", "address_only", "possible", "address_request", "http"),
        ),
        (
            IPv6Address("2001:db8::1"),
            (Protocol.SOCKS5, Command.CONNECT, "L19", "address_only", "possible", "address_request", "socks5"),
            (Protocol.SOCKS5, Command.RESOLVE, "L19", "address_only", "possible", "address_request", "socks5"),
            (Protocol.HTTP, Command.CONNECT, "L19", "address_only", "possible", "address_request", "http"),
        ),
        (
            IPv6Address("::ffff:93.184.216.34"),
            (Protocol.SOCKS5, Command.CONNECT, "L20", "address_only", "possible", "address_request", "socks5"),
            (Protocol.HTTP, Command.CONNECT, "L20", "address_only", "possible", "address_request", "http"),
        ),
        (
            IPv4Address("127.0.0.1"),
            (Protocol.SOCKS5, Command.CONNECT, "L23", "local_destination", "confirmed", "local_address", ""),
            (Protocol.SOCKS5, Command.RESOLVE, "L03", "address_only", "possible", "address_request", "socks5"),
            (Protocol.SOCKS5, Command.BIND, "L17", "bind_attempt", "confirmed", "bind_command", ""),
            (Protocol.SOCKS5, Command.UDP_ASSOCIATE, "L16", "udp_attempt", "confirmed", "udp_associate_command", ""),
        ),
        (
            "0x7f.1",
            (Protocol.SOCKS4A, Command.CONNECT, "L23", "local_destination", "confirmed", "local_address", ""),
            (Protocol.HTTP, Command.CONNECT, "L23", "local_destination", "confirmed", "local_address", ""),
        ),
        (
            "printer.local",
            (Protocol.SOCKS5, Command.CONNECT, "L23", "local_destination", "confirmed", "local_name", ""),
            (Protocol.SOCKS5, Command.RESOLVE, "L23", "local_destination", "confirmed", "local_name", ""),
        ),
        (
            "www.example.com",
            (Protocol.SOCKS4A, Command.BIND, "L17", "bind_attempt", "confirmed", "bind_command", ""),
            (Protocol.SOCKS5, Command.UDP_ASSOCIATE, "L16", "udp_attempt", "confirmed", "udp_associate_command", ""),
        ),
    ]
    for row in rows
]


@pytest.mark.parametrize(("protocol", "command", "host", "rule", "kind", "confidence", "evidence", "advice"), REQUESTS)
def test_what_a_request_shows(
    protocol: Protocol,
    command: Command,
    host: Host,
    rule: str,
    kind: str,
    confidence: str,
    evidence: str,
    advice: str,
) -> None:
    request = Request(protocol, command, host, 8080)
    event = decided(request)
    found = only(event)
    assert (found.rule, found.kind, found.confidence, found.evidence) == (rule, kind, confidence, (evidence,))
    assert found.advice == (f"advice.address_only.{advice}" if advice else f"advice.{kind}")
    assert (found.protocol, found.destination, found.port) == (protocol, request.destination, 8080)
    assert (found.action, found.conn, found.name) == (event.verdict.decision.action, "c1", None)


@pytest.mark.parametrize("protocol", [Protocol.SOCKS4A, Protocol.SOCKS5, Protocol.HTTP])
@pytest.mark.parametrize("command", [Command.CONNECT, Command.RESOLVE])
@pytest.mark.parametrize("text", ["93.184.216.34", "[2001:db8::1]", "1572395042"])
def test_an_address_as_text_is_likely_a_typed_one(protocol: Protocol, command: Command, text: str) -> None:
    found = only(decided(Request(protocol, command, text, 80)))
    assert (found.kind, found.rule, found.confidence) == ("address_as_text", "L04", "possible")
    assert found.evidence == ("text_address", "typed_literal_likely")
    assert found.advice == "advice.address_as_text"


@pytest.mark.parametrize("form", [V4, str(V4)])
def test_names_that_tor_gave_others_the_address_for_are_told_as_candidates(form: Host) -> None:
    request = Request(Protocol.SOCKS5, Command.CONNECT, form, 80)
    code = "address_request" if form is V4 else "text_address"
    one = only(decided(request, knowledge=Knowledge(names=("a.example",))))
    assert (one.name, one.evidence) == ("a.example", (code, "remembered_answer"))
    two = only(decided(request, knowledge=Knowledge(names=("a.example", "intranet"))))
    candidates = ("candidate:a.example", "candidate:intranet")
    assert (two.name, two.evidence) == (None, (code, "remembered_answer", "ambiguous_name", *candidates))
    for found in (one, two):
        assert (found.kind, found.confidence) == ("address_only" if form is V4 else "address_as_text", "possible")
        assert all(scrub.code(item, False) == scrub.SCRUBBED for item in found.evidence if "candidate" in item)


def test_a_remembered_name_that_was_sent_is_told_as_repaired() -> None:
    binary = Request(Protocol.SOCKS5, Command.CONNECT, V4, 80)
    found = only(decided(binary, Policy(mode=Mode.REPAIR), Knowledge(names=("a.example",))))
    assert (found.kind, found.confidence, found.action) == ("address_only", "possible", "repair")


@pytest.mark.parametrize(
    ("host", "port", "rule", "evidence", "advice"),
    [
        ("1.1.1.1", 443, "L21", "known_doh_address", "doh"),
        ("9.9.9.9", 853, "L21", "known_doh_address", "doh"),
        ("2606:4700:4700::1111", 443, "L21", "known_doh_address", "doh"),
        ("1.1.1.1", 53, "L22", "dns_port", "dns_port"),
        ("93.184.216.34", 53, "L22", "dns_port", "dns_port"),
        ("93.184.216.34", 853, "L22", "dns_port", "dns_port"),
    ],
)
def test_resolvers_are_known_by_address_and_no_more_than_possible(
    host: str, port: int, rule: str, evidence: str, advice: str
) -> None:
    for form in (ip_address(host), host):
        story = Story()
        for _ in range(20):
            story.connect(form, port)
        assert {found.confidence for found in story.found} == {"possible"}
        assert {(found.rule, evidence in found.evidence) for found in story.found} == {(rule, True)}
        assert {found.advice for found in story.found} == {f"advice.address_only.{advice}"}


def test_a_name_at_a_port_of_dns_is_no_finding() -> None:
    assert Story().connect("dns.example", 853) == []


@pytest.mark.parametrize(
    ("protocol", "command", "host"),
    [
        (Protocol.SOCKS5, Command.CONNECT, "www.example.com"),
        (Protocol.SOCKS5, Command.CONNECT, "example.onion"),
        (Protocol.SOCKS4A, Command.CONNECT, "intranet"),
        (Protocol.HTTP, Command.CONNECT, "www.example.com"),
        (Protocol.SOCKS5, Command.RESOLVE, "www.example.com"),
        (Protocol.SOCKS5, Command.RESOLVE_PTR, V4),
        (Protocol.SOCKS5, Command.RESOLVE_PTR, IPv4Address("192.168.1.1")),
    ],
)
@pytest.mark.parametrize("mode", Mode)
def test_a_safe_request_is_no_finding(protocol: Protocol, command: Command, host: Host, mode: Mode) -> None:
    assert Correlator().feed(decided(Request(protocol, command, host, 443), Policy(mode=mode))) == ()


@pytest.mark.parametrize("host", [V4, str(V4)])
@pytest.mark.parametrize("mode", Mode)
def test_tors_own_answer_is_no_finding(host: Host, mode: Mode) -> None:
    knowledge = Knowledge(Standing.RESOLVED_BY_TOR, ("www.example.com",))
    request = Request(Protocol.SOCKS5, Command.CONNECT, host, 443)
    assert Correlator().feed(decided(request, Policy(mode=mode), knowledge)) == ()


@pytest.mark.parametrize("host", [IPv4Address("127.0.0.1"), "127.1", "localhost"])
def test_an_allowed_local_destination_is_no_finding(host: Host) -> None:
    policy = Policy(mode=Mode.BLOCK, allow_local=("127.0.0.1", "localhost:443"))
    assert Correlator().feed(decided(Request(Protocol.SOCKS5, Command.CONNECT, host, 443), policy)) == ()


@pytest.mark.parametrize(
    ("mode", "command", "action"),
    [
        (Mode.WARN, Command.CONNECT, "repair"),
        (Mode.REPAIR, Command.CONNECT, "repair"),
        (Mode.BLOCK, Command.CONNECT, "block"),
        (Mode.WARN, Command.RESOLVE_PTR, "block"),
    ],
)
def test_an_issued_address_proves_its_name(mode: Mode, command: Command, action: str) -> None:
    knowledge = Knowledge(Standing.ISSUED, ("secret.example.org",))
    found = only(decided(Request(Protocol.SOCKS4, command, POOL, 80), Policy(mode=mode), knowledge))
    assert (found.kind, found.confidence, found.rule) == ("local_resolution", "confirmed", "L05")
    assert (found.name, found.evidence, found.prevented) == ("secret.example.org", ("issued_address",), True)
    assert (found.action, found.advice) == (action, "advice.address_only.socks4")


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("command", [Command.CONNECT, Command.RESOLVE, Command.RESOLVE_PTR])
def test_a_stale_address_is_never_more_than_possible(mode: Mode, command: Command) -> None:
    found = only(decided(Request(Protocol.SOCKS5, command, POOL, 80), Policy(mode=mode), Knowledge(Standing.STALE)))
    assert (found.kind, found.confidence, found.rule) == ("address_only", "possible", "L06")
    assert (found.action, found.evidence, found.advice) == ("block", ("stale_issued_address",), "advice.stale")
    assert (found.name, found.prevented) == (None, None)


@pytest.mark.parametrize(
    ("foreign", "protocol", "evidence", "advice"),
    [
        ("http", "http", "http_request_line", "advice.not_socks.http"),
        ("tls", "tcp", "tls_client_hello", "advice.not_socks.tls"),
        ("ssh", "tcp", "unknown_first_byte", "advice.not_socks.other"),
        ("unknown", "tcp", "unknown_first_byte", "advice.not_socks.other"),
        (None, "tcp", "unknown_first_byte", "advice.not_socks.other"),
    ],
)
def test_another_protocol_on_the_socks_port(foreign: str | None, protocol: str, evidence: str, advice: str) -> None:
    found = only(broken("not_socks", foreign))
    assert (found.kind, found.confidence, found.rule) == ("not_socks", "confirmed", "L24")
    assert (found.protocol, found.evidence, found.advice) == (protocol, (evidence,), advice)
    assert (found.destination, found.port, found.action, found.conn) == ("", None, "block", "c1")


@pytest.mark.parametrize(
    "event",
    [
        broken("malformed_name", None),
        broken("timeout", None),
        broken("not_http", "tls"),  # the HTTP port: nothing was said to be SOCKS
        ConnectionClosed(1.0, "c1", 0, 0, 0.0, "client_closed"),
        UpstreamAnswered(1.0, "c1", PEER, Request(Protocol.SOCKS5, Command.RESOLVE, V4, 0), Answer(0, V4, 0)),
    ],
)
def test_other_events_are_no_finding_and_take_no_number(event: Event) -> None:
    correlator = Correlator()
    assert correlator.feed(event) == ()
    assert correlator.feed(STORY[2])[0].finding == "f1"


def test_every_exposure_but_a_safe_one_is_found_for_every_protocol() -> None:
    """No class of request is silently forgotten, and its advice is one of those a catalogue must hold."""
    hosts: dict[Exposure, tuple[Host, Knowledge]] = {
        Exposure.ADDRESS: (V4, Knowledge()),
        Exposure.ADDRESS_AS_TEXT: (str(V4), Knowledge()),
        Exposure.ISSUED: (POOL, Knowledge(Standing.ISSUED, ("a.example",))),
        Exposure.LOCAL: ("localhost", Knowledge()),
    }
    assert set(Exposure) - set(hosts) == {Exposure.NAME, Exposure.RESOLVED_BY_TOR, Exposure.NOT_APPLICABLE}
    for protocol in Protocol:
        for exposure, (host, knowledge) in hosts.items():
            event = decided(Request(protocol, Command.CONNECT, host, 80), knowledge=knowledge)
            assert event.verdict.exposure is exposure
            assert only(event).advice in ADVICE_IDS


def test_advice_ids() -> None:
    assert all(message_id.startswith("advice.") for message_id in ADVICE_IDS)
    assert {"advice.stale", "advice.address_only.socks5", "advice.dns_query", "advice.dns_beside_proxy"} <= ADVICE_IDS
    said = {message_id for message_id in catalogue("en").ids() if message_id.startswith("advice.")}
    assert {message_id for message_id in said if not message_id.startswith("advice.for.")} == ADVICE_IDS
    assert advice_for(LeakKind.LOCAL_RESOLUTION, "http") == "advice.local_resolution.http"
    assert advice_for(LeakKind.LOCAL_RESOLUTION, "socks4a") == "advice.address_only.socks4"
    with pytest.raises(KeyError):
        advice_for(LeakKind.DIRECT_TRAFFIC, "tcp")
