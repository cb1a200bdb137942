"""The relay over real sockets: every byte, in order, with its end; pipes only for bulk; idle tunnels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rig.plane import PAIRS
from rig.tunnel import MIB, SMALL, Relayed, become_bulk, noise, ways

from shim.events import ConnectionClosed
from shim.proxy.pipes import Pipe, PipePool
from shim.proxy.poller import IN
from shim.proxy.quota import Limits
from shim.proxy.relay import SPLICE_AFTER, TURN_BYTES
from shim.proxy.wheel import TICK_S


@pytest.mark.parametrize("first", [0, 1])
def test_half_close_is_passed_on_and_the_other_way_goes_on(relay: Relayed, first: int) -> None:
    relay.open()
    source, sink, side = ways(relay)[first]
    relay.send(source, b"the last words")
    relay.run(lambda: not source.outbox)
    source.end()
    relay.run(lambda: sink.ended)
    assert sink.got == b"the last words"
    assert not relay.of(ConnectionClosed)
    relay.send(sink, noise(3 * MIB))
    relay.run(lambda: len(source.got) == 3 * MIB)
    assert source.got == noise(3 * MIB)
    assert not source.ended
    sink.end()
    relay.run(lambda: source.ended)
    assert not source.was_reset
    counts = (14, 3 * MIB) if not first else (3 * MIB, 14)
    assert relay.end_of_it == (f"{side}_closed", *counts)


def test_sixteen_megabytes_both_ways_at_once(relay: Relayed) -> None:
    relay.open()
    up, down = noise(16 * MIB), noise(16 * MIB, start=777)
    relay.send(relay.client, up)
    relay.send(relay.upstream, down)
    relay.run(lambda: len(relay.upstream.got) == len(up) and len(relay.client.got) == len(down))
    assert relay.upstream.got == up
    assert relay.client.got == down
    relay.finish()
    assert relay.closed.sent == relay.closed.received == 16 * MIB


@pytest.mark.parametrize("mask", [IN, 0], ids=["watched", "masked"])
def test_early_data_of_both_sides_goes_first(relay: Relayed, mask: int) -> None:
    reply = b"\5\0\0\1" + bytes(6)
    relay.open(early_up=b"GET / ", early_down=reply + b"220 ready", client_mask=mask, count=2)
    relay.send(relay.client, b"HTTP/1.0")
    relay.send(relay.upstream, b" to serve")
    relay.finish()
    assert relay.upstream.got == b"GET / HTTP/1.0"
    assert relay.client.got == reply + b"220 ready to serve"
    assert (relay.closed.sent, relay.closed.received) == (14, 2 + 28)


def test_early_data_that_the_sink_does_not_take_at_once(relay: Relayed) -> None:
    early = noise(2 * MIB)
    relay.open(early_down=early, early_up=early, buffer_bytes=SMALL)
    relay.run(lambda: len(relay.client.got) == len(relay.upstream.got) == len(early))
    relay.finish()
    assert relay.client.got == relay.upstream.got == early


def test_nothing_at_all_is_sent(relay: Relayed) -> None:
    relay.open()
    assert relay.settle() == 0
    relay.finish()
    assert relay.closed.sent == relay.closed.received == 0


class Rationed(PipePool):
    """A pool that has `ration` pipes and then says, as if descriptors had run out, that it has none."""

    def __init__(self, ration: int) -> None:
        super().__init__()
        self.ration = ration
        self.refused = 0

    def borrow(self) -> Pipe | None:
        self.ration -= 1
        if self.ration < 0:
            self.refused += 1
            return None
        return super().borrow()


@pytest.mark.parametrize("family", PAIRS)
@pytest.mark.parametrize("ration", [0, 1, 5])
def test_without_pipes_a_bulk_direction_is_copied(family: str, ration: int) -> None:
    with Relayed() as relay:
        relay.family = family
        relay.pool = relay.plane.pipes = pool = Rationed(ration)
        relay.open()
        data = noise(8 * MIB)
        relay.send(relay.client, data)
        relay.send(relay.upstream, data)
        relay.run(lambda: len(relay.upstream.got) == len(relay.client.got) == len(data))
        assert relay.upstream.got == relay.client.got == data
        assert pool.refused > 0
        relay.finish()


def test_small_flows_never_take_a_pipe_and_bulk_ones_do() -> None:
    with Relayed() as relay:
        assert relay.pool is not None
        relay.open(buffer_bytes=SMALL)
        relay.upstream.reads = False
        relay.send(relay.client, noise(SPLICE_AFTER))
        relay.rest()
        assert relay.pool.lent == 0
        relay.upstream.reads = True
        relay.run(lambda: len(relay.upstream.got) == SPLICE_AFTER)
        relay.upstream.reads = False
        relay.send(relay.client, noise(MIB))
        relay.rest()
        assert relay.pool.lent == 1
        relay.upstream.reads = True
        relay.finish()


def test_one_sender_cannot_keep_the_others_waiting() -> None:
    """However much there is to splice, one event moves only so much."""
    with Relayed() as relay:
        relay.open()
        become_bulk(relay)
        data = noise(8 * MIB)
        relay.send(relay.client, data)
        relay.upstream.reads = True
        most = moved = 0
        while moved < len(data):
            relay.pump()
            before = relay.tunnel._up.count
            relay.poller.dispatch()
            most = max(most, relay.tunnel._up.count - before)
            moved = len(relay.upstream.got)
        assert most <= TURN_BYTES
        relay.finish()


@pytest.fixture
def idle() -> Iterator[Relayed]:
    with Relayed(limits=Limits(idle_timeout_s=10)) as relay:
        yield relay


def test_a_quiet_tunnel_is_closed(idle: Relayed) -> None:
    idle.open()
    idle.clock.advance(9.75)
    assert not idle.of(ConnectionClosed)
    idle.clock.advance(1)
    idle.rest()
    assert idle.closed.reason == "timeout"
    assert idle.client.was_reset and idle.upstream.was_reset


@pytest.mark.parametrize("way", [0, 1], ids=["client", "upstream"])
def test_a_byte_of_either_side_keeps_it_open(idle: Relayed, way: int) -> None:
    idle.open()
    for _ in range(5):
        idle.clock.advance(8)
        ways(idle)[way][0].sock.send(b"x")
        idle.rest()
    assert not idle.of(ConnectionClosed)
    idle.clock.advance(9.5)
    assert not idle.of(ConnectionClosed)
    idle.clock.advance(1)
    assert idle.closed.reason == "timeout"


def test_a_reader_that_takes_what_waits_keeps_it_open(idle: Relayed) -> None:
    idle.family = "unix"  # TCP would wait before it tells the sender of the room
    idle.open(buffer_bytes=SMALL, early_down=noise(2 * MIB))
    idle.client.reads = False
    for _ in range(5):
        idle.clock.advance(8)
        idle.client.take(50_000)
        idle.rest()
        assert not idle.of(ConnectionClosed)


def test_an_ended_tunnel_leaves_no_deadline(idle: Relayed) -> None:
    idle.open()
    assert len(idle.plane.wheel) == 1
    idle.finish()
    assert len(idle.plane.wheel) == 0


def test_a_deadline_switched_off_meanwhile_closes_nothing(idle: Relayed) -> None:
    idle.open()
    idle.plane.quota.limits = Limits(idle_timeout_s=0)
    idle.clock.advance(100)
    assert not idle.of(ConnectionClosed)
    idle.finish()


def test_a_deadline_made_longer_meanwhile_is_obeyed(idle: Relayed) -> None:
    idle.open()
    idle.plane.quota.limits = Limits(idle_timeout_s=20)
    idle.clock.advance(19)
    assert not idle.of(ConnectionClosed)
    idle.clock.advance(2 + TICK_S)
    assert idle.closed.reason == "timeout"
