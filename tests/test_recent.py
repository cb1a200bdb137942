"""shim.judge.recent: the latest is there, the too old is not, and there are never too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shim.judge.recent import Recent


def test_the_latest_value_of_a_key() -> None:
    recent: Recent[str, int] = Recent(10, 600.0)
    recent.put("a", 1, 0.0)
    recent.put("a", 2, 1.0)
    assert (recent.get("a", 2.0), recent.get("b", 2.0), len(recent)) == (2, None, 1)


def test_a_value_ages_from_when_it_was_put() -> None:
    recent: Recent[str, int] = Recent(10, 600.0)
    recent.put("a", 1, 100.0)
    recent.put("b", 2, 400.0)
    assert (recent.get("a", 700.0), recent.get("a", 700.5), recent.get("b", 700.5)) == (1, None, 2)
    recent.put("a", 3, 701.0)
    assert (recent.get("a", 1301.0), recent.get("b", 1000.0)) == (3, 2)


def test_what_is_too_old_is_dropped_by_what_comes() -> None:
    recent: Recent[str, int] = Recent(10, 600.0)
    for at in range(0, 6000, 600):
        recent.put(f"n{at}", at, float(at))
    assert len(recent) <= 4


def test_what_was_forgotten_is_not_there() -> None:
    recent: Recent[str, int] = Recent(2, 600.0)
    recent.put("a", 1, 0.0)
    recent.put("b", 2, 600.0)
    assert (recent.get("a", 600.0), recent.get("b", 600.0)) == (1, 2)
    for key in ("a", "b", "c"):
        recent.pop(key)
    assert len(recent) == 0


def test_a_clock_that_was_set_back_does_not_stop_the_forgetting() -> None:
    recent: Recent[int, int] = Recent(10, 600.0)
    recent.put(0, 0, 1e9)
    for number in range(1, 100):
        recent.put(number, number, number * 100.0)
    assert len(recent) <= 10
    assert recent.get(0, 9900.0) is None


def test_once_full_it_stays_full() -> None:
    recent: Recent[int, int] = Recent(8, 600.0)
    for number in range(100):
        recent.put(number, number, float(number))
        assert len(recent) == min(number + 1, 8)


_PUTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 300)), max_size=60)


@given(_PUTS, st.integers(1, 4))
def test_the_last_keys_are_there_and_no_others(puts: list[tuple[int, int]], entries: int) -> None:
    recent: Recent[int, float] = Recent(entries, 600.0)
    now = 0.0
    order: dict[int, float] = {}
    for key, pause in puts:
        now += pause
        recent.put(key, now, now)
        order.pop(key, None)
        order[key] = now
        assert len(recent) <= entries
    for place, (key, put_at) in enumerate(reversed(order.items())):
        value = recent.get(key, now)
        assert value == (None if now - put_at > 600.0 or place >= entries else put_at)
