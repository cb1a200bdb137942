"""Findings get their program's name, wait for it no longer than the look-up, and are never lost."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from samples import SAMPLES
from stories import Story

from shim.advice import table
from shim.events import Draining, Event, LeakFound, ProcessIdentified, ProcessSought
from shim.judge import attributed
from shim.judge.attributed import Attributed
from shim.judge.attributed import fold as whole_fold
from shim.judge.remedies import Told
from shim.model import Confidence, Process

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


def test_nothing_else_of_a_finding_is_changed() -> None:
    whole = replace(finding(), revision=3, name="host.example", prevented=True)
    folded = fold(whole)
    folded.feed(ProcessSought(AT, "c1"))
    folded.feed(TRIGGER)
    (found,) = folded.feed(ProcessIdentified(AT, "c1", CURL))
    assert found == replace(whole, process=CURL, process_reason=None)


def test_connections_are_not_mixed_up() -> None:
    folded = fold(finding("c1", 1), finding("c2", 2))
    folded.feed(ProcessSought(AT, "c1"))
    (free,) = folded.feed(TRIGGER)
    assert (free.conn, free.process) == ("c2", None)
    assert [found.conn for found in folded.feed(ProcessIdentified(AT, "c1", CURL))] == ["c1"]


def test_a_finding_of_a_query_brings_its_own_program() -> None:
    found = finding(conn=None, query="q1")
    assert fold(found).feed(TRIGGER) == (found,)


def test_a_query_s_program_is_not_replaced_by_that_of_the_connection() -> None:
    """The same name by both ways: the leak is the query's."""
    found = replace(finding(query="q1"), process=None, process_reason="gone")
    folded = fold(found)
    folded.feed(ProcessSought(AT, "c1"))
    assert folded.feed(TRIGGER) == (found,), "it waits for nobody"
    folded.feed(ProcessIdentified(AT, "c1", CURL))
    (again,) = folded.feed(TRIGGER)
    assert (again.process, again.process_reason, again.count) == (None, "gone", 2)


def test_what_is_found_by_a_look_up_itself_is_told() -> None:
    found = finding(conn=None, query="q1")
    folded = Attributed(lambda event: (found,) if isinstance(event, ProcessIdentified) else ())
    assert folded.feed(ProcessIdentified(AT, "c1", CURL)) == (found,)


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


class TestWhatItIsToldWith:
    """Advice for the program, and the count."""

    @staticmethod
    def told(*events_: Event) -> list[LeakFound]:
        folded = Attributed(
            lambda event: (finding(), finding(None, 2, "q1")) if isinstance(event, Draining) else (),
            lambda found, process, _reason: Told(
                f"advice.for.{process.name}" if process else "advice.nobody",
                Confidence.PROBABLE,
                (*found.evidence, "e"),
            ),
        )
        return [found for event in events_ for found in folded.feed(event)]

    def test_advice_is_chosen_once_the_program_is_known(self) -> None:
        of_query, of_connection = self.told(ProcessSought(AT, "c1"), TRIGGER, ProcessIdentified(AT, "c1", CURL))
        assert (of_query.query, of_query.advice) == ("q1", "advice.nobody")
        assert (of_connection.conn, of_connection.advice) == ("c1", "advice.for.curl")
        assert (of_connection.confidence, of_connection.evidence) == ("probable", (*SAMPLE.evidence, "e"))

    def test_without_anything_to_tell_it_is_told_as_it_came(self) -> None:
        (found,) = fold(finding()).feed(TRIGGER)
        assert found.advice == SAMPLE.advice

    def test_it_is_counted_as_it_is_told(self) -> None:
        found = self.told(ProcessSought(AT, "c1"), TRIGGER, ProcessIdentified(AT, "c1", CURL), TRIGGER, TRIGGER)
        assert [each.count for each in found if each.conn] == [1, 2, 3]
        assert [each.count for each in found if each.query] == [1, 2, 3]


def test_the_fold_of_a_running_shim_joins_names_and_advises() -> None:
    folded = whole_fold(table(), "w1f")
    story = Story()
    story.connect(IPv4Address("93.184.216.34"))
    (asked,) = story.events
    told = [
        found
        for event in (ProcessSought(AT, "c1"), asked, ProcessIdentified(AT, "c1", CURL))
        for found in folded.feed(event)
    ]
    assert [(each.finding, each.process, each.advice) for each in told] == [("w1f1", CURL, "advice.for.curl.socks5")]
