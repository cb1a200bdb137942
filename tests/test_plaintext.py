"""Ports of unencrypted protocols: which requests to them are told or refused, and what is found."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from itertools import product

import pytest
from stories import LISTENER, Story

from shim.events import RequestDecided
from shim.judge.correlate import Correlator
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import (
    Action,
    Command,
    Confidence,
    Decision,
    DnsMode,
    Exposure,
    Host,
    LeakKind,
    Mode,
    Peer,
    Protocol,
    Reply,
    Request,
    Verdict,
)
from shim.policy import Policy

PEER = Peer("127.0.0.1", 40000)
V4 = IPv4Address("93.184.216.34")
HERE = IPv4Address("127.0.0.1")
REJECTED = Decision(Action.BLOCK, "plaintext_port", Reply.NOT_ALLOWED)
PASSED = Decision(Action.FORWARD)


def verdict(host: Host, port: int, policy: Policy, command: Command = Command.CONNECT) -> Verdict:
    """Of a judge that remembers nothing."""
    return Judge(policy, AnswerMemory()).judge(Request(Protocol.SOCKS5, command, host, port), PEER, 0.0)


def found(judged: Verdict, host: Host, port: int, command: Command = Command.CONNECT) -> list[LeakKind]:
    """The kinds of findings that one verdict makes."""
    request = Request(Protocol.SOCKS5, command, host, port)
    event = RequestDecided(1.0, "c1", PEER, LISTENER, request, judged)
    return [each.kind for each in Correlator().feed(event)]


PLAIN = [LeakKind.PLAINTEXT_PORT]
ADDRESS = [LeakKind.ADDRESS_ONLY]
LOCAL = [LeakKind.LOCAL_DESTINATION]

# Host and setting; then for a port that is warned about, and for one that is rejected: the reason of a refusal (None:
# it passes), and the findings.
TABLE: list[tuple[Host, dict[str, object], str | None, list[LeakKind], str | None, list[LeakKind]]] = [
    ("mail.example", {}, None, PLAIN, "plaintext_port", PLAIN),
    ("mail.example", {"mode": Mode.BLOCK}, None, PLAIN, "plaintext_port", PLAIN),
    ("mail.example", {"mode": Mode.REPAIR}, None, PLAIN, "plaintext_port", PLAIN),
    (V4, {}, None, ADDRESS + PLAIN, "plaintext_port", ADDRESS + PLAIN),
    (V4, {"mode": Mode.BLOCK}, "address_only", ADDRESS, "address_only", ADDRESS),
    (V4, {"mode": Mode.REPAIR}, "address_only", ADDRESS, "address_only", ADDRESS),
    (HERE, {}, "local_destination", LOCAL, "local_destination", LOCAL),
    (HERE, {"allow_local": ("127.0.0.1",)}, None, PLAIN, "plaintext_port", PLAIN),
]


@pytest.mark.parametrize(("host", "policy", "reason", "kinds", "rejected", "kinds_rejected"), TABLE)
def test_a_connection_to_such_a_port(
    host: Host,
    policy: dict[str, object],
    reason: str | None,
    kinds: list[LeakKind],
    rejected: str | None,
    kinds_rejected: list[LeakKind],
) -> None:
    warn = verdict(host, 143, Policy(**policy))  # type: ignore[arg-type]
    reject = verdict(host, 143, Policy(reject_plaintext_ports=(143,), **policy))  # type: ignore[arg-type]
    alone = verdict(host, 21, Policy(reject_plaintext_ports=(21,), **policy))  # type: ignore[arg-type]
    assert (warn.decision.reason, found(warn, host, 143)) == (reason, kinds)
    assert (reject.decision.reason, found(reject, host, 143)) == (rejected, kinds_rejected)
    assert alone == reject
    assert reject.decision.reply is Reply.NOT_ALLOWED


@pytest.mark.parametrize("port", [23, 109, 110, 143])
def test_the_defaults_are_those_of_tor(port: int) -> None:
    assert verdict("mail.example", port, Policy()) == Verdict(Exposure.NAME, PASSED, plaintext=True)
    assert verdict("mail.example", port, Policy(warn_plaintext_ports=())) == Verdict(Exposure.NAME, PASSED)


@pytest.mark.parametrize("port", [0, 21, 22, 25, 80, 443, 993, 995])
def test_all_other_ports_are_free(port: int) -> None:
    one = Judge(Policy(), AnswerMemory())
    request = Request(Protocol.SOCKS5, Command.CONNECT, "www.example.com", port)
    assert one.judge(request, PEER, 0.0) is one.judge(request, PEER, 1.0)


@pytest.mark.parametrize("command", [Command.RESOLVE, Command.RESOLVE_PTR, Command.BIND, Command.UDP_ASSOCIATE])
def test_only_a_connection_says_anything_there(command: Command) -> None:
    host: Host = "mail.example" if command is Command.RESOLVE else V4
    judged = verdict(host, 110, Policy(reject_plaintext_ports=(110,)), command)
    assert not judged.plaintext
    assert LeakKind.PLAINTEXT_PORT not in found(judged, host, 110, command)


def test_what_is_found() -> None:
    story = Story()
    (one,) = story.connect("mail.example", 110)
    assert (one.kind, one.rule, one.confidence, one.evidence) == (
        LeakKind.PLAINTEXT_PORT,
        "L18",
        Confidence.CONFIRMED,
        ("plaintext_port",),
    )
    assert (one.action, one.port, one.destination, one.name) == (Action.FORWARD, 110, "mail.example:110", None)
    assert one.advice == "advice.plaintext_port"


def test_a_repaired_request_is_found_too() -> None:
    story = Story(Mode.REPAIR, DnsMode.ISSUE)
    address = story.look_up("mail.example")
    findings = story.connect(address, 143)
    assert [each.kind for each in findings] == [LeakKind.LOCAL_RESOLUTION, LeakKind.PLAINTEXT_PORT]
    assert [each.name for each in findings] == ["mail.example"] * 2
    assert {each.action for each in findings} == {Action.REPAIR}


HOSTS: list[Host] = ["mail.example", V4, str(V4), HERE, "printer.local", "localhost", ip_address("::1")]


@pytest.mark.parametrize(("host", "command", "mode", "port"), list(product(HOSTS, Command, Mode, [0, 110, 443])))
def test_a_verdict_says_whether_it_makes_a_finding(host: Host, command: Command, mode: Mode, port: int) -> None:
    for policy in (Policy(mode), Policy(mode, "block", ("127.0.0.1", "localhost"), reject_plaintext_ports=(110,))):
        judged = verdict(host, port, policy, command)
        assert judged.finding == bool(found(judged, host, port, command))
