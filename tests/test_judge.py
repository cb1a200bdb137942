"""shim.judge.judge: verdicts with the memory behind them; stories of several requests of one client."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import (
    Action,
    Answer,
    Command,
    Credentials,
    Decision,
    Exposure,
    Host,
    Mode,
    Peer,
    Protocol,
    Reply,
    Request,
    Verdict,
)
from shim.policy import Policy

PEER = Peer("127.0.0.1", 40000)
ADDRESS = IPv4Address("93.184.216.34")
FORWARDED = Decision(Action.FORWARD)
REFUSED = Decision(Action.BLOCK, "address_only", Reply.NOT_ALLOWED)


def connect(host: Host) -> Request:
    """A SOCKS5 CONNECT to port 443."""
    return Request(Protocol.SOCKS5, Command.CONNECT, host, 443)


def resolve(host: Host) -> Request:
    """A SOCKS5 RESOLVE."""
    return Request(Protocol.SOCKS5, Command.RESOLVE, host, 0)


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


def test_what_another_client_resolved_does_not_count() -> None:
    one = taught(Answer(0, ADDRESS, 0), peer=Peer("", 0, uid=1000))
    assert one.judge(connect(ADDRESS), Peer("", 0, uid=1000), 1.0).exposure is Exposure.RESOLVED_BY_TOR
    assert one.judge(connect(ADDRESS), Peer("", 0, uid=1001), 1.0).exposure is Exposure.ADDRESS
    assert one.judge(connect(ADDRESS), PEER, 1.0).exposure is Exposure.ADDRESS


def test_tors_answer_is_too_old_after_the_memorys_age() -> None:
    one = taught(Answer(0, ADDRESS, 0))
    assert one.judge(connect(ADDRESS), PEER, 600.0).exposure is Exposure.RESOLVED_BY_TOR
    assert one.judge(connect(ADDRESS), PEER, 601.0) == Verdict(Exposure.ADDRESS, REFUSED)


def test_a_local_answer_of_tor_is_still_local() -> None:
    loopback = IPv4Address("127.0.0.1")
    verdict = taught(Answer(0, loopback, 0)).judge(connect(loopback), PEER, 1.0)
    assert verdict.exposure is Exposure.LOCAL
    assert verdict.decision.reason == "local_destination"


def test_a_remembered_name_repairs_and_two_do_not() -> None:
    memory = AnswerMemory()
    one = Judge(Policy(mode=Mode.REPAIR), memory)
    memory.learn(PEER.key, ADDRESS, "www.example.com", 0.0, by_tor=False)
    assert one.judge(connect(ADDRESS), PEER, 1.0) == Verdict(
        Exposure.ADDRESS, Decision(Action.REPAIR, host="www.example.com"), ("www.example.com",)
    )
    memory.learn(PEER.key, ADDRESS, "cdn.example.net", 1.0, by_tor=False)
    assert one.judge(connect(ADDRESS), PEER, 2.0) == Verdict(
        Exposure.ADDRESS, REFUSED, ("www.example.com", "cdn.example.net")
    )


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
