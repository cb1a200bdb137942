"""shim.judge.correlate: findings that take more than one event, against the contract, and its properties as a fold."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stories import HERE, LISTENER, THERE, V4, Story

from shim.events import DnsQueried, Event, LeakFound, RequestDecided
from shim.judge.correlate import ENTRIES, Correlator
from shim.judge.recent import Recent
from shim.model import Command, Confidence, DnsAnswer, DnsMode, Exposure, Mode, Peer, Process, Protocol

CURL = Process(4242, "curl", "/usr/bin/curl")
NAME = "secret.example.org"

# The contract's example lines of these flows, but for what attribution and the catalogue add.
CONTRACT = """
{"revision": 1, "kind": "dns_query", "confidence": "possible", "query": "q1", "protocol": "dns", "destination": "", "name": "secret.example.org", "action": "repair", "evidence": ["dns_query_seen"], "rule": "L05"}
{"revision": 1, "kind": "local_resolution", "confidence": "confirmed", "conn": "c1", "protocol": "socks4", "destination": "198.18.7.9:80", "name": "secret.example.org", "action": "repair", "evidence": ["issued_address", "dns_answer_q1"], "prevented": true, "rule": "L05"}
{"revision": 1, "kind": "onion_in_dns", "confidence": "confirmed", "query": "q2", "protocol": "dns", "destination": "", "name": "example.onion", "action": "block", "evidence": ["onion_suffix"], "rule": "L08"}
"""  # noqa: E501


def line(found: LeakFound) -> dict[str, object]:
    """The keys of a log line, as they are in the finding."""
    keys = ("revision", "kind", "confidence", "conn", "query", "protocol", "destination", "name", "action", "rule")
    told = {key: getattr(found, key) for key in (*keys, "prevented")}
    told = {key: value for key, value in told.items() if value is not None}
    return told | {"evidence": list(found.evidence)}


def test_the_contracts_flows_give_the_contracts_findings() -> None:
    story = Story(dns=DnsMode.ISSUE)
    story.ask(NAME, process=CURL)
    (asked,) = story.events
    assert isinstance(asked, DnsQueried)
    assert asked.addresses == (IPv4Address("198.18.7.9"),)
    story.connect(asked.addresses[0], 80, protocol=Protocol.SOCKS4)
    story.ask("example.onion")
    assert [line(found) for found in story.found] == [json.loads(text) for text in CONTRACT.strip().splitlines()]
    assert [found.finding for found in story.found] == ["f1", "f2", "f3"]


# Issued addresses.


@pytest.mark.parametrize("form", [lambda a: a, str, lambda a: IPv6Address(f"::ffff:{a}")])
@pytest.mark.parametrize(
    ("mode", "command", "action"),
    [
        (Mode.WARN, Command.CONNECT, "repair"),
        (Mode.REPAIR, Command.CONNECT, "repair"),
        (Mode.BLOCK, Command.CONNECT, "block"),
        (Mode.WARN, Command.RESOLVE, "repair"),
        (Mode.WARN, Command.RESOLVE_PTR, "block"),
    ],
)
def test_an_issued_address_leads_back_to_its_query(
    mode: Mode, command: Command, action: str, form: Callable[[object], str]
) -> None:
    story = Story(mode, DnsMode.ISSUE)
    story.ask("other.example")
    address = story.look_up(NAME)
    (found,) = story.connect(form(address), command=command)
    assert (found.kind, found.confidence, found.name, found.action) == ("local_resolution", "confirmed", NAME, action)
    assert found.evidence == ("issued_address", "dns_answer_q2")
    assert found.prevented is True


def test_the_latest_answer_is_told_and_one_of_an_hour_ago_too() -> None:
    story = Story(dns=DnsMode.ISSUE)
    address = story.look_up(NAME)
    story.look_up(NAME)
    assert story.connect(address)[0].evidence[-1] == "dns_answer_q3"
    story.wait(3500.0)
    assert story.connect(address)[0].evidence[-1] == "dns_answer_q3"


def test_without_its_query_it_proves_as_much() -> None:
    story = Story(dns=DnsMode.ISSUE)
    address = story.look_up(NAME)
    story.correlator = Correlator()
    (found,) = story.connect(address)
    assert (found.kind, found.confidence, found.evidence) == ("local_resolution", "confirmed", ("issued_address",))


def test_a_stale_address_tells_whose_it_was() -> None:
    story = Story(dns=DnsMode.ISSUE)
    address = story.look_up(NAME)
    story.wait(3700.0)
    (found,) = story.connect(address)
    assert (found.kind, found.confidence, found.rule, found.action) == ("address_only", "possible", "L06", "block")
    assert (found.name, found.evidence) == (NAME, ("stale_issued_address",))


@pytest.mark.parametrize("command", [Command.BIND, Command.UDP_ASSOCIATE])
def test_other_commands_show_what_they_show(command: Command) -> None:
    story = Story(dns=DnsMode.ISSUE)
    address = story.look_up(NAME)
    assert story.connect(address, command=command)[0].rule in ("L16", "L17")


# Tor's own answers.


def test_torsocks_is_clean() -> None:
    story = Story()
    story.resolve("www.example.com", str(V4))
    story.connect(str(V4))
    story.connect(str(V4), 80)
    assert story.found == []


def test_an_answer_of_the_sensor_over_tor_makes_its_address_clean() -> None:
    story = Story(dns=DnsMode.TOR)
    story.ask("www.example.com")
    story.connect(V4)
    assert story.kinds() == [("dns_query", "possible", "L05")]
    story.connect(V4, peer=THERE)
    assert story.kinds()[1:] == [("address_only", "possible", "L03")]
    assert (story.found[-1].name, story.found[-1].evidence[-1]) == ("www.example.com", "remembered_answer")


def test_tors_answer_to_a_repaired_resolve_is_clean_too() -> None:
    story = Story(dns=DnsMode.ISSUE)
    address = story.look_up(NAME)
    story.resolve(str(address), str(V4))
    assert story.connect(str(V4)) == []


# Reverse look-ups (L26).

POINTER = V4.reverse_pointer
REVERSE = ("dns_query_seen", "reverse_lookup")


@pytest.mark.parametrize("form", [V4, str(V4), IPv6Address(f"::ffff:{V4}")])
def test_a_destinations_name_is_asked_for(form: IPv4Address | IPv6Address | str) -> None:
    story = Story()
    story.connect(form)
    (found,) = story.ask(POINTER, "PTR")
    assert (found.rule, found.confidence, found.evidence) == ("L26", "confirmed", (*REVERSE, "proxied_address"))


def test_or_was_asked_for_before() -> None:
    story = Story()
    story.ask(POINTER, "PTR")
    story.connect(V4)
    story.connect(V4)
    found = [each for each in story.found if each.rule == "L26"]
    assert [(each.finding, each.revision, each.confidence) for each in found] == [
        ("f1", 1, "probable"),
        ("f1", 2, "confirmed"),
    ]
    assert found[-1].evidence == (*REVERSE, "proxied_address")


def test_a_destination_that_tor_resolved_counts() -> None:
    story = Story()
    story.resolve("www.example.com", str(V4))
    story.ask(POINTER, "PTR")
    story.connect(str(V4))
    assert story.kinds() == [("dns_query", "probable", "L26"), ("dns_query", "confirmed", "L26")]


@pytest.mark.parametrize(
    "before",
    [
        lambda story: story.connect("www.example.com"),
        lambda story: story.connect(V4, peer=THERE),
        lambda story: story.connect(V4, command=Command.RESOLVE),
        lambda story: (story.connect(V4), story.wait(700.0)),
    ],
)
def test_of_any_other_address_it_is_probable(before: Callable[[Story], object]) -> None:
    story = Story()
    before(story)
    assert story.ask(POINTER, "PTR")[0].confidence is Confidence.PROBABLE


def test_over_tor_it_is_possible_whatever_follows() -> None:
    story = Story(dns=DnsMode.TOR)
    story.ask(POINTER, "PTR")
    story.connect(V4)
    story.ask(POINTER, "PTR")
    assert {found.confidence for found in story.found if found.rule == "L26"} == {"possible"}


# Nothing but addresses.


def test_a_client_that_gives_nothing_but_addresses_probably_resolves() -> None:
    story = Story()
    for last in range(8):
        story.connect(V4 + last)
    assert [found.confidence for found in story.found] == ["possible"] * 4 + ["probable"] * 4
    assert story.found[-1].evidence == ("address_request", "only_addresses")
    assert {found.rule for found in story.found} == {"L03"}


@pytest.mark.parametrize(
    "step",
    [
        lambda story, last: story.connect("www.example.com"),
        lambda story, last: story.resolve("www.example.com", "198.51.100.1"),
        lambda story, last: story.connect(V4 + last, 6881),
    ],
)
def test_mixed_behaviour_does_not_raise(step: Callable[[Story, int], object]) -> None:
    story = Story()
    for last in range(20):
        if last % 4 == 0:
            step(story, last)
        story.connect(V4 + last)
    assert {found.confidence for found in story.found} == {"possible"}


@pytest.mark.parametrize(
    "give",
    [
        lambda story, last: story.connect(str(V4 + last)),  # typed
        lambda story, last: story.connect(V4 + last, command=Command.RESOLVE),
        lambda story, last: story.connect(V4 + last, 8333),  # peers of a swarm
        lambda story, last: story.connect(V4 + last, 853),
        lambda story, last: story.connect(V4 + last % 4),
        lambda story, last: story.connect(V4 + last, peer=Peer(f"192.0.2.{last}", 1)),
        lambda story, last: (story.connect(V4 + last), story.wait(200.0)),
    ],
)
def test_what_is_no_habit_of_giving_addresses(give: Callable[[Story, int], object]) -> None:
    story = Story()
    for last in range(20):
        give(story, last)
    assert {found.confidence for found in story.found} == {"possible"}


def test_resolvers_among_them_neither_count_nor_excuse() -> None:
    story = Story()
    for last in range(4):
        story.connect(IPv4Address("1.1.1.1"), 443)
        story.connect(IPv4Address("1.1.1.1"), 853)
        story.connect(V4 + last)
    assert {found.confidence for found in story.found} == {"possible"}
    assert story.connect(V4 + 9)[0].confidence is Confidence.PROBABLE


# The fold as such.


def threads() -> list[list[Event]]:
    """Stories of five machines that have nothing to do with each other, each from its own shim."""
    told = []
    for number in range(5):
        peer = HERE if number == 0 else Peer(f"192.0.2.{number}", 1)
        name, address = f"n{number}.example", V4 + 10 * number
        story = Story(dns=DnsMode.ISSUE if number % 2 else DnsMode.REFUSE, start=1000 * number)
        story.connect(name, peer=peer)
        story.ask(name, peer=peer)
        story.ask(name + ".corp.lan", peer=peer)
        story.connect(name, peer=peer)
        for label in ("qwhjdkzlmn", "xkcdpvbtrs"):
            story.ask(label[number:] + label[:number], peer=peer)
        story.ask(address.reverse_pointer, "PTR", peer=peer)
        for last in range(6):
            story.connect(address + last, peer=Peer(peer.host, 7))
        if number % 2:
            story.connect(story.look_up(f"m{number}.example", peer), peer=peer)
        prefix = "abcde"[number]
        told.append([_renamed(event, prefix) for event in story.events])
    return told


def _renamed(event: Event, prefix: str) -> Event:
    match event:
        case RequestDecided():
            return replace(event, conn=prefix + event.conn)
        case DnsQueried():
            return replace(event, query=prefix + event.query)
        case _:
            return event


def findings(events: list[Event]) -> dict[str, list[LeakFound]]:
    """What is found, by machine; the numbers, which all share, left out."""
    correlator = Correlator()
    result: dict[str, list[LeakFound]] = {prefix: [] for prefix in "abcde"}
    for event in events:
        for found in correlator.feed(event):
            result[(found.query or found.conn or "?")[0]].append(replace(found, finding=""))
    return result


@given(st.integers(0, 2**32))
def test_events_of_others_change_nothing(seed: int) -> None:
    told = threads()
    alone = {prefix: findings(events)[prefix] for prefix, events in zip("abcde", told, strict=True)}
    random, mixed = Random(seed), []
    left = [list(events) for events in told]
    while any(left):
        mixed.append(random.choice([events for events in left if events]).pop(0))
    assert findings(mixed) == alone


def test_every_story_has_found_something() -> None:
    rules = {found.rule for events in threads() for found in _all(events)}
    assert {"L03", "L05", "L07", "L10", "L12", "L26"} <= rules


def _all(events: list[Event]) -> list[LeakFound]:
    correlator = Correlator()
    return [found for event in events for found in correlator.feed(event)]


def test_the_same_events_give_the_same_findings_again() -> None:
    events = [event for thread in threads() for event in thread]
    assert _all(events) == _all(events)
    assert len(_all(events)) > 50


def test_revisions_rise_by_one_and_confidence_never_falls() -> None:
    seen: dict[str, LeakFound] = {}
    order = list(Confidence)
    for found in _all([event for thread in threads() for event in thread]):
        last = seen.get(found.finding)
        if last is None:
            assert found.revision == 1
        else:
            assert found.revision == last.revision + 1
            assert order.index(found.confidence) >= order.index(last.confidence)
            assert (found.kind, found.conn, found.query, found.name) == (last.kind, last.conn, last.query, last.name)
            assert found.evidence[: len(last.evidence)] == last.evidence
        seen[found.finding] = found
    assert any(found.revision > 1 for found in seen.values())


FLOOD = 1_000_000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 50_000


@pytest.mark.parametrize("answer", [DnsAnswer.REFUSE, DnsAnswer.ISSUE, DnsAnswer.TOR])
def test_a_flood_of_names_stays_within_bounds(answer: DnsAnswer) -> None:
    correlator = Correlator()
    for number in range(FLOOD // 5):
        at, address = 1000.0 + number / 1e4, IPv4Address(2**26 + number)
        for name in (f"n{number}.example", f"n{number}.example.lan", address.reverse_pointer, f"{number}.onion"):
            query = DnsQueried(at, f"q{number}", HERE, LISTENER, "udp", name, "A", "NOERROR", answer, (address,))
            assert correlator.feed(query)
        letters = "".join(chr(ord("a") + int(digit)) for digit in f"{number:07d}")
        assert correlator.feed(DnsQueried(at, "q", Peer(letters, 1), LISTENER, "udp", letters, "A", "", answer))
    assert max(_sizes(correlator)) <= ENTRIES


@pytest.mark.parametrize("exposure", [Exposure.NAME, Exposure.ADDRESS])
def test_a_flood_of_requests_stays_within_bounds(exposure: Exposure) -> None:
    story = Story()
    story.correlator = correlator = Correlator()
    for number in range(FLOOD // 2):
        story.at = 1000.0
        host = f"n{number}.example" if exposure is Exposure.NAME else IPv4Address(2**26 + number)
        story.connect(host, peer=Peer(f"10.{number % 250}.{number // 250 % 250}.1", 1))
        story.events.clear()
        story.found.clear()
    assert max(_sizes(correlator)) <= ENTRIES


def _sizes(holder: object, depth: int = 3) -> list[int]:
    """The sizes of all memories below it."""
    sizes = []
    for slot in getattr(type(holder), "__slots__", ()):
        value = getattr(holder, slot, None)
        if isinstance(value, Recent | dict):
            sizes.append(len(value))
        if depth and not isinstance(value, Recent | dict | str):
            sizes += _sizes(value, depth - 1)
    return sizes


def test_the_sizes_are_those_of_all_memories() -> None:
    assert len(_sizes(Correlator())) >= 11
