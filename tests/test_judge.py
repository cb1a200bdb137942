"""shim.judge.judge: verdicts with the memory behind them; stories of several requests of one client."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from shim.judge.answering import AAAA, PTR, A, Plan
from shim.judge.issued import IssuedPool
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import (
    Action,
    Answer,
    Command,
    Credentials,
    Decision,
    DnsMode,
    Exposure,
    Host,
    Mode,
    Peer,
    Protocol,
    Reply,
    Request,
    Verdict,
)
from shim.policy import DnsPolicy, Policy

PEER = Peer("127.0.0.1", 40000)
OTHER = Peer("192.0.2.7", 40000)
ADDRESS = IPv4Address("93.184.216.34")
FORWARDED = Decision(Action.FORWARD)
REFUSED = Decision(Action.BLOCK, "address_only", Reply.NOT_ALLOWED)


def connect(host: Host) -> Request:
    """A SOCKS5 CONNECT to port 443."""
    return Request(Protocol.SOCKS5, Command.CONNECT, host, 443)


def resolve(host: Host) -> Request:
    """A SOCKS5 RESOLVE."""
    return Request(Protocol.SOCKS5, Command.RESOLVE, host, 0)


def point(host: Host) -> Request:
    """A SOCKS5 RESOLVE_PTR."""
    return Request(Protocol.SOCKS5, Command.RESOLVE_PTR, host, 0)


Ask = Callable[[Any], Any]


def judge(mode: Mode = Mode.BLOCK) -> Judge:
    """A judge that remembers nothing yet."""
    return Judge(Policy(mode=mode, address_as_text="block"), AnswerMemory())


def taught(answer: Answer, request: Request | None = None, peer: Peer = PEER) -> Judge:
    """A judge in mode block that saw one answer at 0 s."""
    one = judge()
    one.answered(request or resolve("www.example.com"), peer, answer, 0.0)
    return one


def test_a_name_is_forwarded() -> None:
    assert judge().judge(connect("www.example.com"), PEER, 0.0) == Verdict(Exposure.NAME, FORWARDED)


def test_the_verdict_on_a_name_is_not_made_anew() -> None:
    one = judge()
    first = one.judge(connect("a.example"), PEER, 0.0)
    assert one.judge(connect("b.example"), PEER, 1.0) is first


def test_an_address_is_judged_by_the_policy_of_the_moment() -> None:
    one = judge(Mode.WARN)
    assert one.judge(connect(ADDRESS), PEER, 0.0) == Verdict(Exposure.ADDRESS, FORWARDED)
    one.policy = Policy(mode=Mode.BLOCK)
    assert one.judge(connect(ADDRESS), PEER, 0.0) == Verdict(Exposure.ADDRESS, REFUSED)


@pytest.mark.parametrize("form", [ADDRESS, str(ADDRESS), IPv6Address(f"::ffff:{ADDRESS}"), f"::ffff:{ADDRESS}"])
@pytest.mark.parametrize("mode", Mode)
def test_torsocks_resolves_by_tor_and_is_clean(form: Host, mode: Mode) -> None:
    one = judge(mode)
    asked = resolve("www.example.com")
    assert one.judge(asked, PEER, 0.0) == Verdict(Exposure.NAME, FORWARDED)
    one.answered(asked, PEER, Answer(0, ADDRESS, 0), 0.5)
    verdict = one.judge(connect(form), Peer("127.0.0.1", 40001), 1.0)
    assert verdict == Verdict(Exposure.RESOLVED_BY_TOR, FORWARDED, ("www.example.com",))


def test_the_policy_may_change_without_forgetting() -> None:
    one = taught(Answer(0, ADDRESS, 0))
    one.policy = Policy(mode=Mode.REPAIR)
    assert one.judge(connect(ADDRESS), PEER, 1.0).exposure is Exposure.RESOLVED_BY_TOR


def test_an_answer_given_as_text_is_an_address() -> None:
    assert taught(Answer(0, "93.184.216.34", 0)).judge(connect(ADDRESS), PEER, 1.0).decision == FORWARDED


def test_a_literal_cannot_be_laundered_through_resolve() -> None:
    for literal in (ADDRESS, "93.184.216.34", "1572395042"):
        one = taught(Answer(0, ADDRESS, 0), resolve(literal))
        assert one.judge(connect(ADDRESS), PEER, 1.0) == Verdict(Exposure.ADDRESS, REFUSED)


@pytest.mark.parametrize("reply", [1, 4, 0xF0, 0x5A])
def test_a_refused_resolve_teaches_nothing(reply: int) -> None:
    assert taught(Answer(reply, ADDRESS, 0)).judge(connect(ADDRESS), PEER, 1.0).exposure is Exposure.ADDRESS


@pytest.mark.parametrize("command", [Command.CONNECT, Command.RESOLVE_PTR])
def test_other_commands_teach_nothing(command: Command) -> None:
    request = Request(Protocol.SOCKS5, command, "www.example.com", 443)
    one = taught(Answer(0, ADDRESS, 443), request)
    assert one.judge(connect(ADDRESS), PEER, 1.0).exposure is Exposure.ADDRESS


def test_a_name_for_an_answer_teaches_nothing() -> None:
    one = taught(Answer(0, "www.example.net", 0))
    assert one.judge(connect(ADDRESS), PEER, 1.0).exposure is Exposure.ADDRESS


def test_what_another_client_resolved_clears_nobody_else() -> None:
    one = taught(Answer(0, ADDRESS, 0), peer=Peer("", 0, uid=1000))
    assert one.judge(connect(ADDRESS), Peer("", 0, uid=1000), 1.0).exposure is Exposure.RESOLVED_BY_TOR
    for other in (Peer("", 0, uid=1001), PEER):
        verdict = one.judge(connect(ADDRESS), other, 1.0)
        assert verdict == Verdict(Exposure.ADDRESS, REFUSED, ("www.example.com",))


def test_tors_answer_is_too_old_after_the_memorys_age() -> None:
    one = taught(Answer(0, ADDRESS, 0))
    assert one.judge(connect(ADDRESS), PEER, 600.0).exposure is Exposure.RESOLVED_BY_TOR
    assert one.judge(connect(ADDRESS), PEER, 601.0) == Verdict(Exposure.ADDRESS, REFUSED)


def test_a_local_answer_of_tor_is_still_local() -> None:
    loopback = IPv4Address("127.0.0.1")
    verdict = taught(Answer(0, loopback, 0)).judge(connect(loopback), PEER, 1.0)
    assert verdict.exposure is Exposure.LOCAL
    assert verdict.decision.reason == "local_destination"


@pytest.mark.parametrize("form", [ADDRESS, str(ADDRESS)])
def test_a_name_that_was_answered_to_others_repairs_and_two_do_not(form: Host) -> None:
    one = judge(Mode.REPAIR)
    one.told(OTHER, "www.example.com", (ADDRESS,), 0.0)
    exposure = Exposure.ADDRESS if form is ADDRESS else Exposure.ADDRESS_AS_TEXT
    repaired = Decision(Action.REPAIR, host="www.example.com")
    assert one.judge(connect(form), PEER, 1.0) == Verdict(exposure, repaired, ("www.example.com",))
    one.told(OTHER, "cdn.example.net", (ADDRESS,), 1.0)
    verdict = one.judge(connect(form), PEER, 2.0)
    assert (verdict.decision.action, verdict.names) == (Action.BLOCK, ("www.example.com", "cdn.example.net"))


def test_what_tor_told_this_client_is_never_repaired() -> None:
    one = judge(Mode.REPAIR)
    one.told(PEER, "www.example.com", (ADDRESS, IPv6Address("2001:db8::1")), 0.0)
    for address in (ADDRESS, IPv6Address("2001:db8::1"), "2001:db8::1"):
        assert one.judge(connect(address), PEER, 1.0).decision == FORWARDED


@pytest.mark.parametrize("mode", [Mode.WARN, Mode.BLOCK])
def test_a_remembered_name_is_put_in_place_of_nothing_unless_asked_for(mode: Mode) -> None:
    one = judge(mode)
    one.told(OTHER, "www.example.com", (ADDRESS,), 0.0)
    assert one.judge(connect(ADDRESS), PEER, 1.0).decision.host is None


def issuing(mode: Mode = Mode.WARN) -> tuple[Judge, IPv4Address]:
    """A judge whose sensor issues addresses, and the one that stands for secret.example.org."""
    one = judge(mode)
    one.dns = DnsPolicy(DnsMode.ISSUE)
    one.pool = IssuedPool(start=7, live_s=100.0, quarantine_s=50.0)
    assert one.plan("secret.example.org", A, None) is Plan.ISSUE4
    address = one.issue("secret.example.org", 4, 0.0)
    assert isinstance(address, IPv4Address)
    return one, address


@pytest.mark.parametrize("spell", [lambda a: a, str, lambda a: IPv6Address(f"::ffff:{a}"), lambda a: f"::ffff:{a}"])
@pytest.mark.parametrize("asked", [connect, resolve])
@pytest.mark.parametrize("mode", Mode)
def test_an_issued_address_stands_for_its_name_in_every_form(mode: Mode, asked: Ask, spell: Ask) -> None:
    one, address = issuing(mode)
    verdict = one.judge(asked(spell(address)), PEER, 1.0)
    assert (verdict.exposure, verdict.names) == (Exposure.ISSUED, ("secret.example.org",))
    if mode is Mode.BLOCK:
        assert (verdict.decision.action, verdict.decision.reason) == (Action.BLOCK, "issued")
    else:
        assert verdict.decision == Decision(Action.REPAIR, host="secret.example.org")


@pytest.mark.parametrize("mode", Mode)
def test_an_address_of_the_pool_that_stands_for_nothing_goes_nowhere(mode: Mode) -> None:
    one, address = issuing(mode)
    for host in (address + 1, str(address + 1), IPv4Address("198.19.255.255"), IPv6Address("2001:2::1")):
        for asked in (connect, resolve, point):
            assert one.judge(asked(host), PEER, 1.0).decision.reason == "stale"


def test_the_name_of_an_issued_address_is_not_asked_of_tor() -> None:
    one, address = issuing()
    assert one.judge(point(address), PEER, 1.0).decision.reason == "issued"
    assert one.plan(address.reverse_pointer, PTR, address) is Plan.POINTER
    assert one.name_of(address, 1.0) == "secret.example.org"
    assert one.name_of(address + 1, 1.0) is None
    assert one.name_of(address, 101.5) is None


def test_a_request_keeps_its_issued_address_alive_and_a_late_one_keeps_it_from_others() -> None:
    one, address = issuing()
    for at in (80.0, 160.0):
        assert one.judge(connect(address), PEER, at).decision.action is Action.REPAIR
    for at in (261.0, 311.0, 361.0):
        verdict = one.judge(connect(address), PEER, at)
        assert (verdict.decision.reason, verdict.names) == ("stale", ("secret.example.org",))
    assert one.pool is not None
    assert len(one.pool) == 1, "in quarantine since its last use, not since it was issued"


def test_without_a_pool_its_addresses_are_ordinary() -> None:
    one, address = issuing(Mode.REPAIR)
    one.dns, one.pool = DnsPolicy(), None
    assert one.judge(connect(address), PEER, 1.0) == Verdict(Exposure.ADDRESS, REFUSED)
    assert one.plan("secret.example.org", A, None) is Plan.REFUSE
    assert one.issue("secret.example.org", 4, 1.0) is None
    assert one.name_of(address, 1.0) is None


def test_issued_addresses_of_both_families_and_a_full_pool() -> None:
    one, _ = issuing()
    one.dns, one.pool = DnsPolicy(DnsMode.ISSUE, ipv6=True), IssuedPool(start=0, capacity=1)
    assert one.plan("a.example", AAAA, None) is Plan.ISSUE6
    assert one.issue("a.example", 6, 0.0) == IPv6Address("2001:2::1")
    assert one.issue("a.example", 4, 0.0) == IPv4Address("198.18.0.1")
    assert one.issue("b.example", 4, 1.0) is None
    assert one.issue("b.example", 6, 1.0) is None


def test_an_issued_address_comes_before_what_was_ever_answered() -> None:
    one, address = issuing()
    one.told(PEER, "other.example", (address,), 0.0)
    assert one.judge(connect(address), PEER, 1.0).names == ("secret.example.org",)


def test_tors_answer_to_a_repaired_resolve_is_tors_answer() -> None:
    one, address = issuing()
    one.answered(resolve(address), PEER, Answer(0, ADDRESS, 0), 1.0, "secret.example.org")
    verdict = one.judge(connect(ADDRESS), PEER, 2.0)
    assert verdict == Verdict(Exposure.RESOLVED_BY_TOR, FORWARDED, ("secret.example.org",))


def test_so_it_is_when_a_remembered_name_was_sent() -> None:
    one = judge(Mode.REPAIR)
    one.told(OTHER, "www.example.com", (ADDRESS,), 0.0)
    now = IPv4Address("93.184.216.40")
    one.answered(resolve(ADDRESS), PEER, Answer(0, now, 0), 1.0, "www.example.com")
    assert one.judge(connect(now), PEER, 2.0).exposure is Exposure.RESOLVED_BY_TOR


def test_credentials_of_our_own_only_where_the_policy_says_so_and_the_client_sent_none() -> None:
    one = judge()
    one.policy = Policy(isolate="client")
    given = one.credentials(connect("a.example"), PEER)
    assert given is not None
    assert given == one.credentials(connect("b.example"), Peer("127.0.0.1", 40001))
    assert given != one.credentials(connect("a.example"), Peer("127.0.0.2", 40000))
    assert given != Judge(one.policy, AnswerMemory(), b"another run").credentials(connect("a.example"), PEER)
    own = Credentials(b"user", b"")
    assert one.credentials(Request(Protocol.SOCKS5, Command.CONNECT, "a.example", 443, own), PEER) is None
    one.policy = Policy()
    assert one.credentials(connect("a.example"), PEER) is None


@pytest.mark.parametrize("hint", [True, False])
def test_the_http_hint_is_the_policys(hint: bool) -> None:
    assert Judge(Policy(http_hint=hint), AnswerMemory()).http_hint() is hint
