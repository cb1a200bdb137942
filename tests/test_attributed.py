"""Findings get their program's name, wait for it no longer than the look-up, and are never lost."""

from __future__ import annotations

from dataclasses import replace

from samples import SAMPLES

from shim.events import Draining, Event, LeakFound, ProcessIdentified, ProcessSought
from shim.judge import attributed
from shim.judge.attributed import Attributed
from shim.model import Process

AT = 1000.0
CURL = Process(42, "curl", "/usr/bin/curl")
SAMPLE = next(event for event in SAMPLES if isinstance(event, LeakFound) and event.conn)


def finding(conn: str | None = "c1", number: int = 1, query: str | None = None) -> LeakFound:
    return replace(SAMPLE, at=AT, conn=conn, query=query, finding=f"f{number}", process=None, process_reason="off")


def fold(*findings: LeakFound) -> Attributed:
    """An Attributed whose inner fold finds these at each Draining, and nothing else."""
    return Attributed(lambda event: findings if isinstance(event, Draining) else ())


TRIGGER: Event = Draining(AT, 0, 0.0)


def test_without_a_look_up_a_finding_comes_at_once() -> None:
    assert fold(finding()).feed(TRIGGER) == (finding(),)


def test_a_finding_waits_for_its_look_up_and_then_has_its_program() -> None:
    folded = fold(finding())
    assert folded.feed(ProcessSought(AT, "c1")) == ()
    assert folded.feed(TRIGGER) == ()
    (found,) = folded.feed(ProcessIdentified(AT, "c1", CURL))
    assert (found.process, found.process_reason) == (CURL, None)


def test_no_program_comes_with_the_reason() -> None:
    folded = fold(finding())
    folded.feed(ProcessSought(AT, "c1"))
    folded.feed(TRIGGER)
    (found,) = folded.feed(ProcessIdentified(AT, "c1", None, "gone"))
    assert (found.process, found.process_reason) == (None, "gone")


def test_a_look_up_that_ends_before_the_finding_counts_too() -> None:
    folded = fold(finding())
    folded.feed(ProcessSought(AT, "c1"))
    assert folded.feed(ProcessIdentified(AT, "c1", CURL)) == ()
    (found,) = folded.feed(TRIGGER)
    assert found.process == CURL


def test_several_findings_of_one_connection_come_in_order() -> None:
    folded = fold(finding(number=1), finding(number=2))
    folded.feed(ProcessSought(AT, "c1"))
    folded.feed(TRIGGER)
    assert [found.finding for found in folded.feed(ProcessIdentified(AT, "c1", CURL))] == ["f1", "f2"]


def test_connections_are_not_mixed_up() -> None:
    folded = fold(finding("c1", 1), finding("c2", 2))
    folded.feed(ProcessSought(AT, "c1"))
    (free,) = folded.feed(TRIGGER)
    assert (free.conn, free.process) == ("c2", None)
    assert [found.conn for found in folded.feed(ProcessIdentified(AT, "c1", CURL))] == ["c1"]


def test_a_finding_of_a_query_brings_its_own_program() -> None:
    found = finding(conn=None, query="q1")
    assert fold(found).feed(TRIGGER) == (found,)


def test_a_flood_of_look_ups_loses_no_finding() -> None:
    folded = fold(finding("c0"))
    folded.feed(ProcessSought(AT, "c0"))
    folded.feed(TRIGGER)
    told = [found for n in range(1, attributed._ENTRIES + 1) for found in folded.feed(ProcessSought(AT, f"c{n}"))]
    assert [(found.conn, found.process, found.process_reason) for found in told] == [("c0", None, "busy")]


def test_what_still_waits_in_the_end_is_told() -> None:
    folded = fold(finding("c1", 1), finding("c2", 2))
    for conn in ("c1", "c2", "c3"):
        folded.feed(ProcessSought(AT, conn))
    folded.feed(TRIGGER)
    assert [(found.conn, found.process_reason) for found in folded.rest()] == [("c1", "busy"), ("c2", "busy")]
    assert folded.rest() == ()
