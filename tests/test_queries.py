"""shim.judge.queries: what one query shows by itself, for every kind of name, type and answer."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from stories import HERE, LISTENER, Story

from shim.events import DnsQueried, LeakFound
from shim.judge.advice import ADVICE_IDS
from shim.judge.names import NameKind, kind_of
from shim.judge.queries import ACTIONS, BY_KIND, of_query
from shim.model import Action, Confidence, DnsAnswer, DnsMode, LeakKind, Process

ONION = "a" * 55 + "d"

# Name, then rule, confidence, evidence behind dns_query_seen and advice behind advice.dns_query; in mode refuse.
PLAIN: list[tuple[str, str, str, tuple[str, ...], str]] = [
    ("www.example.com", "L05", "possible", (), ""),
    ("onion.example.com", "L05", "possible", (), ""),
    ("_8443._https.www.example.com", "L05", "possible", (), ""),
    ("use-application-dns.net", "L05", "possible", ("doh_canary",), ".canary"),
    ("intranet", "L11", "possible", ("single_label",), ".single_label"),
    ("nas", "L11", "possible", ("single_label",), ".single_label"),
    ("qwhjdkzlmn", "L11", "possible", ("single_label",), ".single_label"),
    ("how\\032to", "L13", "probable", ("search_text",), ".search_text"),
    ("c++", "L13", "probable", ("search_text",), ".search_text"),
    ("wpad", "L14", "probable", ("wpad",), ".wpad"),
    ("wpad.corp.lan", "L14", "probable", ("wpad",), ".wpad"),
    ("isatap.corp.lan", "L14", "probable", ("wpad",), ".wpad"),
    ("printer.local", "L15", "possible", ("local_name",), ".local"),
    ("localhost", "L15", "possible", ("local_name",), ".local"),
    ("b._dns-sd._udp.corp.lan", "L15", "possible", ("service_discovery",), ".local"),
    ("_ldap._tcp.dc._msdcs.corp.lan", "L15", "possible", ("service_discovery",), ".local"),
    ("ckaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "L15", "possible", ("netbios_name",), ".local"),
    ("34.216.184.93.in-addr.arpa", "L26", "probable", ("reverse_lookup",), ".reverse"),
    (IPv6Address("2001:db8::1").reverse_pointer, "L26", "probable", ("reverse_lookup",), ".reverse"),
    ("1.1.168.192.in-addr.arpa", "L26", "possible", ("reverse_lookup", "local_address"), ".reverse"),
    ("168.192.in-addr.arpa", "L26", "possible", ("reverse_lookup", "local_address"), ".reverse"),
]


def only(name: str, qtype: str = "A", dns: DnsMode = DnsMode.REFUSE) -> LeakFound:
    """The one finding of one query."""
    (found,) = Story(dns=dns).ask(name, qtype)
    return found


@pytest.mark.parametrize(("name", "rule", "confidence", "evidence", "advice"), PLAIN)
def test_what_a_query_shows(name: str, rule: str, confidence: str, evidence: tuple[str, ...], advice: str) -> None:
    found = only(name)
    assert (found.kind, found.rule, found.confidence) == ("dns_query", rule, confidence)
    assert found.evidence == ("dns_query_seen", *evidence)
    assert found.advice == f"advice.dns_query{advice}"
    assert (found.action, found.protocol, found.port, found.destination) == ("block", "dns", None, "")
    assert (found.query, found.conn, found.name, found.prevented) == ("q1", None, name, None)


@pytest.mark.parametrize("qtype", ["A", "AAAA", "HTTPS"])
@pytest.mark.parametrize("dns", DnsMode)
@pytest.mark.parametrize(
    ("name", "rule", "evidence"),
    [
        ("example.onion", "L08", ("onion_suffix",)),
        (f"{ONION}.onion", "L08", ("onion_suffix",)),
        ("example.onion.lan", "L09", ("onion_suffix", "search_suffix")),
        (f"www.{ONION}.onion.corp.example.com", "L09", ("onion_suffix", "search_suffix")),
    ],
)
def test_an_onion_name_in_dns_is_confirmed_in_every_mode(
    name: str, rule: str, evidence: tuple[str, ...], dns: DnsMode, qtype: str
) -> None:
    found = only(name, qtype, dns)
    assert (found.kind, found.confidence, found.rule) == ("onion_in_dns", "confirmed", rule)
    assert (found.evidence, found.action, found.advice) == (evidence, "block", "advice.onion_in_dns")


@pytest.mark.parametrize(
    ("dns", "action", "advice"),
    [
        (DnsMode.REFUSE, "block", "advice.dns_query"),
        (DnsMode.ISSUE, "repair", "advice.dns_query"),
        (DnsMode.TOR, "forward", "advice.dns_query.tor"),
    ],
)
@pytest.mark.parametrize("qtype", ["A", "AAAA", "HTTPS"])
def test_the_action_is_what_the_sensor_did(dns: DnsMode, action: str, advice: str, qtype: str) -> None:
    found = only("www.example.com", qtype, dns)
    assert (found.action, found.advice, found.confidence, found.rule) == (action, advice, "possible", "L05")


@pytest.mark.parametrize("name", ["34.216.184.93.in-addr.arpa", "how\\032to.example", "nas"])
def test_what_was_resolved_over_tor_is_never_more_than_possible(name: str) -> None:
    event = DnsQueried(1.0, "q1", HERE, LISTENER, "udp", name, "A", "NOERROR", DnsAnswer.TOR)
    assert of_query(event, BY_KIND[kind_of(name)], "f1").confidence is Confidence.POSSIBLE


def test_the_name_of_an_issued_address_is_our_own() -> None:
    event = DnsQueried(1.0, "q1", HERE, LISTENER, "udp", "9.7.18.198.in-addr.arpa", "PTR", "NOERROR", DnsAnswer.ISSUE)
    (found,) = Story().tell(event)
    assert (found.rule, found.confidence) == ("L26", "possible")
    assert found.evidence == ("dns_query_seen", "reverse_lookup", "issued_address")


@pytest.mark.parametrize("name", ["", "."])
@pytest.mark.parametrize("answer", DnsAnswer)
def test_a_query_that_names_nothing_is_no_finding(name: str, answer: DnsAnswer) -> None:
    event = DnsQueried(1.0, "q1", HERE, LISTENER, "udp", name, "NS", "", answer)
    assert Story().tell(event) == []


def test_a_query_that_was_dropped_gave_its_name_away() -> None:
    event = DnsQueried(1.0, "q1", HERE, LISTENER, "udp", "www.example.com", "A", "", DnsAnswer.DROP)
    (found,) = Story().tell(event)
    assert (found.kind, found.action) == ("dns_query", Action.BLOCK)


def test_the_process_is_the_querys() -> None:
    curl = Process(4242, "curl", "/usr/bin/curl")
    (found,) = Story().ask("www.example.com", process=curl)
    assert (found.process, found.process_reason) == (curl, None)
    assert (only("www.example.com").process, only("www.example.com").process_reason) == (None, "off")


def test_every_kind_and_every_answer_has_its_row() -> None:
    assert set(NameKind) - set(BY_KIND) == {NameKind.ROOT}
    assert set(ACTIONS) == set(DnsAnswer)
    assert {shape.advice for shape in BY_KIND.values()} <= ADVICE_IDS
    assert {shape.kind for shape in BY_KIND.values()} == {LeakKind.DNS_QUERY, LeakKind.ONION_IN_DNS}
