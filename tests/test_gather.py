"""Gathering: the first at once, the rest counted, the count told when the window ends, nothing lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shim.record.gather import Gathered, Gatherer


def test_the_first_is_shown_and_the_rest_is_counted_until_the_window_ends() -> None:
    gatherer = Gatherer(60)
    assert gatherer.admit("curl", "address_only", 100.0)
    assert not gatherer.admit("curl", "address_only", 101.0)
    assert not gatherer.admit("curl", "address_only", 159.9)
    assert gatherer.ended(159.9) == []
    assert gatherer.ended(160.0) == [Gathered("curl", "address_only", 2, 60)]
    assert gatherer.ended(161.0) == []
    assert gatherer.admit("curl", "address_only", 161.0)


def test_programs_and_kinds_are_apart() -> None:
    gatherer = Gatherer()
    assert gatherer.admit("curl", "address_only", 0)
    assert gatherer.admit("curl", "bind_attempt", 0)
    assert gatherer.admit("wget", "address_only", 0)
    assert not gatherer.admit("wget", "address_only", 0)


def test_a_window_in_which_nothing_was_held_back_ends_in_silence() -> None:
    gatherer = Gatherer(60)
    gatherer.admit("curl", "address_only", 0)
    assert gatherer.ended(60) == []
    assert gatherer.admit("curl", "address_only", 60)


def test_windows_end_each_at_its_time() -> None:
    gatherer = Gatherer(60)
    for at, program in enumerate("abc"):
        gatherer.admit(program, "x", at)
        gatherer.admit(program, "x", at)
    assert gatherer.ended(61) == [Gathered("a", "x", 1, 60), Gathered("b", "x", 1, 60)]
    assert gatherer.close() == [Gathered("c", "x", 1, 60)]
    assert gatherer.close() == []


def test_higher_confidence_is_news_once() -> None:
    gatherer = Gatherer()
    assert gatherer.admit("curl", "address_only", 0, rank=0)
    assert gatherer.admit("curl", "address_only", 1, rank=1, again=True)
    assert not gatherer.admit("curl", "address_only", 2, rank=1)
    assert not gatherer.admit("curl", "address_only", 2, rank=0)
    assert gatherer.admit("curl", "address_only", 3, rank=2)


def test_a_later_revision_is_not_counted_again() -> None:
    gatherer = Gatherer()
    gatherer.admit("curl", "address_only", 0, rank=1)
    gatherer.admit("curl", "address_only", 1, rank=0)
    assert not gatherer.admit("curl", "address_only", 2, rank=1, again=True)
    assert gatherer.close() == [Gathered("curl", "address_only", 1, 60)]


def test_a_clock_that_was_set_back_does_not_silence_for_long() -> None:
    gatherer = Gatherer(60)
    gatherer.admit("curl", "x", 10_000)
    gatherer.admit("curl", "x", 10_001)
    assert gatherer.ended(5_000) == [Gathered("curl", "x", 1, 60)]


def test_memory_is_bounded_and_nobody_is_silenced_by_it() -> None:
    gatherer = Gatherer()
    for number in range(5000):
        assert gatherer.admit(f"program {number}", "x", 0)
    assert not gatherer.admit("program 0", "x", 0)
    assert gatherer.admit("program 4999", "x", 0)
    assert gatherer.close() == [Gathered("program 0", "x", 1, 60)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 30)), max_size=60))
def test_shown_and_held_back_make_up_the_whole(steps: list[tuple[str, float]]) -> None:
    gatherer, now, shown, told = Gatherer(20), 0.0, 0, 0
    for program, pause in steps:
        now += pause
        told += sum(one.count for one in gatherer.ended(now))
        shown += gatherer.admit(program, "x", now)
    told += sum(one.count for one in gatherer.close())
    assert shown + told == len(steps)
