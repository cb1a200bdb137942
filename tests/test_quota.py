"""Counting connections: each limit by its name, both ends of every count, limits replaced while running."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shim.proxy.quota import Limits, Quota


def test_the_limit_that_is_exceeded_is_named() -> None:
    quota = Quota(Limits(connections=3, connections_per_client=2, handshakes=100))
    assert [quota.admit(client) for client in "aab"] == [None, None, None]
    assert quota.admit("b") == "connections"
    quota.leave("b")
    quota.leave("b")
    assert quota.admit("a") == "connections_per_client"
    quota.leave("a")
    assert quota.admit("b") is None


def test_programs_count_once_half_is_taken_for_a_client_or_for_all() -> None:
    quota = Quota(Limits(connections=8, connections_per_client=4, connections_per_process=1))
    pressed = []
    for client in "aaabcd":
        assert quota.admit(client) is None
        pressed.append(quota.is_pressed(client))
    assert pressed == [False, False, True, False, True, True]
    assert quota.admit_program((7, 100)) is None
    assert quota.admit_program((7, 100)) == "connections_per_process"
    assert quota.admit_program((7, 200)) is None, "the number of a process that has ended"
    quota.leave("a", (7, 100))
    assert quota.admit_program((7, 100)) is None


def test_handshakes_are_free_again_once_established() -> None:
    quota = Quota(Limits(handshakes=1))
    assert quota.admit("a") is None
    assert quota.admit("a") == "handshakes"
    quota.established()
    quota.leave("a")
    quota.established()
    assert quota.admit("a") is None
    assert (quota.open, quota.handshakes) == (2, 1)


def test_new_limits_hold_at_once_and_spare_those_who_are_in() -> None:
    quota = Quota(Limits(connections=10))
    for _ in range(5):
        quota.admit("a")
    quota.limits = Limits(connections=2)
    assert quota.open == 5
    assert quota.admit("a") == "connections"
    quota.limits = Limits(connections=7)
    assert quota.admit("a") is None


@given(st.lists(st.sampled_from("abc")))
def test_when_all_have_left_nothing_is_remembered(clients: list[str]) -> None:
    quota = Quota(Limits(connections=4, connections_per_client=2, handshakes=3))
    for client in clients:
        quota.admit(client)
    assert quota.open == len(clients)
    for client in sorted(clients):
        quota.established()
        quota.leave(client)
    assert (quota.open, quota.handshakes, quota._clients) == (0, 0, {})
