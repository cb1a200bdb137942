"""shim.judge.ledger: numbers in order, and revisions that only rise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from samples import leak

from shim.events import LeakFound
from shim.judge.ledger import _ENTRIES, Ledger
from shim.model import Confidence, LeakKind

POSSIBLE, PROBABLE, CONFIRMED = Confidence


def kept(ledger: Ledger, confidence: Confidence = POSSIBLE, at: float = 0.0) -> LeakFound:
    found = leak(
        LeakKind.DNS_QUERY, "advice.dns_query", finding=ledger.take(), confidence=confidence, at=at, evidence=("seen",)
    )
    assert ledger.keep(found) == found.finding
    return found


def test_numbers_in_order() -> None:
    ledger = Ledger()
    assert [ledger.take() for _ in range(3)] == ["f1", "f2", "f3"]


def test_a_revision_says_more_and_leaves_the_rest() -> None:
    ledger = Ledger()
    found = kept(ledger)
    (second,) = ledger.raised("f1", 5.0, PROBABLE, "seen", "more", rule="L12", advice="advice.stale", name="a.test")
    assert second == replace(
        found,
        at=5.0,
        revision=2,
        confidence=PROBABLE,
        evidence=("seen", "more"),
        rule="L12",
        advice="advice.stale",
        name="a.test",
    )
    (third,) = ledger.raised("f1", 6.0, POSSIBLE, "still")
    assert third == replace(second, at=6.0, revision=3, evidence=("seen", "more", "still"))


@pytest.mark.parametrize("before", Confidence)
@pytest.mark.parametrize("now", Confidence)
def test_confidence_never_falls(before: Confidence, now: Confidence) -> None:
    ledger = Ledger()
    kept(ledger, before)
    order = list(Confidence)
    (raised,) = ledger.raised("f1", 1.0, now)
    assert order.index(raised.confidence) == max(order.index(before), order.index(now))


def test_what_is_forgotten_is_not_raised() -> None:
    ledger = Ledger()
    kept(ledger)
    assert ledger.raised("f2", 1.0, CONFIRMED) == ()
    assert ledger.raised("f1", 601.0, CONFIRMED) == ()


def test_a_flood_of_findings_stays_within_bounds() -> None:
    ledger = Ledger()
    for number in range(3 * _ENTRIES):
        kept(ledger, at=number / 1000)
    assert len(ledger._kept) <= 2 * _ENTRIES
    assert ledger.raised("f1", 10.0, CONFIRMED) == ()
    assert ledger.raised(f"f{3 * _ENTRIES}", 13.0, CONFIRMED)
