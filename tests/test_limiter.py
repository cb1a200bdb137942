"""shim.sensor.limiter: tokens by client, refilled by time, and never more clients than fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.sensor.limiter import MAX_CLIENTS, RateLimiter

HERE, THERE = "127.0.0.1", "127.0.0.2"


def asked(limiter: RateLimiter, client: str, at: float, times: int) -> int:
    """How many of `times` queries at one moment are allowed."""
    return sum(limiter.allows(client, at) for _ in range(times))


def test_a_burst_of_one_seconds_worth_and_then_the_rate() -> None:
    limiter = RateLimiter(128)
    assert asked(limiter, HERE, 0.0, 200) == 128
    assert asked(limiter, HERE, 0.25, 200) == 32
    assert asked(limiter, HERE, 0.375, 200) == 16


def test_rest_fills_the_bucket_and_no_more() -> None:
    limiter = RateLimiter(100)
    assert asked(limiter, HERE, 0.0, 100) == 100
    assert asked(limiter, HERE, 3600.0, 500) == 100


def test_clients_do_not_pay_for_each_other() -> None:
    limiter = RateLimiter(10)
    assert asked(limiter, HERE, 0.0, 50) == 10
    assert asked(limiter, THERE, 0.0, 50) == 10


def test_zero_is_no_limit_and_remembers_nobody() -> None:
    limiter = RateLimiter(0)
    assert asked(limiter, HERE, 0.0, 10_000) == 10_000
    assert len(limiter) == 0


def test_a_clock_set_back_refills_nothing_and_blocks_nobody() -> None:
    limiter = RateLimiter(10)
    assert asked(limiter, HERE, 1000.0, 10) == 10
    assert asked(limiter, HERE, 0.0, 5) == 0
    assert asked(limiter, HERE, 0.5, 50) == 5


def test_many_clients_cost_the_longest_idle_its_bucket_only() -> None:
    limiter = RateLimiter(2)
    assert asked(limiter, HERE, 0.0, 2) == 2
    for number in range(MAX_CLIENTS * 3):
        assert limiter.allows(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
        assert not limiter.allows(HERE, 0.0), "who goes on asking is not forgotten"
    assert len(limiter) == MAX_CLIENTS
    assert asked(limiter, "192.0.2.1", 0.0, 50) == 2, "nor is who has only just come"


@pytest.mark.parametrize("rate", [1, 7, 5000])
@given(gaps=st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_never_more_than_the_rate_and_one_burst(rate: int, gaps: list[float]) -> None:
    limiter, at, allowed = RateLimiter(rate), 0.0, 0
    for gap in gaps:
        at += gap
        allowed += asked(limiter, HERE, at, 3)
    assert allowed <= rate + rate * at + 1e-6
