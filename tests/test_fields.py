"""Events as keys: every event, the contract's keys and values, nothing harmful, no credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import AT, CURL, SAMPLES, TCP, UNIX, decided, leak, tainted

from shim import events
from shim.events import Event
from shim.locale import catalogue
from shim.model import Action, Command, Confidence, Decision, DnsAnswer, Exposure, LeakKind, Process, Protocol, Verdict
from shim.record.fields import SHOWN, View, fields

REVEALED = View(reveal=True, catalogue=catalogue("en"))
SCRUBBED = View(reveal=False, catalogue=catalogue("en"))
CHROMIUM = Process(77, "chromium", "/usr/lib/chromium/chromium")


def strings(value: object) -> Iterator[str]:
    """Every string in it, at any depth."""
    match value:
        case str():
            yield value
        case dict():
            for key, item in value.items():
                yield from (key, *strings(item))
        case list() | tuple():
            for item in value:
                yield from strings(item)


def test_every_event_has_a_sample_and_a_level() -> None:
    assert {type(event) for event in SAMPLES} == set(get_args(Event)) == set(SHOWN)


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_keys_are_plain_values_for_any_encoder(event: Event) -> None:
    level, _, keys = fields(event, REVEALED)
    assert level == SHOWN[type(event)][0]
    assert json.loads(json.dumps(keys)) == keys
    assert not {"timestamp", "event", "level"} & keys.keys()


def decided_at(host: Any, exposure: Exposure, action: Action, *why: str, **request: Any) -> events.RequestDecided:
    return decided(host, Verdict(exposure, Decision(action, *why)), **request)


ADDRESS = IPv4Address("93.184.216.34")

CONTRACT: list[tuple[Event, str, str, dict[str, object]]] = [
    (
        events.Ready(AT, ("127.0.0.1:9250",), (), ("127.0.0.1:5453",), (), "unix:/run/tor/socks", "warn"),
        "info",
        "ready",
        {
            "socks": ["127.0.0.1:9250"],
            "http": [],
            "dns": ["127.0.0.1:5453"],
            "dashboard": [],
            "upstream": "unix:/run/tor/socks",
            "mode": "warn",
        },
    ),
    (
        decided_at("www.example.com", Exposure.NAME, Action.FORWARD),
        "info",
        "request_decided",
        {
            "conn": "c1",
            "protocol": "socks5",
            "command": "CONNECT",
            "exposure": "name",
            "action": "forward",
            "destination": "www.example.com:443",
        },
    ),
    (
        events.ConnectionClosed(AT, "c1", 1820, 48211, 0.21, "client_closed"),
        "info",
        "connection_closed",
        {"conn": "c1", "sent": 1820, "received": 48211, "seconds": 0.21, "reason": "client_closed"},
    ),
    (
        leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5", process=CURL, process_reason=None),
        "warning",
        "leak_found",
        {
            "finding": "f1",
            "revision": 1,
            "kind": "address_only",
            "confidence": "possible",
            "conn": "c2",
            "protocol": "socks5",
            "destination": "93.184.216.34:443",
            "name": None,
            "process": {"pid": 4242, "name": "curl", "exe": "/usr/bin/curl"},
            "action": "forward",
            "evidence": ["address_request"],
            "rule": "L03",
        },
    ),
    (
        leak(
            LeakKind.ADDRESS_ONLY,
            "advice.address_only.socks5",
            process=CURL,
            revision=2,
            confidence=Confidence.PROBABLE,
            name="www.example.com",
            evidence=("address_request", "tls_sni_is_name"),
            rule="L02",
        ),
        "warning",
        "leak_found",
        {
            "revision": 2,
            "confidence": "probable",
            "name": "www.example.com",
            "evidence": ["address_request", "tls_sni_is_name"],
            "rule": "L02",
        },
    ),
    (
        decided_at(
            ADDRESS, Exposure.ADDRESS, Action.BLOCK, "address_only", protocol=Protocol.SOCKS4, port=80, conn="c3"
        ),
        "info",
        "request_decided",
        {
            "conn": "c3",
            "protocol": "socks4",
            "exposure": "address",
            "action": "block",
            "destination": "93.184.216.34:80",
            "reason": "address_only",
        },
    ),
    (
        leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks4", process_reason="gone", action=Action.BLOCK),
        "warning",
        "leak_found",
        {"process": None, "process_reason": "gone", "action": "block"},
    ),
    (
        decided_at("93.184.216.34", Exposure.ADDRESS_AS_TEXT, Action.FORWARD, port=80),
        "info",
        "request_decided",
        {"exposure": "address_as_text", "action": "forward", "destination": "93.184.216.34:80"},
    ),
    (
        leak(
            LeakKind.ADDRESS_AS_TEXT,
            "advice.address_as_text",
            process=CHROMIUM,
            evidence=("text_address", "typed_literal_likely"),
            rule="L04",
        ),
        "warning",
        "leak_found",
        {"process": {"pid": 77, "name": "chromium", "exe": "/usr/lib/chromium/chromium"}, "rule": "L04"},
    ),
    (
        decided_at(
            IPv4Address("0.0.0.0"),
            Exposure.NOT_APPLICABLE,
            Action.BLOCK,
            "command_not_supported",
            command=Command.BIND,
            port=0,
        ),
        "info",
        "request_decided",
        {
            "command": "BIND",
            "exposure": "not_applicable",
            "destination": "0.0.0.0:0",
            "reason": "command_not_supported",
        },
    ),
    (
        leak(LeakKind.BIND_ATTEMPT, "advice.bind_attempt", confidence=Confidence.CONFIRMED, destination="0.0.0.0:0"),
        "warning",
        "leak_found",
        {
            "kind": "bind_attempt",
            "confidence": "confirmed",
            "destination": "0.0.0.0:0",
            "process": None,
            "process_reason": "off",
        },
    ),
    (
        events.HandshakeFailed(AT, "c6", TCP, "127.0.0.1:9250", "not_socks", b"", "http"),
        "info",
        "handshake_failed",
        {"conn": "c6", "error": "not_socks", "reply": ""},
    ),
    (
        leak(
            LeakKind.NOT_SOCKS,
            "advice.not_socks.http",
            protocol="http",
            destination="",
            port=None,
            evidence=("http_request_line",),
        ),
        "warning",
        "leak_found",
        {"kind": "not_socks", "protocol": "http", "destination": "", "evidence": ["http_request_line"]},
    ),
    (
        events.HandshakeFailed(
            AT, "c7", TCP, "127.0.0.1:9250", "malformed_name", bytes.fromhex("05010001000000000000")
        ),
        "info",
        "handshake_failed",
        {"conn": "c7", "error": "malformed_name", "reply": "05010001000000000000"},
    ),
    (
        events.DnsQueried(
            AT,
            "q1",
            TCP,
            "127.0.0.1:5453",
            "udp",
            "secret.example.org",
            "A",
            "NOERROR",
            DnsAnswer.ISSUE,
            process=CURL,
        ),
        "info",
        "dns_query",
        {
            "query": "q1",
            "transport": "udp",
            "qname": "secret.example.org",
            "qtype": "A",
            "rcode": "NOERROR",
            "answer": "issue",
            "process": {"pid": 4242, "name": "curl", "exe": "/usr/bin/curl"},
        },
    ),
    (
        events.UpstreamFailed(AT, "127.0.0.1:9050", "connection_refused"),
        "error",
        "upstream_failed",
        {"upstream": "127.0.0.1:9050", "error": "connection_refused"},
    ),
]


@pytest.mark.parametrize(("event", "level", "name", "expected"), CONTRACT)
def test_the_contract_key_for_key(event: Event, level: str, name: str, expected: dict[str, object]) -> None:
    found_level, found_name, keys = fields(event, REVEALED)
    assert (found_level, found_name) == (level, name)
    assert {key: keys.get(key, "missing") for key in expected} == expected


def test_a_finding_has_all_keys_of_the_contract() -> None:
    _, _, keys = fields(leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5"), SCRUBBED)
    assert {"kind", "confidence", "conn", "protocol", "destination", "name", "process", "process_reason", "action"} <= (
        keys.keys()
    )
    assert {"evidence", "advice", "rule", "message", "finding", "revision"} <= keys.keys()
    assert not {"query", "prevented"} & keys.keys()
    assert "socks5h://" in keys["advice"]


def test_what_is_known_only_sometimes_is_there_only_then() -> None:
    event = leak(
        LeakKind.ADDRESS_ONLY, "advice.stale", conn=None, query="q7", prevented=False, process=CURL, process_reason=None
    )
    _, _, keys = fields(event, SCRUBBED)
    assert (keys["query"], keys["prevented"]) == ("q7", False)
    assert not {"conn", "process_reason"} & keys.keys()


def test_names_go_and_ports_stay() -> None:
    _, _, keys = fields(leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5", name="host.example"), SCRUBBED)
    assert (keys["destination"], keys["name"]) == ("[scrubbed]:443", "[scrubbed]")
    verdict = Verdict(Exposure.ISSUED, Decision(Action.REPAIR, host="host.example"))
    _, _, keys = fields(decided(ADDRESS, verdict), SCRUBBED)
    assert (keys["destination"], keys["name"]) == ("[scrubbed]:443", "[scrubbed]")


@pytest.mark.parametrize(
    ("peer", "client"), [(TCP, "127.0.0.1:40000"), (UNIX, "uid:1000"), (TCP.__class__("::1", 5), "[::1]:5")]
)
def test_the_client_is_an_address_or_a_uid(peer: Any, client: str) -> None:
    _, _, keys = fields(events.ConnectionRefused(AT, "c1", peer, "connections"), SCRUBBED)
    assert keys["client"] == client


@pytest.mark.parametrize(("host", "form"), [("10.0.0.1", "name"), (IPv4Address("10.0.0.1"), "address")])
def test_text_and_address_stay_apart_when_revealed(host: Any, form: str) -> None:
    """They are judged differently, so a replay must be able to tell."""
    _, _, keys = fields(decided_at(host, Exposure.LOCAL, Action.BLOCK), REVEALED)
    assert (keys["destination"], keys["host_form"]) == ("10.0.0.1:443", form)


@pytest.mark.parametrize(
    ("reply", "shown"),
    [(0, "00"), (5, "05"), (0xF7, "f7")],
)
def test_the_upstreams_reply_is_hex_as_on_the_wire(reply: int, shown: str) -> None:
    (event, *_) = (event for event in SAMPLES if isinstance(event, events.UpstreamAnswered))
    answer = event.answer.__class__(reply, "0.0.0.0", 0)
    answered = events.UpstreamAnswered(AT, "c1", TCP, event.request, answer)
    assert fields(answered, REVEALED)[2]["reply"] == shown


@pytest.mark.parametrize("place", ["secret.example.org:443", "secret.example.org", "/home/secret.example.org/x.py:4"])
def test_a_place_that_is_no_loaded_module_is_scrubbed(place: str) -> None:
    assert fields(events.Fault(AT, "ValueError", place), SCRUBBED)[2]["place"] == "[scrubbed]"
    assert fields(events.Fault(AT, "ValueError", "shim.events:3"), SCRUBBED)[2]["place"] == "shim.events:3"
    assert fields(events.Fault(AT, "ValueError", "unknown"), SCRUBBED)[2]["place"] == "unknown"


@pytest.mark.parametrize("view", [REVEALED, SCRUBBED], ids=["revealed", "scrubbed"])
@given(text=st.text(st.characters(exclude_categories=()), min_size=1))
def test_nothing_that_a_terminal_obeys_comes_out(view: View, text: str) -> None:
    spare = frozenset({"advice", "conn", "finding", "mode", "query", "stream", "subject", "transport"})
    for event in SAMPLES:
        _, _, keys = fields(tainted(event, text, spare), view)
        assert all(string.isprintable() for string in strings(keys))


PIP = next(event.process for event in SAMPLES if isinstance(event, events.ProcessIdentified) and event.process != CURL)


def test_a_command_line_and_what_is_around_it_are_shown_only_when_names_are() -> None:
    identified = events.ProcessIdentified(AT, "c3", PIP)
    plain = {
        "pid": 4243,
        "name": "python3",
        "exe": "/usr/bin/python3.11",
        "script": "pip",
        "label": "app:org.gnome.Terminal",
    }
    assert fields(identified, SCRUBBED) == ("debug", "process_identified", {"subject": "c3", "process": plain})
    arguments = ["python3", "-m", "pip", "download", "https://host.example/"]
    around = {"arguments": arguments, "uid": 1000, "parents": [{"pid": 812, "name": "bash"}]}
    assert fields(identified, REVEALED)[2]["process"] == plain | around
    assert "host.example" not in repr(PIP)


def test_an_unknown_program_has_a_reason() -> None:
    identified = events.ProcessIdentified(AT, "q1", None, "shared_resolver")
    assert fields(identified, SCRUBBED)[2] == {"subject": "q1", "process": None, "process_reason": "shared_resolver"}
