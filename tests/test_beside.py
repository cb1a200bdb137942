"""shim.judge.beside: the same name by SOCKS and by DNS, told from what only looks like it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest
from stories import HERE, THERE, Story

from shim.events import LeakFound, ProcessIdentified
from shim.judge.beside import ENTRIES, machine_of
from shim.model import Ancestor, Command, Credentials, DnsMode, Host, Mode, Peer, Process, Protocol, Request

NAME = "www.example.com"
UNIX = Peer("unix", 0, uid=1000)
BESIDE = ("name_by_socks", "dns_query_seen")


def beside(story: Story) -> list[LeakFound]:
    return story.of_kind("dns_beside_proxy")


def levels(story: Story) -> list[tuple[str, int, str]]:
    """Finding, revision and confidence of each."""
    return [(found.finding, found.revision, found.confidence) for found in beside(story)]


@pytest.mark.parametrize("first", ["socks", "dns"])
@pytest.mark.parametrize("qtype", ["A", "AAAA", "HTTPS"])
def test_the_same_name_both_ways_is_confirmed_in_either_order(first: str, qtype: str) -> None:
    story = Story()
    steps = [lambda: story.connect(NAME), lambda: story.ask(NAME, qtype)]
    for step in steps if first == "socks" else reversed(steps):
        step()
    (found,) = beside(story)
    assert (found.confidence, found.rule, found.evidence) == ("confirmed", "L07", BESIDE)
    assert (found.conn, found.query, found.name, found.destination) == ("c1", "q1", NAME, f"{NAME}:443")
    assert (found.protocol, found.port, found.action) == ("socks5", 443, "block")
    assert (found.advice, found.revision, found.prevented) == ("advice.dns_beside_proxy", 1, None)
    assert len(story.found) == 2, "the query is a finding of its own"


@pytest.mark.parametrize("spelling", ["WWW.Example.COM", "www.example.com."])
def test_spellings_of_one_name_are_one_name(spelling: str) -> None:
    story = Story()
    story.connect(spelling)
    story.ask(NAME)
    (found,) = beside(story)
    assert found.destination == f"{spelling}:443", "as the client sent it"


def test_an_https_record_of_another_port_is_about_its_host() -> None:
    story = Story()
    story.connect(NAME, 8443)
    story.ask("_8443._https.www.example.com", "HTTPS")
    assert beside(story)[0].name == NAME


@pytest.mark.parametrize("protocol", [Protocol.SOCKS4A, Protocol.SOCKS5, Protocol.HTTP])
@pytest.mark.parametrize("command", [Command.CONNECT, Command.RESOLVE])
def test_every_way_to_give_a_name_counts(protocol: Protocol, command: Command) -> None:
    story = Story()
    story.connect(NAME, protocol=protocol, command=command)
    story.ask(NAME)
    assert [found.protocol for found in beside(story)] == [protocol]


def test_several_queries_of_one_look_up_are_one_finding() -> None:
    story = Story()
    for qtype in ("A", "AAAA", "HTTPS"):
        story.ask(NAME, qtype)
    story.connect(NAME)
    story.connect(NAME)
    story.connect(NAME)
    assert levels(story) == [("f4", 1, "confirmed")]


def test_after_the_finding_more_queries_alone_say_nothing_new() -> None:
    story = Story()
    story.connect(NAME)
    for qtype in ("A", "AAAA", "HTTPS") * 3:
        story.ask(NAME, qtype)
    assert levels(story) == [("f2", 1, "confirmed")]


def test_repeated_it_is_a_revision() -> None:
    story = Story()
    for _ in range(3):
        story.ask(NAME)
        story.connect(NAME)
    assert levels(story) == [("f2", 1, "confirmed"), ("f2", 2, "confirmed"), ("f2", 3, "confirmed")]
    assert [found.evidence for found in beside(story)] == [BESIDE, (*BESIDE, "repeated"), (*BESIDE, "repeated")]
    assert {(found.conn, found.query) for found in beside(story)} == {("c1", "q1")}, "a revision keeps its subject"


def test_a_query_that_comes_late_is_no_repetition() -> None:
    story = Story()
    story.ask(NAME)
    story.connect(NAME)
    story.ask(NAME, "HTTPS")
    assert levels(story) == [("f2", 1, "confirmed")]


def test_it_stays_one_finding_as_long_as_it_is_repeated() -> None:
    story = Story()
    for _ in range(4):
        story.ask(NAME)
        story.connect(NAME)
        story.wait(400.0)
    assert [finding for finding, _, _ in levels(story)] == ["f2"] * 4


def test_after_ten_minutes_it_is_a_new_finding() -> None:
    story = Story()
    for _ in range(2):
        story.ask(NAME)
        story.connect(NAME)
        story.wait(700.0)
    assert levels(story) == [("f2", 1, "confirmed"), ("f4", 1, "confirmed")]


@pytest.mark.parametrize("first", ["socks", "dns"])
def test_what_is_ten_minutes_apart_is_not_joined(first: str) -> None:
    story = Story()
    story.connect(NAME) if first == "socks" else story.ask(NAME)
    story.wait(600.0)
    story.ask(NAME) if first == "socks" else story.connect(NAME)
    assert beside(story) == []


def test_each_name_has_its_own_finding() -> None:
    story = Story()
    for name in ("a.example", "b.example"):
        story.connect(name)
        story.ask(name)
    assert [found.name for found in beside(story)] == ["a.example", "b.example"]


@pytest.mark.parametrize(
    ("asker", "joined"),
    [
        (Peer("127.0.0.1", 5), True),
        (Peer("127.0.0.53", 5), True),
        (Peer("::1", 5), True),
        (Peer("::ffff:127.0.0.1", 5), True),
        (THERE, False),
    ],
)
@pytest.mark.parametrize("client", [HERE, UNIX])
def test_a_machine_is_one_however_it_is_reached(client: Peer, asker: Peer, joined: bool) -> None:
    story = Story()
    story.connect(NAME, peer=client)
    story.ask(NAME, peer=asker)
    assert bool(beside(story)) is joined


def test_machines() -> None:
    assert machine_of(HERE) == machine_of(UNIX) == machine_of(Peer("::1", 0))
    assert machine_of(THERE) == "192.0.2.77"
    assert machine_of(Peer("::10", 0)) == "::10"


def test_another_machine_has_its_own_names() -> None:
    story = Story()
    story.connect(NAME, peer=THERE)
    story.ask(NAME, peer=THERE)
    assert len(beside(story)) == 1


def test_the_way_to_an_issued_address_is_no_look_up_beside_the_proxy() -> None:
    story = Story(dns=DnsMode.ISSUE)
    story.connect(story.look_up(NAME))
    story.connect(NAME)
    assert [found.kind for found in story.found] == ["dns_query", "dns_query", "local_resolution"]


def test_nor_when_a_safe_program_gave_the_name_before() -> None:
    """What another program did safely is at most a hint that the two belong together."""
    story = Story(dns=DnsMode.ISSUE)
    story.connect(NAME)
    for _ in range(3):
        story.connect(story.look_up(NAME))
    assert levels(story) == [("f2", 1, "possible")]
    assert beside(story)[0].evidence == (*BESIDE, "address_issued")
    assert len(story.of_kind("local_resolution")) == 3


@pytest.mark.parametrize("query", [Story.look_up, Story.ask])
def test_an_issued_address_that_is_left_unused_was_none(query: Callable[[Story, str], object]) -> None:
    story = Story(dns=DnsMode.ISSUE)
    story.connect(NAME)
    query(story, NAME)
    story.connect(NAME)
    assert levels(story) == [("f2", 1, "possible"), ("f2", 2, "confirmed")]
    assert (beside(story)[-1].action, beside(story)[-1].rule) == ("repair", "L07")


def test_a_prefetch_is_confirmed_though_its_answer_was_issued() -> None:
    story = Story(dns=DnsMode.ISSUE)
    story.look_up(NAME)
    story.ask(NAME, "HTTPS")
    story.connect(NAME)
    assert levels(story) == [("f4", 1, "confirmed")]
    assert beside(story)[0].action == "repair"


@pytest.mark.parametrize("first", ["socks", "dns"])
def test_what_was_resolved_over_tor_is_no_more_than_possible(first: str) -> None:
    story = Story(dns=DnsMode.TOR)
    for _ in range(3):
        story.connect(NAME) if first == "socks" else story.ask(NAME)
        story.ask(NAME) if first == "socks" else story.connect(NAME)
    assert {found.confidence for found in beside(story)} == {"possible"}
    assert beside(story)[0].evidence == (*BESIDE, "resolved_over_tor")
    assert beside(story)[0].action == "forward"


@pytest.mark.parametrize("name", ["example.onion", "localhost", "printer.local", "34.216.184.93.in-addr.arpa"])
def test_names_that_have_a_finding_of_their_own_or_go_nowhere(name: str) -> None:
    story = Story()
    story.connect(name)
    story.ask(name)
    assert beside(story) == []


@pytest.mark.parametrize("host", ["93.184.216.34", "2001:db8::1"])
def test_an_address_is_no_name(host: Host) -> None:
    story = Story()
    story.connect(host)
    story.ask("93.184.216.34")
    assert beside(story) == []


def test_the_process_is_the_querys() -> None:
    firefox = Process(77, "firefox", None)
    story = Story()
    story.ask(NAME, process=firefox)
    story.connect(NAME)
    assert (beside(story)[0].process, beside(story)[0].process_reason) == (firefox, None)


def test_no_credentials_are_kept() -> None:
    story = Story()
    secret = Credentials(b"s3ntinel", b"s3ntinel")
    story.connect(NAME, credentials=secret)
    story.events.clear()
    assert not any(isinstance(each, Request) for each in gc.get_referrers(secret))
    story.ask(NAME)
    assert beside(story)[0].destination == f"{NAME}:443"


# Search suffixes (L10).


def suffixed(story: Story) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(found.revision, found.confidence, found.evidence[1:]) for found in story.found if found.rule == "L10"]


def test_a_name_with_a_suffix_behind_it_is_probable() -> None:
    story = Story()
    story.ask(NAME)
    story.ask(NAME + ".corp.lan")
    story.ask(NAME + ".lan")
    assert suffixed(story) == [(1, "probable", ("search_suffix",))] * 2
    assert story.found[-1].advice == "advice.dns_query.suffix"
    assert story.found[-1].name == NAME + ".lan"


def test_it_is_confirmed_when_the_name_went_by_socks() -> None:
    story = Story()
    story.connect(NAME)
    story.ask(NAME + ".corp.lan")
    assert suffixed(story) == [(1, "confirmed", ("search_suffix", "name_by_socks"))]
    assert beside(story) == [], "the name itself was not asked for"


def test_or_goes_by_socks_later() -> None:
    story = Story()
    story.ask(NAME)
    story.ask(NAME + ".corp.lan")
    story.connect(NAME)
    story.connect(NAME)
    assert suffixed(story) == [
        (1, "probable", ("search_suffix",)),
        (2, "confirmed", ("search_suffix", "name_by_socks")),
    ]
    assert levels(story) == [("f3", 1, "confirmed")]


def test_over_tor_it_is_possible_and_stays_so() -> None:
    story = Story(dns=DnsMode.TOR)
    story.ask(NAME)
    story.ask(NAME + ".corp.lan")
    story.connect(NAME)
    assert suffixed(story) == [(1, "possible", ("search_suffix",))]


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("intranet", "intranet.corp.lan"),  # what suffixes are for
        ("example.com", "www.example.com"),
        ("ww.example.com", "www.example.com.lan"),
        ("www.example.com.lan", "www.example.com"),
    ],
)
def test_other_names_are_no_names_with_a_suffix(base: str, name: str) -> None:
    story = Story()
    story.connect(base)
    story.ask(base)
    story.ask(name)
    assert suffixed(story) == []


def test_a_query_of_long_ago_or_of_another_machine_is_no_base() -> None:
    story = Story()
    story.ask(NAME)
    story.ask(NAME + ".lan", peer=THERE)
    story.wait(31.0)
    story.ask(NAME + ".lan")
    assert suffixed(story) == []


# Bounds and order.


def test_a_flood_of_queries_leaves_the_names_of_socks_alone() -> None:
    story = Story()
    story.connect(NAME)
    for number in range(3 * ENTRIES):
        story.at = 1_795_348_801.0
        story.ask(f"n{number}.example")
    story.events.clear()
    joins = story.correlator._beside
    assert len(joins._asked) <= ENTRIES
    story.ask(NAME)
    assert len(beside(story)) == 1


def test_a_flood_of_both_stays_within_bounds() -> None:
    story = Story()
    for number in range(2 * ENTRIES + 10):
        story.at = 1_795_348_801.0
        story.ask(f"n{number}.example")
        story.ask(f"n{number}.example.lan")
        story.connect(f"n{number}.example")
    joins = story.correlator._beside
    for memory in (joins._asked, joins._named, joins._findings, joins._suffixed):
        assert len(memory) <= ENTRIES


def test_stories_of_other_names_change_nothing() -> None:
    """Whatever order three names' events come in, each name's findings are its own."""
    names = ("a.example", "b.example", "c.example")
    results = set()
    for order in set(permutations(["a", "a", "b", "b", "c", "c"])):
        story = Story()
        seen: dict[str, int] = {}
        for letter in order:
            name = names["abc".index(letter)]
            story.ask(name) if seen.setdefault(letter, 0) else story.connect(name)
            seen[letter] += 1
        results.add(frozenset((found.name, found.revision, found.confidence) for found in beside(story)))
    assert results == {frozenset((name, 1, "confirmed") for name in names)}


@pytest.mark.parametrize("mode", Mode)
def test_the_mode_does_not_matter(mode: Mode) -> None:
    story = Story(mode)
    story.connect(NAME)
    story.ask(NAME)
    assert len(beside(story)) == 1


CURL = Process(7, "curl", "/usr/bin/curl")
DIG = Process(8, "dig", "/usr/bin/dig")
GIT = Process(9, "git", "/usr/bin/git", parents=(Ancestor(5, "bash"),))
FETCH = Process(10, "git-remote-http", "/usr/lib/git-core/git-remote-http", parents=(Ancestor(9, "git"),))
BROWSER = Process(11, "browser", "/opt/browser", label="flatpak:org.example.Browser")
HELPER = Process(12, "helper", "/opt/helper", label="flatpak:org.example.Browser")
UNIT = (replace(CURL, label="unit:user@1000.service"), replace(DIG, label="unit:user@1000.service"))


@pytest.mark.parametrize(
    ("asked", "queried", "confidence", "code"),
    [
        (CURL, CURL, "confirmed", "same_program"),
        (CURL, replace(CURL, pid=99), "confirmed", "same_program"),
        (CURL, DIG, "possible", "other_program"),
        (*UNIT, "possible", "other_program"),
        (GIT, FETCH, "confirmed", "same_program"),
        (FETCH, GIT, "confirmed", "same_program"),
        (BROWSER, HELPER, "confirmed", "same_program"),
        (BROWSER, DIG, "possible", "other_program"),
        (None, DIG, "confirmed", None),
        (CURL, None, "confirmed", None),
    ],
)
@pytest.mark.parametrize("first", ["socks", "dns"])
def test_another_programs_query_is_no_proof(
    asked: Process | None, queried: Process | None, confidence: str, code: str | None, first: str
) -> None:
    """Two programs that visit one site, one with the proxy and one without: seen where both are known."""
    story = Story()
    if first == "dns":
        story.ask(NAME, process=queried)
    reason = None if asked else "gone"
    story.tell(ProcessIdentified(story.at, "c1", asked, reason))
    story.connect(NAME)
    if first == "socks":
        story.ask(NAME, process=queried)
    (found,) = beside(story)
    assert (found.confidence, found.process) == (confidence, queried)
    assert found.evidence == (*BESIDE, *([code] if code else []))


def test_a_later_query_of_the_program_itself_raises_it() -> None:
    story = Story()
    for number, queried in ((1, DIG), (2, CURL)):
        story.tell(ProcessIdentified(story.at, f"c{number}", CURL))
        story.connect(NAME)
        story.ask(NAME, process=queried)
    assert [found.confidence for found in beside(story)] == ["possible", "confirmed"]
    assert beside(story)[-1].evidence == (*BESIDE, "other_program", "repeated", "same_program")
