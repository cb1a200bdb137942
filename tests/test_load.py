"""Thousands of tunnels at once and of connections in a row with random ends: nothing is left, and none is lost.

A few seconds of `python -m load`. Nothing is timed; memory is compared with a wide margin.
"""

from __future__ import annotations

from pathlib import Path

from load.crowds import far, held, lived
from load.watched import Watched

TUNNELS, CONNECTIONS = 2000, 5000
SPARE_PIPES = 32
MARGIN_KIB = 8 << 10
PER_TUNNEL_KIB = 16
"""At most; `docs/benchmarks.md` has the figure."""


def test_many_tunnels_at_once(tmp_path: Path) -> None:
    with far() as upstream, Watched(tmp_path, "--upstream", upstream) as shim:
        came = lived(shim.socks, 60, 200).came
        shim.settle(came)
        before = shim.holdings()
        for turn in (1, 2):
            with held(shim.socks, TUNNELS, 2) as count:
                assert count == TUNNELS
                full = shim.holdings()
                assert full.inside["open"] == TUNNELS
                assert full.sockets == before.sockets + 2 * TUNNELS, "two sockets a tunnel, and nothing else"
                assert full.pipes <= before.pipes + 2 * SPARE_PIPES, "an idle tunnel owns no pipe"
                assert full.resident_kib < before.resident_kib + PER_TUNNEL_KIB * TUNNELS
            shim.settle(came + turn * TUNNELS)
            after = shim.holdings()
            assert after.leaks(before, SPARE_PIPES) == []
        assert after.resident_kib < before.resident_kib + MARGIN_KIB
        assert shim.stop() == 0
    assert [line["open"] for line in shim.lines("draining")] == [0]
    assert not shim.events["fault"]


def test_many_connections_in_a_row_with_random_ends(tmp_path: Path) -> None:
    with far() as upstream, Watched(tmp_path, "--upstream", upstream, "--dns", "127.0.0.1:0") as shim:
        first = lived(shim.socks, 60, CONNECTIONS // 5, dns=shim.dns, seed=1)
        shim.settle(first.came)
        before = shim.holdings()
        told = lived(shim.socks, 90, CONNECTIONS, dns=shim.dns, seed=100)
        assert told.errors == ()
        assert told.came > CONNECTIONS * 0.8, "the others asked for names"
        shim.settle(first.came + told.came)
        after = shim.holdings()
        assert after.leaks(before, SPARE_PIPES) == []
        assert after.resident_kib < before.resident_kib + MARGIN_KIB
        assert shim.stop() == 0
    assert [line["open"] for line in shim.lines("draining")] == [0]
    assert not shim.events["fault"] and not shim.events["(no event)"]
