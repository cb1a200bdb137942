"""shim.rule and shim.judge.rules: which rule fits, when that cannot be told, and what it changes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.errors import PolicyError
from shim.events import RequestDecided
from shim.judge.correlate import Correlator
from shim.judge.issued import IssuedPool
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.judge.rules import UNDECIDED, Facts, conditions, facts, first, fits
from shim.model import (
    PENDING,
    Action,
    Answer,
    Command,
    Decision,
    DnsMode,
    Exposure,
    Host,
    Knowledge,
    Mode,
    Peer,
    Process,
    Protocol,
    Reply,
    Request,
    Sought,
    Standing,
    Verdict,
)
from shim.policy import DnsPolicy, Policy
from shim.rule import MATCHERS, Rule

PEER = Peer("127.0.0.1", 40000)
OTHER = Peer("192.0.2.7", 40000)
HERE = "127.0.0.1:9250"
V4 = IPv4Address("93.184.216.34")
MAPPED = IPv6Address("::ffff:93.184.216.34")
CURL = Process(4242, "curl", "/usr/bin/curl")
PIP = Process(7, "python3", "/usr/bin/python3.11", label="unit:user@1000.service", script="pip")
LONG = Process(8, "systemd-resolve", "/usr/lib/systemd/systemd-resolved", label="flatpak:org.example.App")
BARE = Process(9, "sshd", None)

ASKED = Facts(("www.example.com",), (), 443, HERE, CURL, True)
GIVEN = ASKED._replace(names=(), addresses=(V4,))
NOBODY = ASKED._replace(process=None)
UNSOUGHT = NOBODY._replace(sought=False)

# A rule's one condition, what is known of the request, and whether it holds; None: that cannot be told.
CONDITIONS: list[tuple[dict[str, Any], Facts, bool | None]] = [
    ({"port": (443,)}, ASKED, True),
    ({"port": (80, 443)}, ASKED, True),
    ({"port": (80,)}, ASKED, False),
    ({"port": (80,)}, ASKED._replace(port=0), False),
    ({"port": (80,)}, ASKED._replace(port=None), None),
    ({"listener": (HERE,)}, ASKED, True),
    ({"listener": ("localhost:9250",)}, ASKED, True),
    ({"listener": ("unix:/run/shim", HERE)}, ASKED, True),
    ({"listener": ("[::1]:9250",)}, ASKED, False),
    ({"listener": (HERE,)}, ASKED._replace(listener=None), None),
    ({"name": ("WWW.Example.com.",)}, ASKED, True),
    ({"name": ("a.example", "www.example.com")}, ASKED, True),
    ({"name": ("example.com",)}, ASKED, False),
    ({"name": ("www.example.com",)}, GIVEN, False),
    ({"name": ("b.example",)}, GIVEN._replace(names=("a.example", "b.example")), True),
    ({"name": ("www.example.com",)}, ASKED._replace(names=None), None),
    ({"suffix": ("example.com",)}, ASKED, True),
    ({"suffix": (".Example.COM.",)}, ASKED, True),
    ({"suffix": ("onion", "com")}, ASKED, True),
    ({"suffix": ("www.example.com",)}, ASKED, True),
    ({"suffix": ("ample.com",)}, ASKED, False),
    ({"suffix": ("a.www.example.com",)}, ASKED, False),
    ({"suffix": ("com",)}, GIVEN, False),
    ({"suffix": ("com",)}, ASKED._replace(names=None), None),
    ({"network": ("93.184.216.34",)}, GIVEN, True),
    ({"network": ("10.0.0.0/8", "93.184.0.0/16")}, GIVEN, True),
    ({"network": ("::ffff:93.184.216.34",)}, GIVEN, True),
    ({"network": ("93.184.216.35",)}, GIVEN, False),
    ({"network": ("::/0",)}, GIVEN, False),
    ({"network": ("0.0.0.0/0",)}, ASKED, False),
    ({"network": ("2001:db8::/32",)}, GIVEN._replace(addresses=(IPv6Address("2001:db8::1"),)), True),
    ({"network": ("0.0.0.0/0",)}, GIVEN._replace(addresses=None), None),
    ({"program": ("curl",)}, ASKED, True),
    ({"program": ("wget", "curl")}, ASKED, True),
    ({"program": ("Curl",)}, ASKED, False),
    ({"program": ("pip",)}, ASKED._replace(process=PIP), True),
    ({"program": ("python3",)}, ASKED._replace(process=PIP), True),
    ({"program": ("python3.11",)}, ASKED._replace(process=PIP), True),
    ({"program": ("systemd-resolved",)}, ASKED._replace(process=LONG), True),
    ({"program": ("curl.exe",)}, ASKED._replace(process=Process(1, "x", "C:\\bin\\curl.exe")), True),
    ({"program": ("sshd",)}, ASKED._replace(process=BARE), True),
    ({"program": ("curl",)}, NOBODY, False),
    ({"program": ("curl",)}, UNSOUGHT, None),
    ({"executable": ("/usr/bin/curl",)}, ASKED, True),
    ({"executable": ("/opt/curl", "/usr/bin/curl")}, ASKED, True),
    ({"executable": ("/opt/curl",)}, ASKED, False),
    ({"executable": ("/usr/sbin/sshd",)}, ASKED._replace(process=BARE), False),
    ({"executable": ("/usr/sbin/sshd",)}, UNSOUGHT._replace(process=BARE), None),
    ({"executable": ("/usr/bin/curl",)}, NOBODY, False),
    ({"executable": ("/usr/bin/curl",)}, UNSOUGHT, None),
    ({"unit": ("user@1000.service",)}, ASKED._replace(process=PIP), True),
    ({"unit": ("unit:user@1000.service",)}, ASKED._replace(process=PIP), True),
    ({"unit": ("snap:user@1000.service",)}, ASKED._replace(process=PIP), False),
    ({"unit": ("org.example.App",)}, ASKED._replace(process=LONG), True),
    ({"unit": ("curl.service",)}, ASKED, False),
    ({"unit": ("curl.service",)}, UNSOUGHT._replace(process=CURL), None),
    ({"unit": ("curl.service",)}, NOBODY, False),
    ({"unit": ("curl.service",)}, UNSOUGHT, None),
]


@pytest.mark.parametrize(("matchers", "about", "held"), CONDITIONS)
def test_one_condition(matchers: dict[str, Any], about: Facts, held: bool | None) -> None:
    rule = Rule(**matchers, allow=True)
    assert fits(rule, about) is held
    assert conditions(rule, about) == dict.fromkeys(matchers, held)


def test_every_condition_stands_in_that_table_with_every_outcome() -> None:
    shown = {(key, held) for matchers, _, held in CONDITIONS for key in matchers}
    assert shown == {(key, held) for key in MATCHERS for held in (True, False, None)}


NO, YES, OPEN = Rule(port=(1,)), Rule(port=(443,)), Rule(listener=(HERE,))
ABOUT = Facts(("a.example",), (), 443, None, None, True)


@given(
    st.lists(
        st.sampled_from([(False, {"port": (1,)}), (True, {"name": ("a.example",)}), (None, {"listener": (HERE,)})])
    )
)
def test_all_conditions_must_hold_and_one_that_fails_is_enough(
    parts: list[tuple[bool | None, dict[str, Any]]],
) -> None:
    matchers = {key: value for _, part in parts for key, value in part.items()}
    held = {held for held, _ in parts}
    assert fits(Rule(**matchers), ABOUT) is (False if False in held else None if None in held else True)


@pytest.mark.parametrize(
    ("rules", "number"),
    [
        ((), 0),
        ((NO,), 0),
        ((NO, NO, YES, YES), 3),
        ((Rule(), YES), 1),
        ((NO, OPEN, YES), UNDECIDED),
        ((YES, OPEN), 1),
        ((NO, NO, OPEN), UNDECIDED),
    ],
)
def test_the_first_that_fits_decides_unless_one_before_it_is_open(rules: tuple[Rule, ...], number: int) -> None:
    assert first(rules, ABOUT) == number


@pytest.mark.parametrize(
    ("host", "known", "names", "addresses"),
    [
        ("WWW.Example.com.", Knowledge(), ("www.example.com",), ()),
        (V4, Knowledge(), (), (V4,)),
        (MAPPED, Knowledge(), (), (V4,)),
        ("0x5db8d822", Knowledge(), (), (V4,)),
        (V4, Knowledge(Standing.UNKNOWN, ("a.example",)), (), (V4,)),
        (V4, Knowledge(Standing.RESOLVED_BY_TOR, ("a.example", "b.example")), ("a.example", "b.example"), (V4,)),
        (V4, Knowledge(Standing.ISSUED, ("a.example",)), ("a.example",), ()),
        (V4, Knowledge(Standing.STALE, ("a.example",)), ("a.example",), ()),
        (V4, Knowledge(Standing.STALE), (), ()),
    ],
)
def test_what_a_destination_is_to_a_rule(
    host: Host, known: Knowledge, names: tuple[str, ...], addresses: tuple[object, ...]
) -> None:
    about = facts(Request(Protocol.SOCKS5, Command.CONNECT, host, 1), known, HERE, CURL, True)
    assert about == (names, addresses, 1, HERE, CURL, True)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    *(({"port": (port,)}, "config.port") for port in (0, -1, 65536)),
    *(
        ({"listener": (text,)}, "config.rule_listener_address")
        for text in ("9250", "127.0.0.1:0", "tor.example:1", "unix:", "::1:1")
    ),
    *(
        ({key: (text,)}, "config.rule_name")
        for key in ("name", "suffix")
        for text in ("", ".", "*.example.com", "a..b", "ä.example", "10.0.0.1", "0x7f.1", "127", "::1", "a b", "-a.b")
    ),
    *(
        ({"network": (text,)}, "config.rule_network")
        for text in ("", "example.com", "10.0.0.1/8", "fe80::1%eth0", "1.2")
    ),
    *(({"program": (text,)}, "config.rule_program") for text in ("", "/usr/bin/curl", "a\\b", "a\0b")),
    *(({"executable": (text,)}, "config.rule_executable") for text in ("", "curl", "./curl")),
    ({"unit": ("",)}, "config.rule_unit"),
    *(({key: ()}, "config.rule_empty") for key in MATCHERS),
]


@pytest.mark.parametrize(("matchers", "message"), MISTAKES)
def test_an_entry_that_cannot_be_meant(matchers: dict[str, Any], message: str) -> None:
    ((key, entries),) = matchers.items()
    with pytest.raises(PolicyError, match=f"^{key}$") as wrong:
        Rule(**matchers)
    assert wrong.value.mistakes == ((key, message, entries[0] if entries else []),)


# What happens under each value of `allow`: setting, host, what the judge was taught, then reasons for True and False.
FORWARD, REPAIR, BLOCK = Action.FORWARD, Action.REPAIR, Action.BLOCK
ALLOWED, REFUSED = "allowed_by_rule", "refused_by_rule"


def judged(policy: Policy, host: Host, command: Command = Command.CONNECT, port: int = 443) -> Verdict:
    """By a judge that knows a few addresses."""
    pool = IssuedPool(start=0)
    one = Judge(policy, AnswerMemory(), dns=DnsPolicy(DnsMode.ISSUE), pool=pool)
    assert one.issue("issued.example", 4, 0.0) == IPv4Address("198.18.0.1")
    one.told(PEER, "known.example", (IPv4Address("198.51.100.1"),), 0.0)
    one.told(OTHER, "guess.example", (IPv4Address("198.51.100.2"),), 0.0)
    return one.judge(Request(Protocol.SOCKS5, command, host, port), PEER, 1.0, HERE, CURL, Sought.ENDED)


ISSUED, STALE = IPv4Address("198.18.0.1"), IPv4Address("198.18.0.77")
BY_TOR, GUESSED = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")
LOCAL = IPv4Address("127.0.0.1")
CONNECT, RESOLVE, POINT = Command.CONNECT, Command.RESOLVE, Command.RESOLVE_PTR

ALLOW: list[tuple[Mode, Command, Host, tuple[Action, str | None], tuple[Action, str | None]]] = [
    *((mode, CONNECT, "a.example", (FORWARD, ALLOWED), (BLOCK, REFUSED)) for mode in Mode),
    *((mode, RESOLVE, "a.example", (FORWARD, ALLOWED), (BLOCK, REFUSED)) for mode in Mode),
    *((mode, CONNECT, BY_TOR, (FORWARD, ALLOWED), (BLOCK, REFUSED)) for mode in Mode),
    (Mode.WARN, CONNECT, V4, (FORWARD, ALLOWED), (BLOCK, REFUSED)),
    (Mode.BLOCK, CONNECT, V4, (FORWARD, ALLOWED), (BLOCK, "address_only")),
    (Mode.REPAIR, CONNECT, V4, (FORWARD, ALLOWED), (BLOCK, "address_only")),
    (Mode.BLOCK, RESOLVE, V4, (FORWARD, ALLOWED), (BLOCK, "address_only")),
    (Mode.BLOCK, CONNECT, str(V4), (FORWARD, ALLOWED), (BLOCK, REFUSED)),
    (Mode.REPAIR, CONNECT, GUESSED, (REPAIR, ALLOWED), (BLOCK, REFUSED)),
    *((mode, CONNECT, LOCAL, (FORWARD, ALLOWED), (BLOCK, "local_destination")) for mode in Mode),
    *((mode, CONNECT, "localhost", (FORWARD, ALLOWED), (BLOCK, "local_destination")) for mode in Mode),
    *((mode, RESOLVE, "printer.local", (FORWARD, ALLOWED), (BLOCK, REFUSED)) for mode in Mode),
    (Mode.WARN, CONNECT, ISSUED, (REPAIR, ALLOWED), (BLOCK, REFUSED)),
    (Mode.REPAIR, CONNECT, ISSUED, (REPAIR, ALLOWED), (BLOCK, REFUSED)),
    (Mode.BLOCK, CONNECT, ISSUED, (REPAIR, ALLOWED), (BLOCK, "issued")),
    *((mode, CONNECT, STALE, (BLOCK, "stale"), (BLOCK, "stale")) for mode in Mode),
    *((mode, POINT, V4, (FORWARD, ALLOWED), (BLOCK, REFUSED)) for mode in Mode),
    *((mode, POINT, ISSUED, (BLOCK, "issued"), (BLOCK, "issued")) for mode in Mode),
    *((mode, POINT, STALE, (BLOCK, "stale"), (BLOCK, "stale")) for mode in Mode),
]


@pytest.mark.parametrize(("mode", "command", "host", "allowed", "refused"), ALLOW)
def test_allow(
    mode: Mode, command: Command, host: Host, allowed: tuple[Action, str | None], refused: tuple[Action, str | None]
) -> None:
    for allow, (action, reason) in ((True, allowed), (False, refused)):
        verdict = judged(Policy(mode, rule=(Rule(allow=allow),)), host, command)
        assert (verdict.decision.action, verdict.decision.reason, verdict.rule) == (action, reason, 1)
        if action is REPAIR:
            assert verdict.decision.host in ("issued.example", "guess.example")
        if action is BLOCK:
            assert verdict.decision.reply is Reply.NOT_ALLOWED
        event = RequestDecided(1.0, "c1", PEER, HERE, Request(Protocol.SOCKS5, command, host, 443), verdict)
        found = Correlator().feed(event)
        assert bool(found) == verdict.finding
        assert all(("allowed_by_rule" in each.evidence) == (reason == ALLOWED) for each in found)


@pytest.mark.parametrize("command", [Command.BIND, Command.UDP_ASSOCIATE])
def test_nothing_allows_what_tor_does_not_have(command: Command) -> None:
    verdict = judged(Policy(rule=(Rule(program=("curl",), allow=True),)), V4, command)
    assert (verdict.decision.reason, verdict.rule) == ("command_not_supported", 0)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("general", Mode)
@pytest.mark.parametrize("host", ["a.example", V4, str(V4), BY_TOR, GUESSED, ISSUED, STALE, LOCAL])
def test_a_rules_mode_stands_in_place_of_the_policys(mode: Mode, general: Mode, host: Host) -> None:
    another = Rule(port=(1,), mode=next(each for each in Mode if each is not mode))  # does not fit
    usual = judged(Policy(mode), host)
    for number, rules in enumerate(((Rule(mode=mode),), (another, Rule(mode=mode), another)), 1):
        special = judged(Policy(general, rule=rules), host)
        assert (special.exposure, special.decision, special.names) == (usual.exposure, usual.decision, usual.names)
        assert (special.rule, usual.rule, special.finding) == (number, 0, usual.finding)


def test_a_request_that_no_rule_fits_is_judged_as_ever() -> None:
    policy = Policy(Mode.BLOCK, rule=(Rule(port=(1,), allow=True),))
    assert judged(policy, V4) == judged(Policy(Mode.BLOCK), V4)
    assert judged(policy, "a.example") is judged(Policy(), "b.example")


def test_a_rule_may_keep_streams_apart_in_its_own_way() -> None:
    another = Rule(port=(1,), isolate="client")  # does not fit
    verdict = judged(Policy(rule=(another, Rule(suffix=("example",), isolate="destination"), another)), "a.example")
    assert (verdict.isolate, verdict.decision, verdict.finding) == ("destination", Decision(FORWARD), False)
    one = Judge(Policy(), AnswerMemory(), b"salt")
    request = Request(Protocol.SOCKS5, CONNECT, "a.example", 443)
    assert one.credentials(request, PEER) is None
    assert one.credentials(request, PEER, "destination") == one.credentials(request, OTHER, "destination")
    assert Judge(Policy(isolate="client"), AnswerMemory(), b"salt").credentials(request, PEER, "none") is None


def test_a_plaintext_port_that_is_rejected_needs_a_rule_that_allows_it() -> None:
    for rule, reason in ((Rule(mode=Mode.WARN), "plaintext_port"), (Rule(allow=True), ALLOWED)):
        verdict = judged(Policy(reject_plaintext_ports=(23,), rule=(rule,)), "a.example", port=23)
        assert (verdict.decision.reason, verdict.plaintext, verdict.finding) == (reason, True, True)
    refused = judged(Policy(rule=(Rule(allow=False),)), "a.example", port=23)
    assert (refused.decision.reason, refused.plaintext, refused.finding) == (REFUSED, False, False)


def test_a_name_that_is_guessed_is_not_sent_if_a_rule_refuses_it() -> None:
    rules = (Rule(port=(1,), mode=Mode.BLOCK), Rule(name=("guess.example",), allow=False))
    verdict = judged(Policy(Mode.REPAIR, rule=rules), GUESSED)
    assert (verdict.decision.reason, verdict.rule) == (REFUSED, 2)
    # In every other respect the name is not the destination's: whoever planted it would choose the rule.
    allowing = Rule(name=("guess.example",), allow=True)
    verdict = judged(Policy(Mode.BLOCK, rule=(allowing,)), GUESSED)
    assert (verdict.decision.reason, verdict.rule) == ("address_only", 0)


class TestPrograms:
    """A rule that asks for the program is asked again when that is known, and only if it could fit at all."""

    POLICY = Policy(
        rule=(
            Rule(port=(443,), program=("curl",), allow=False),
            Rule(name=("free.example",), allow=True),
            Rule(unit=("tor.service",), suffix=("example",), mode=Mode.BLOCK),
        )
    )

    def judge(self, host: Host, port: int, process: Process | None = None, sought: Sought = Sought.ENDED) -> Verdict:
        one = Judge(self.POLICY, AnswerMemory())
        return one.judge(Request(Protocol.SOCKS5, CONNECT, host, port), PEER, 0.0, HERE, process, sought)

    @pytest.mark.parametrize(
        ("host", "port", "waits"),
        [
            ("a.example", 443, True),
            ("free.example", 443, True),
            ("free.example", 80, False),
            ("a.example", 80, True),
            ("a.test", 80, False),
            ("a.test", 443, True),
            (V4, 80, False),
            (V4, 443, True),
        ],
    )
    def test_who_waits(self, host: Host, port: int, waits: bool) -> None:
        assert (self.judge(host, port, None, Sought.NOT_YET) is PENDING) is waits
        assert self.judge(host, port) is not PENDING

    @pytest.mark.parametrize(("host", "exposure"), [("a.example", Exposure.NAME), (V4, Exposure.ADDRESS)])
    def test_who_is_not_known_in_time_is_refused_if_it_hangs_on_that(self, host: Host, exposure: Exposure) -> None:
        late = self.judge(host, 443, None, Sought.LATE)
        assert (late.exposure, late.rule, late.finding) == (exposure, 0, exposure is Exposure.ADDRESS)
        assert late.decision == Decision(BLOCK, "program_unknown", Reply.GENERAL_FAILURE)
        assert self.judge("a.test", 80, None, Sought.LATE).decision == Decision(FORWARD)

    def test_who_takes_it_for_a_verdict_refuses(self) -> None:
        assert (PENDING.decision.action, PENDING.decision.reply) == (BLOCK, Reply.GENERAL_FAILURE)
        assert PENDING.finding

    def test_what_is_decided_then(self) -> None:
        assert self.judge("a.example", 443, CURL).decision.reason == REFUSED
        assert self.judge("a.example", 443, PIP).rule == 0
        assert self.judge("a.example", 443).rule == 0
        assert self.judge("free.example", 443, PIP).rule == 2
        tor = Process(1, "tor", None, label="unit:tor.service")
        assert self.judge("a.example", 80, tor).rule == 3

    @pytest.mark.parametrize(
        ("rules", "waits"),
        [
            ((Rule(program=("curl",), allow=False), Rule(port=(443,), allow=True)), True),
            ((Rule(unit=("tor.service",), executable=("/usr/bin/tor",), allow=False),), True),
            ((Rule(unit=("a.service",), executable=("/usr/bin/a",), program=("a",), allow=False),), True),
            ((Rule(program=("curl",), port=(443,), allow=False),), False),
            ((Rule(mode=Mode.WARN), Rule(program=("curl",), allow=False)), False),
            ((), False),
        ],
    )
    def test_where_the_program_alone_decides_nothing_else_is_asked_first(
        self, rules: tuple[Rule, ...], waits: bool
    ) -> None:
        one = Judge(Policy(rule=rules), AnswerMemory())
        assert one.policy.asks_first is waits
        for host in (V4, "a.example", "localhost"):
            request = Request(Protocol.SOCKS5, CONNECT, host, 80)
            assert (one.judge(request, PEER, 0.0) is PENDING) is waits
            assert one.judge(request, PEER, 0.0, HERE, PIP) == one.judge(request, PEER, 0.0, HERE, PIP, Sought.ENDED)
        bind = Request(Protocol.SOCKS5, Command.BIND, V4, 80)
        assert one.judge(bind, PEER, 0.0) is not PENDING, "refused, whoever asks for it"

    def test_a_guessed_name_waits_too(self) -> None:
        rules = (Rule(name=("guess.example",), program=("curl",), allow=False),)
        one = Judge(Policy(Mode.REPAIR, rule=rules), AnswerMemory())
        one.told(OTHER, "guess.example", (GUESSED,), 0.0)
        request = Request(Protocol.SOCKS5, CONNECT, GUESSED, 443)
        assert one.judge(request, PEER, 1.0) is PENDING
        assert one.judge(request, PEER, 1.0, HERE, CURL, Sought.ENDED).decision.reason == REFUSED
        assert one.judge(request, PEER, 1.0, HERE, PIP, Sought.ENDED).decision.host == "guess.example"


def test_what_tor_answers_to_a_name_of_a_rules_choice_is_tors_answer() -> None:
    one = Judge(Policy(), AnswerMemory())
    one.answered(Request(Protocol.SOCKS5, RESOLVE, GUESSED, 0), PEER, Answer(0, V4, 0), 0.0, "guess.example")
    verdict = one.judge(Request(Protocol.SOCKS5, CONNECT, V4, 443), PEER, 1.0)
    assert verdict.exposure is Exposure.RESOLVED_BY_TOR
