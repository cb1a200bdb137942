"""The verdict of a run: the contract's truth table, which findings make it, and what each report admits to."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from shim.events import Event, LeakFound, RequestDecided
from shim.lab.packets import Kind, Packet
from shim.lab.seen import Departure, Isolation, Run
from shim.lab.verdict import Finding, report
from shim.model import (
    Action,
    Command,
    Confidence,
    Decision,
    Exposure,
    LeakKind,
    Peer,
    Process,
    Protocol,
    Request,
    Verdict,
)

HERE = Isolation(user_namespace=True, trap="tun", families=(4, 6), hidden=("/run/dbus",))
REQUEST = RequestDecided(
    1.0,
    "c1",
    Peer("127.0.0.1", 4000),
    "127.0.0.1:9250",
    Request(Protocol.SOCKS5, Command.CONNECT, "www.example.org", 80),
    Verdict(Exposure.NAME, Decision(Action.FORWARD)),
)
WAY_OUT = Packet(Kind.TCP, "tcp", ip_address("10.77.0.2"), 4001, ip_address("192.0.2.1"), 80, 60)


def found(kind: LeakKind, confidence: Confidence = Confidence.POSSIBLE, **more: Any) -> LeakFound:
    given: dict[str, Any] = {
        "at": 2.0,
        "finding": "f1",
        "revision": 1,
        "kind": kind,
        "confidence": confidence,
        "protocol": "socks5",
        "port": 80,
        "destination": "192.0.2.1:80",
        "action": Action.BLOCK,
        "evidence": (),
        "rule": "L05",
        "advice": "advice.stale",
    }
    return LeakFound(**given | more)


def a_run(*events: Event, **more: Any) -> Run:
    given: dict[str, Any] = {"isolation": HERE, "started": True, "status": 0, "events": events}
    return Run(("curl",), 0.0, **given | more)


LEAK = found(LeakKind.LOCAL_RESOLUTION, Confidence.CONFIRMED)
GONE = (Departure(2.0, WAY_OUT),)


@pytest.mark.parametrize(
    ("run", "status", "reason"),
    [
        (a_run(REQUEST), 0, None),
        (a_run(REQUEST, status=7), 0, None),
        (a_run(), 3, "no_request"),
        (a_run(REQUEST, LEAK), 1, None),
        (a_run(LEAK), 1, None),
        (a_run(departures=GONE), 1, None),
        (a_run(REQUEST, departures=GONE), 1, None),
        (a_run(REQUEST, status=-9), 3, "signal"),
        (a_run(status=-9), 3, "signal"),
        (a_run(REQUEST, LEAK, status=-9), 1, None),
        (a_run(REQUEST, status=-15, stopped="timeout"), 0, None),
        (a_run(status=-15, stopped="timeout"), 3, "no_request"),
        (a_run(REQUEST, status=-2, stopped="interrupted"), 0, None),
        (a_run(started=False, status=None, start_error="no such file"), 3, "not_started"),
        (a_run(started=False, status=None, stopped="interrupted"), 3, "interrupted"),
        (a_run(isolation=None, started=False, status=None, failure=("unshare", "EPERM")), 3, "isolation"),
    ],
)
def test_the_table_of_the_contract(run: Run, status: int, reason: str | None) -> None:
    judged = report(run)
    assert (judged.exit_status, judged.reason) == (status, reason)


@pytest.mark.parametrize(
    ("event", "leak"),
    [
        (found(LeakKind.DNS_QUERY, protocol="dns"), True),
        (found(LeakKind.DNS_QUERY, protocol="dns", evidence=("dns_query_seen", "chromium_probe")), False),
        (found(LeakKind.DNS_QUERY, protocol="dns", evidence=("dns_query_seen", "doh_canary")), False),
        (found(LeakKind.DNS_QUERY, protocol="dns", evidence=("reverse_lookup", "local_address")), False),
        (found(LeakKind.DNS_BESIDE_PROXY), True),
        (found(LeakKind.ONION_IN_DNS, Confidence.CONFIRMED), True),
        (found(LeakKind.LOCAL_RESOLUTION, Confidence.CONFIRMED), True),
        (found(LeakKind.ADDRESS_ONLY), False),
        (found(LeakKind.ADDRESS_ONLY, Confidence.PROBABLE), False),
        (found(LeakKind.ADDRESS_ONLY, Confidence.PROBABLE, name="www.example.org"), True),
        (found(LeakKind.ADDRESS_AS_TEXT), False),
        (found(LeakKind.ADDRESS_AS_TEXT, Confidence.PROBABLE, name="www.example.org"), True),
        (found(LeakKind.UDP_ATTEMPT, Confidence.CONFIRMED), False),
        (found(LeakKind.BIND_ATTEMPT, Confidence.CONFIRMED), False),
        (found(LeakKind.NOT_SOCKS, Confidence.CONFIRMED), False),
        (found(LeakKind.LOCAL_DESTINATION, Confidence.CONFIRMED), False),
    ],
)
def test_what_counts_as_a_leak(event: LeakFound, leak: bool) -> None:
    judged = report(a_run(REQUEST, event))
    (only,) = judged.findings
    assert only.leak is leak
    assert judged.exit_status == int(leak)


def only_finding(run: Run) -> Finding:
    (only,) = report(run).findings
    return only


def test_a_query_is_confirmed_because_nobody_else_is_there() -> None:
    only = only_finding(a_run(found(LeakKind.DNS_QUERY, protocol="dns")))
    assert (only.confidence, only.source) == (Confidence.CONFIRMED, "dns")
    assert "no_other_program" in only.evidence


def test_the_last_revision_counts() -> None:
    first, second = (
        found(LeakKind.ADDRESS_ONLY),
        found(LeakKind.ADDRESS_ONLY, Confidence.PROBABLE, name="www.example.org", revision=2),
    )
    assert only_finding(a_run(first, second)).leak
    assert only_finding(a_run(second, first)).leak


def test_the_same_query_twice_is_one_finding() -> None:
    query = found(LeakKind.DNS_QUERY, protocol="dns", name="a.example", destination="")
    again = found(LeakKind.DNS_QUERY, protocol="dns", name="a.example", destination="", finding="f2")
    assert only_finding(a_run(query, again)).count == 2


def test_two_programs_are_two_findings() -> None:
    one, other = Process(1, "one", None), Process(2, "other", None)
    run = a_run(departures=(Departure(1.0, WAY_OUT, process=one), Departure(2.0, WAY_OUT, process=other)))
    assert [each.process for each in report(run).findings] == [one, other]


@pytest.mark.parametrize(
    ("kind", "name", "leak_kind", "rule"),
    [
        (Kind.TCP, None, LeakKind.DIRECT_TRAFFIC, "L25"),
        (Kind.DNS, "a.example", LeakKind.DIRECT_TRAFFIC, "L25"),
        (Kind.DNS, "abcdef.onion", LeakKind.ONION_IN_DNS, "L08"),
        (Kind.MDNS, "printer.local", LeakKind.DIRECT_TRAFFIC, "L15"),
    ],
)
def test_a_packet_is_a_confirmed_leak(kind: Kind, name: str | None, leak_kind: LeakKind, rule: str) -> None:
    packet = Packet(kind, "udp", ip_address("10.77.0.2"), 4001, ip_address("192.0.2.1"), 53, 60, name)
    only = only_finding(a_run(departures=(Departure(1.0, packet, 3),)))
    assert (only.kind, only.rule, only.count, only.source) == (leak_kind, rule, 3, "packets")
    assert only.confidence is Confidence.CONFIRMED


def test_leaks_come_before_notes() -> None:
    note = found(LeakKind.BIND_ATTEMPT, at=1.0)
    later = found(LeakKind.LOCAL_RESOLUTION, at=9.0, finding="f2")
    judged = report(a_run(note, later))
    assert [each.leak for each in judged.findings] == [True, False]
    assert (len(judged.leaks), len(judged.notes)) == (1, 1)


def test_what_was_not_looked_at_is_said() -> None:
    hidden = {"user_namespace": True, "trap": "veth", "families": (4,), "hidden": (), "interactive": True}
    judged = report(a_run(isolation=Isolation(**hidden), stopped="timeout", left_running=True, uncounted=2))
    assert {"session", "setuid", "timeout", "left_running", "uncounted"} <= set(judged.not_covered)
    assert "packets4" in judged.covered
    assert not {"packets6", "helpers"} & set(judged.covered)
    assert report(a_run(isolation=None)).covered == ()
