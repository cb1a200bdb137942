"""First bytes and the finding of an address: the name makes a look-up probable, its absence leans to a typed one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from shim.events import FirstBytesSeen, LeakFound, RequestDecided
from shim.judge.correlate import Correlator
from shim.judge.ledger import _ENTRIES, Ledger
from shim.judge.overheard import Overheard
from shim.model import (
    Action,
    Command,
    Confidence,
    Decision,
    Exposure,
    Host,
    LeakKind,
    Peer,
    Protocol,
    Request,
    Verdict,
)

AT = 1000.0
PEER = Peer("127.0.0.1", 4000)
ADDRESS = IPv4Address("198.51.100.7")


def decided(host: Host, exposure: Exposure, conn: str = "c1") -> RequestDecided:
    request = Request(Protocol.SOCKS5, Command.CONNECT, host, 443)
    return RequestDecided(AT, conn, PEER, "127.0.0.1:9250", request, Verdict(exposure, Decision(Action.FORWARD)))


def seen(
    protocol: str, name: str | None, *, address: bool = False, ech: bool = False, conn: str = "c1"
) -> FirstBytesSeen:
    return FirstBytesSeen(AT + 1, conn, protocol, name, address, ech)


def raised(event: FirstBytesSeen, host: Host = ADDRESS, exposure: Exposure = Exposure.ADDRESS) -> LeakFound:
    correlator = Correlator()
    (first,) = correlator.feed(decided(host, exposure))
    (second,) = correlator.feed(event)
    assert (second.finding, second.revision, second.conn) == (first.finding, 2, first.conn)
    assert second.evidence[: len(first.evidence)] == first.evidence
    return second


@pytest.mark.parametrize(("protocol", "code"), [("tls", "tls_sni_is_name"), ("http", "http_host_is_name")])
def test_a_name_beside_an_address_makes_a_look_up_probable(protocol: str, code: str) -> None:
    found = raised(seen(protocol, "www.example.com"))
    assert (found.kind, found.confidence, found.rule) == (LeakKind.ADDRESS_ONLY, Confidence.PROBABLE, "L02")
    assert found.name == "www.example.com"
    assert found.evidence == ("address_request", code)


def test_an_address_as_text_keeps_its_kind_and_rule() -> None:
    found = raised(seen("tls", "www.example.com"), str(ADDRESS), Exposure.ADDRESS_AS_TEXT)
    assert (found.kind, found.confidence, found.rule) == (LeakKind.ADDRESS_AS_TEXT, Confidence.PROBABLE, "L04")
    assert found.name == "www.example.com"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (seen("tls", None), "tls_without_sni"),
        (seen("tls", None, address=True), "tls_sni_is_address"),
        (seen("http", None, address=True), "http_host_is_address"),
        (seen("http", None), "http_without_host"),
    ],
)
def test_no_name_leans_to_a_typed_address_and_raises_nothing(event: FirstBytesSeen, code: str) -> None:
    found = raised(event)
    assert (found.confidence, found.name, found.rule) == (Confidence.POSSIBLE, None, "L03")
    assert found.evidence == ("address_request", code, "typed_literal_likely")


def test_a_name_that_may_be_an_outer_one_is_told_and_proves_nothing() -> None:
    """Nobody can tell a true encrypted hello from a meaningless one (GREASE): its name is worth less, and is shown."""
    found = raised(seen("tls", "cdn.example", ech=True))
    assert (found.confidence, found.name, found.rule) == (Confidence.POSSIBLE, "cdn.example", "L02")
    assert found.evidence == ("address_request", "tls_sni_is_name", "ech_extension")


def test_only_the_connection_itself_is_meant_and_only_once() -> None:
    correlator = Correlator()
    correlator.feed(decided(ADDRESS, Exposure.ADDRESS))
    assert correlator.feed(seen("tls", "www.example.com", conn="c2")) == ()
    assert len(correlator.feed(seen("tls", "www.example.com"))) == 1
    assert correlator.feed(seen("tls", "www.example.com")) == ()


def test_a_name_request_is_not_read_along() -> None:
    correlator = Correlator()
    correlator.feed(decided("www.example.com", Exposure.NAME))
    assert correlator.feed(seen("tls", "www.example.com")) == ()


def test_a_finding_that_is_forgotten_is_not_raised() -> None:
    correlator = Correlator()
    (found,) = correlator.feed(decided(ADDRESS, Exposure.ADDRESS))
    ledger = Ledger()
    overheard = Overheard(ledger)
    overheard.watch(found)
    for number in range(3 * _ENTRIES):  # of kinds that are not read along
        ledger.keep(replace(found, finding=f"other{number}"))
    assert overheard.seen(seen("tls", "www.example.com")) == ()
