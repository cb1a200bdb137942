"""shim.judge.issued: one address a name, none for another name in quarantine, bounded, restored as it was."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shim.config.settings import Dns
from shim.judge.issued import CAPACITY, JITTER_S, IssuedPool
from shim.model import Knowledge, Standing

SMALL4 = IPv4Network("198.18.7.0/29")  # gives .1 to .6, three at a time
SMALL6 = IPv6Network("2001:2:0:7::/125")
LIVE_S, QUARANTINE_S = 100.0, 50.0
UNKNOWN, STALE = Knowledge(), Knowledge(Standing.STALE)


def small(start: int = 0, network6: IPv6Network | None = SMALL6, capacity: int = 3) -> IssuedPool:
    """A pool that is soon full."""
    return IssuedPool(SMALL4, network6, start=start, live_s=LIVE_S, quarantine_s=QUARANTINE_S, capacity=capacity)


def v4(last: int) -> IPv4Address:
    return IPv4Address(f"198.18.7.{last}")


def test_a_name_has_one_address_in_each_family() -> None:
    pool = small()
    assert pool.issue("a.example", 0.0) == v4(1)
    assert pool.issue("b.example", 1.0) == v4(2)
    assert pool.issue("a.example", 2.0, 4) == v4(1)
    assert pool.issue("a.example", 3.0, 6) == IPv6Address("2001:2:0:7::1")
    assert pool.issue("a.example", 4.0, 6) == IPv6Address("2001:2:0:7::1")
    assert len(pool) == 3


def test_the_defaults_are_the_benchmarking_networks() -> None:
    pool = IssuedPool(start=2**80 + 5)
    four, six = pool.issue("a.example", 0.0), pool.issue("a.example", 0.0, 6)
    assert four in IPv4Network("198.18.0.0/15")
    assert six in IPv6Network("2001:2::/48")
    assert IssuedPool(start=7).issue("a.example", 0.0) == IPv4Address("198.18.0.8")


def test_without_ipv6_there_is_none() -> None:
    pool = small(network6=None)
    assert pool.issue("a.example", 0.0, 6) is None
    assert pool.lookup(IPv6Address("2001:2:0:7::1"), 0.0) == UNKNOWN
    pool.touch(IPv6Address("2001:2:0:7::1"), 0.0)
    assert len(pool) == 0


@pytest.mark.parametrize("start", [0, 5, 6, -1, 10**30])
def test_the_first_and_the_last_of_a_network_are_never_issued(start: int) -> None:
    pool = small(start)
    seen = {pool.issue(f"n{n}.example", n * 200.0) for n in range(12)}
    assert seen == {v4(last) for last in range(1, 7)}


def test_lookup_tells_live_stale_and_outside() -> None:
    pool = small()
    pool.issue("a.example", 0.0)
    assert pool.lookup(v4(1), 100.0) == Knowledge(Standing.ISSUED, ("a.example",))
    assert pool.lookup(IPv6Address("::ffff:198.18.7.1"), 100.0) == Knowledge(Standing.ISSUED, ("a.example",))
    assert pool.lookup(v4(1), 100.1) == Knowledge(Standing.STALE, ("a.example",))
    assert pool.lookup(v4(2), 0.0) == STALE
    assert pool.lookup(v4(0), 0.0) == STALE, "of the network, though never issued"
    assert pool.lookup(v4(7), 0.0) == STALE
    assert pool.lookup(v4(8), 0.0) == UNKNOWN
    assert pool.lookup(IPv4Address("198.18.6.255"), 0.0) == UNKNOWN
    assert pool.lookup(IPv6Address("2001:2:0:7::7"), 0.0) == STALE
    assert pool.lookup(IPv6Address("2001:2:0:7::8"), 0.0) == UNKNOWN


def test_a_request_keeps_an_entry_live() -> None:
    pool = small()
    pool.issue("a.example", 0.0)
    for at in (90.0, 180.0, 270.0):
        pool.touch(v4(1), at)
    assert pool.lookup(v4(1), 370.0).standing is Standing.ISSUED


def test_a_lookup_alone_does_not() -> None:
    pool = small()
    pool.issue("a.example", 0.0)
    pool.lookup(v4(1), 90.0)
    assert pool.lookup(v4(1), 110.0).standing is Standing.STALE


def test_a_request_does_not_make_a_stale_entry_live() -> None:
    pool = small(capacity=1)
    pool.issue("a.example", 0.0)
    pool.touch(v4(1), 140.0)
    assert pool.lookup(v4(1), 140.0) == Knowledge(Standing.STALE, ("a.example",))
    assert pool.issue("b.example", 151.0) is None, "but its quarantine begins anew"


def test_its_own_name_brings_a_stale_address_back() -> None:
    pool = small()
    pool.issue("a.example", 0.0)
    assert pool.issue("a.example", 140.0) == v4(1)
    assert pool.lookup(v4(1), 240.0).standing is Standing.ISSUED


def test_nothing_happens_to_an_address_that_nobody_was_given() -> None:
    pool = small()
    pool.touch(v4(3), 0.0)
    pool.touch(IPv4Address("192.0.2.1"), 0.0)
    assert len(pool) == 0


def test_a_full_pool_refuses_and_evicts_nobody() -> None:
    pool = small()
    names = ["a.example", "b.example", "c.example"]
    assert [pool.issue(name, 0.0) for name in names] == [v4(1), v4(2), v4(3)]
    assert pool.issue("d.example", 1.0) is None
    assert pool.issue("d.example", 150.0) is None, "still in quarantine"
    assert [pool.lookup(v4(last), 50.0).names for last in (1, 2, 3)] == [(name,) for name in names]
    assert pool.issue("d.example", 150.1) == v4(4), "an address that was never used comes first"


def test_a_name_that_was_forgotten_is_a_new_one() -> None:
    pool = small(capacity=1)
    assert pool.issue("a.example", 0.0) == v4(1)
    assert pool.issue("b.example", 200.0) == v4(2)
    assert pool.issue("a.example", 201.0) is None
    assert pool.issue("a.example", 400.0) == v4(3)
    assert pool.lookup(v4(1), 400.0) == STALE


def test_requests_keep_the_order_of_use() -> None:
    pool = small(capacity=2)
    pool.issue("a.example", 0.0)
    pool.issue("b.example", 10.0)
    pool.touch(v4(1), 20.0)
    assert pool.issue("c.example", 160.5) == v4(3), "b is free, which was used before a"
    assert pool.lookup(v4(1), 160.5).names == ("a.example",)
    assert pool.lookup(v4(2), 160.5) == STALE


def test_a_network_is_never_given_out_by_more_than_half() -> None:
    pool = small(capacity=1000)
    assert [pool.issue(f"{n}.example", 0.0) for n in range(4)] == [v4(1), v4(2), v4(3), None]


def test_the_search_passes_what_is_held() -> None:
    pool = small()
    pool.issue("kept.example", 0.0)
    for turn in range(20):
        at = 200.0 * turn
        for step in range(4):
            pool.touch(v4(1), at + 50 * step)
        address = pool.issue(f"{turn}.example", at + 150)
        assert address not in (None, v4(1))
    assert pool.lookup(v4(1), at + 150).names == ("kept.example",)


def test_the_default_is_what_the_default_network_can_give() -> None:
    """Half of a /15 less its first and last address: one more would be promised and not kept."""
    pool = IssuedPool(start=7, capacity=Dns().capacity)
    assert Dns().capacity == CAPACITY
    assert all(pool.issue(f"{number}.example", 0.0) for number in range(CAPACITY))
    assert pool.issue("one.too.many.example", 0.0) is None


def test_a_flood_of_names_stays_within_the_capacity() -> None:
    pool = IssuedPool(start=1, live_s=10.0, quarantine_s=10.0, capacity=500)
    issued = sum(pool.issue(f"n{n}.example", n / 1000) is not None for n in range(50_000))
    assert len(pool) == 500
    assert issued == 1500, "500 at once, and 500 more after each 20 s"


def test_a_small_step_back_is_no_step() -> None:
    pool = small(capacity=1)
    pool.issue("a.example", 1000.0)
    pool.touch(v4(1), 1000.0 - JITTER_S)
    assert pool.issue("b.example", 1150.0) is None
    assert pool.issue("b.example", 1150.1) == v4(2)


def test_a_clock_set_back_neither_ends_nor_prolongs_a_quarantine() -> None:
    pool = small(capacity=1)
    pool.issue("a.example", 1e9)
    assert pool.lookup(v4(1), 0.0).standing is Standing.ISSUED
    assert pool.lookup(v4(1), 100.0).standing is Standing.ISSUED
    assert pool.lookup(v4(1), 101.0).standing is Standing.STALE
    assert pool.issue("b.example", 150.0) is None
    assert pool.issue("b.example", 151.0) == v4(2)


@pytest.mark.parametrize(
    ("network", "live_s", "quarantine_s", "capacity"),
    [
        ("198.18.7.0/31", 1, 1, 1),
        ("198.18.7.0/32", 1, 1, 1),
        ("198.18.7.0/29", 0, 1, 1),
        ("198.18.7.0/29", 1, -1, 1),
        ("198.18.7.0/29", float("nan"), 1, 1),
        ("198.18.7.0/29", 1, 1, 0),
    ],
)
def test_a_pool_that_could_not_work_is_refused(network: str, live_s: float, quarantine_s: float, capacity: int) -> None:
    with pytest.raises(ValueError, match=r"live_s|pool needs"):
        IssuedPool(IPv4Network(network), start=0, live_s=live_s, quarantine_s=quarantine_s, capacity=capacity)


def through_json(pool: IssuedPool) -> Any:
    return json.loads(json.dumps(pool.dump()))


def test_a_restart_changes_no_name() -> None:
    pool = small()
    pool.issue("a.example", 0.0)
    pool.issue("b.example", 10.0)
    pool.issue("a.example", 20.0, 6)
    after = small(start=3)
    after.issue("gone.example", 0.0)
    after.restore(through_json(pool), 60.0)
    assert after.dump()["entries"] == pool.dump()["entries"]
    assert after.lookup(v4(1), 100.0) == Knowledge(Standing.ISSUED, ("a.example",))
    assert after.lookup(v4(1), 101.0).standing is Standing.STALE
    assert after.issue("b.example", 101.0) == v4(2)
    assert after.issue("gone.example", 101.0) not in (None, v4(1), v4(2)), "of what there was before nothing is left"


def test_after_a_restart_others_follow_at_a_distance() -> None:
    """What was issued between the last dump and a crash is not known; its addresses are not next."""
    pool = small()
    state = through_json(pool)
    assert pool.issue("lost.example", 0.0) == v4(1)
    after = small()
    after.restore(state, 1.0)
    assert after.issue("new.example", 1.0) == v4(4)


def test_what_does_not_fit_is_not_restored() -> None:
    rows = [
        ["198.18.7.1", "old.example", 0.0, 0.0],
        ["198.18.7.2", "a.example", 900.0, 900.0],
        ["198.18.7.2", "taken.example", 860.0, 860.0],
        ["198.18.7.3", "a.example", 700.0, 950.0],
        ["198.18.7.0", "network.example", 900.0, 900.0],
        ["198.18.7.7", "broadcast.example", 900.0, 900.0],
        ["203.0.113.1", "elsewhere.example", 900.0, 900.0],
        ["2001:2:0:7::1", "six.example", 900.0, 900.0],
    ]
    pool = small(network6=None)
    pool.restore({"version": 1, "next": ["203.0.113.9"], "entries": rows}, 1000.0)
    assert pool.dump()["entries"] == [
        ("198.18.7.2", "taken.example", 860.0, 860.0),
        ("198.18.7.3", "a.example", 700.0, 950.0),
    ]


def test_of_too_many_the_latest_are_restored() -> None:
    rows = [[str(v4(last)), f"{last}.example", float(last), float(last)] for last in (1, 5, 3, 4, 2, 6)]
    pool = small()
    pool.restore({"version": 1, "next": [], "entries": rows}, 10.0)
    assert [row[1] for row in pool.dump()["entries"]] == ["4.example", "5.example", "6.example"]
    assert pool.issue("7.example", 154.0) is None
    assert pool.issue("7.example", 154.1) == v4(1), "the earliest of them is free first"


def test_what_was_used_in_the_future_was_used_now() -> None:
    pool = small()
    pool.restore({"version": 1, "next": [], "entries": [["198.18.7.1", "a.example", 1e9, 1e9]]}, 0.0)
    assert pool.lookup(v4(1), 100.0).standing is Standing.ISSUED
    assert pool.lookup(v4(1), 101.0).standing is Standing.STALE


ROW = ["198.18.7.1", "a.example", 1.0, 1.0]


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        "{}",
        {},
        {"version": 2, "next": [], "entries": []},
        {"version": 1, "next": [], "entries": "x"},
        {"version": 1, "next": "198.18.7.1", "entries": []},
        {"version": 1, "next": ["here"], "entries": []},
        {"version": 1, "next": [None], "entries": []},
        *({"version": 1, "next": [], "entries": [row]} for row in ([], ROW[:3], [*ROW, 1.0], ["x", *ROW[1:]])),
        {"version": 1, "next": [], "entries": [["198.18.7.1", 5, 1.0, 1.0]]},
        *(
            {"version": 1, "next": [], "entries": [["198.18.7.1", "secret.example", time, 1.0]]}
            for time in ("1", None, float("nan"), float("inf"), 10**400)
        ),
    ],
)
def test_what_is_no_state_changes_nothing_and_is_not_repeated(state: object) -> None:
    pool = small()
    pool.issue("a.example", 0.0)
    with pytest.raises(ValueError, match="issued addresses") as raised:
        pool.restore(state, 1.0)
    assert "secret" not in str(raised.value)
    assert "here" not in str(raised.value)
    assert pool.lookup(v4(1), 1.0).names == ("a.example",)


NAMES = st.sampled_from([f"{letter}.example" for letter in "abcdefgh"])


class Clients(RuleBasedStateMachine):
    """Any order of queries, requests, restarts and clocks, against what the clients were told."""

    # A quarantine of many lives: the ring comes round before it has passed.
    live_s, quarantine_s = 20.0, 100.0

    @initialize(start=st.integers(0, 10), prefix=st.sampled_from([29, 30]))
    def begin(self, start: int, prefix: int) -> None:
        self.network = IPv4Network(f"198.18.7.0/{prefix}")
        self.pool = self.new_pool(start)
        self.at = 1000.0
        self.told: dict[IPv4Address | IPv6Address, str] = {}  # the last name each address was given for
        self.clock: dict[IPv4Address | IPv6Address, list[float]] = {}  # all times since its last use

    def new_pool(self, start: int) -> IssuedPool:
        times = {"live_s": self.live_s, "quarantine_s": self.quarantine_s}
        return IssuedPool(self.network, SMALL6, start=start, capacity=3, **times)

    def tick(self) -> None:
        for times in self.clock.values():
            times.append(self.at)

    @rule(name=NAMES, family=st.sampled_from([4, 6]))
    def query(self, name: str, family: Any) -> None:
        self.tick()
        address = self.pool.issue(name, self.at, family)
        if address is None:
            assert len(self.pool) >= (3 if self.network.prefixlen == 29 else 1), "only a full pool refuses"
            mine = [given for given, known in self.told.items() if known == name and given.version == family]
            assert self.issued(name) not in [self.pool.lookup(given, self.at) for given in mine]
            return
        if self.told.get(address, name) != name:
            times = self.clock[address]
            assert max(times) - min(times) > self.live_s + self.quarantine_s, (
                "no other name before its quarantine has passed"
            )
        self.told[address] = name
        self.clock[address] = [self.at]
        assert self.pool.lookup(address, self.at) == self.issued(name)

    @rule(last=st.integers(0, 8))
    def request(self, last: int) -> None:
        self.tick()
        address = v4(last)
        known = self.pool.lookup(address, self.at)
        assert known.names in ((), (self.told.get(address),))
        self.pool.touch(address, self.at)
        assert self.pool.lookup(address, self.at) == known
        if address in self.clock and known.names:
            self.clock[address] = [self.at]

    @rule(seconds=st.sampled_from([0.5, 10.0, 20.5, 60.0, 120.5]))
    def wait(self, seconds: float) -> None:
        self.at += seconds

    @rule(seconds=st.sampled_from([0.5, 2.0, 60.0, 500.0]))
    def set_clock_back(self, seconds: float) -> None:
        self.at -= seconds

    @precondition(lambda self: self.told)
    @rule(start=st.integers(0, 10))
    def restart(self, start: int) -> None:
        self.tick()
        state = through_json(self.pool)
        self.pool = self.new_pool(start)
        self.pool.restore(state, self.at)

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "pool"):
            rows = self.pool.dump()["entries"]
            assert len(rows) == len(self.pool) <= 6
            assert len({row[0] for row in rows}) == len(rows)
            assert len({(row[1], ":" in row[0]) for row in rows}) == len(rows), "one address a name"
            for four in (True, False):
                held = [row[3] for row in rows if (":" in row[0]) is not four]
                assert held == sorted(held)

    @staticmethod
    def issued(name: str) -> Knowledge:
        return Knowledge(Standing.ISSUED, (name,))


TestClients = Clients.TestCase
