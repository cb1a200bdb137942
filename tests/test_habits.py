"""shim.judge.habits: many addresses and nothing else, and all that is not that."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from shim.judge.endpoints import NAMED_PORTS
from shim.judge.habits import ENOUGH, MAX_CLIENTS, Habits


def v4(last: int) -> IPv4Address:
    return IPv4Address(f"203.0.113.{last}")


def given(habits: Habits, *lasts: int, client: str = "c", at: float = 0.0, port: int = 443) -> list[bool]:
    """Addresses one after the other, a second apart."""
    return [habits.only_addresses(client, v4(last), port, at + place) for place, last in enumerate(lasts)]


def test_the_fifth_address_and_all_that_follow() -> None:
    assert given(Habits(), 1, 2, 3, 4, 5, 6, 1) == [False] * 4 + [True] * 3


def test_the_same_address_again_is_no_other() -> None:
    habits = Habits()
    assert given(habits, *[1, 2, 3, 4] * 5) == [False] * 20
    assert habits.only_addresses("c", IPv6Address("::ffff:203.0.113.4"), 443, 21.0) is False
    assert habits.only_addresses("c", IPv6Address("2001:db8::1"), 443, 22.0) is True


@pytest.mark.parametrize("place", range(ENOUGH))
def test_one_name_among_them_speaks_against_it(place: int) -> None:
    habits = Habits()
    for number in range(20):
        if number == place:
            habits.named("c", float(number))
        assert not habits.only_addresses("c", v4(number), 443, float(number))


def test_a_name_of_long_ago_does_not() -> None:
    habits = Habits()
    habits.named("c", 0.0)
    assert given(habits, 1, 2, 3, 4, 5, at=590.0) == [False] * 5
    assert given(habits, 6, 7, 8, at=598.0) == [False, False, False]
    assert given(habits, 9, at=601.0) == [True]


def test_addresses_of_long_ago_do_not_count() -> None:
    habits = Habits()
    given(habits, 1, 2, 3, 4)
    assert given(habits, 5, at=700.0) == [False]
    assert given(habits, 6, 7, 8, 9, at=701.0) == [False, False, False, True]


def test_the_address_that_is_longest_ago_is_forgotten_first() -> None:
    habits = Habits()
    given(habits, 1, 2, 3, 4)
    assert given(habits, 1, 5, at=500.0) == [False, True]
    assert given(habits, 6, at=602.0) == [True], "2 is forgotten, 1 was given again"


@pytest.mark.parametrize("port", [8333, 6881, 51413, 50002, 22, 0])
def test_peers_are_given_by_address_everywhere(port: int) -> None:
    habits = Habits()
    assert given(habits, *range(100), port=port) == [False] * 100
    assert given(habits, *range(10)) == [False] * 10, "a swarm has peers at port 443 too"


@pytest.mark.parametrize("port", sorted(NAMED_PORTS))
def test_services_that_have_names(port: int) -> None:
    assert given(Habits(), 1, 2, 3, 4, 5, port=port)[-1]


def test_each_client_has_its_own_habits() -> None:
    habits = Habits()
    for number in range(ENOUGH - 1):
        for client in ("a", "b"):
            assert not habits.only_addresses(client, v4(number), 443, float(number))
    habits.named("a", 4.0)
    assert given(habits, 9, client="a", at=5.0) == [False]
    assert given(habits, 9, client="b", at=5.0) == [True]


def test_a_flood_of_clients_stays_within_bounds() -> None:
    habits = Habits()
    for number in range(3 * MAX_CLIENTS):
        habits.named(f"c{number}", 0.0)
        habits.only_addresses("c", v4(number % 250), 443, 0.0)
    assert len(habits) == MAX_CLIENTS
    assert max(len(habit.addresses) for habit in habits._habits.values()) <= ENOUGH


def test_who_comes_to_many_is_remembered_and_the_first_is_not() -> None:
    habits = Habits()
    habits.named("first", 0.0)
    for number in range(MAX_CLIENTS):
        habits.named(f"c{number}", 0.0)
    assert given(habits, *range(ENOUGH), client=f"c{MAX_CLIENTS - 1}") == [False] * ENOUGH, "it gave a name"
    assert given(habits, *range(ENOUGH), client="first")[-1], "that it gave a name is forgotten"
