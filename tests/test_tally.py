"""Counts: of the same program, kind and name; each finding once, whatever its revisions; nothing is kept for ever."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from samples import AT, CURL, PIP, leak

from shim.events import LeakFound
from shim.judge import tally
from shim.judge.tally import Tally
from shim.model import LeakKind, Process

PYTHON = Process(4300, "python3", "/usr/bin/python3.11", script="backup.py")


def found(number: int, at: float = AT, **more: object) -> LeakFound:
    told = leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5", finding=f"f{number}", process=CURL)
    return replace(told, at=at, **more)  # type: ignore[arg-type]


class Counter(Tally):
    """Counts each finding under the program that it bears."""

    def of(self, found: LeakFound) -> int:
        return self.count(found, found.process)


def test_the_same_again_counts_up() -> None:
    counter = Counter()
    assert [counter.of(found(number)) for number in range(5)] == [1, 2, 3, 4, 5]


def test_programs_kinds_and_names_are_apart() -> None:
    counter = Counter()
    others = (
        found(1),
        found(2, process=PIP),
        found(3, process=PYTHON),
        found(4, process=None),
        found(5, kind=LeakKind.BIND_ATTEMPT),
        found(6, name="host.example"),
        found(7, name="other.example"),
    )
    assert {counter.of(each) for each in others} == {1}
    assert {counter.of(replace(each, finding=f"again {each.finding}")) for each in others} == {2}


def test_another_process_of_the_same_program_is_the_same() -> None:
    counter = Counter()
    counter.of(found(1))
    assert counter.of(found(2, process=replace(CURL, pid=5000))) == 2


def test_a_revision_is_no_new_finding() -> None:
    counter = Counter()
    counter.of(found(1))
    assert counter.of(found(2)) == 2
    assert counter.of(found(1, revision=2)) == 1
    assert counter.of(found(3)) == 3


def test_a_revision_that_brings_a_name_counts_under_that_name() -> None:
    counter = Counter()
    for number in (1, 2):
        counter.of(found(number))
        assert counter.of(found(number, revision=2, name="host.example")) == number
        assert counter.of(found(number, revision=3, name="host.example")) == number


def test_what_has_long_not_come_again_begins_anew() -> None:
    counter = Counter()
    assert [counter.of(found(number, AT + 500 * number)) for number in range(4)] == [1, 2, 3, 4]
    assert counter.of(found(5, AT + 500 * 3 + 601)) == 1


def test_memory_is_bounded() -> None:
    counter = Counter()
    for number in range(5 * tally._ENTRIES):
        counter.of(found(number, name=f"{number}.example"))
    assert len(counter._counts) <= 2 * tally._ENTRIES
    assert len(counter._counted) <= 2 * tally._ENTRIES


@given(st.lists(st.tuples(st.sampled_from(("curl", "pip", None)), st.sampled_from(("a.example", None))), max_size=40))
def test_the_last_count_of_each_is_how_many_there_were(told: list[tuple[str | None, str | None]]) -> None:
    counter = Counter()
    programs = {"curl": CURL, "pip": PIP, None: None}
    counts = [counter.of(found(n, process=programs[who], name=name)) for n, (who, name) in enumerate(told)]
    for each in set(told):
        mine = [count for count, one in zip(counts, told, strict=True) if one == each]
        assert mine == list(range(1, told.count(each) + 1))
