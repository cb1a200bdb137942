"""The relay and a reader that does not read: the sender is held back, nothing is lost, nothing spins."""

from __future__ import annotations

import pytest
from rig.tunnel import MIB, SMALL, Relayed, become_bulk, noise, ways

from shim.events import ConnectionClosed
from shim.proxy.poller import IN, OUT

LARGE = 512 * 1024


@pytest.mark.parametrize("bulk", [False, True], ids=["young", "bulk"])
@pytest.mark.parametrize("way", [0, 1], ids=["up", "down"])
def test_a_slow_reader_stalls_the_sender_and_loses_nothing(relay: Relayed, way: int, bulk: bool) -> None:
    relay.open(buffer_bytes=SMALL)
    if bulk:
        become_bulk(relay)
    source, sink, _ = ways(relay)[way]
    data = noise(4 * MIB)
    sink.reads = False
    relay.send(source, data)
    relay.rest()
    stuck = len(source.outbox)
    assert stuck > MIB, "the sender was not held back"
    # The other direction is as free as ever.
    relay.send(sink, b"still here")
    relay.run(lambda: bytes(source.got).endswith(b"still here"))
    taken = len(sink.got)
    relay.until(lambda: len(sink.got) > taken + MIB, lambda: (sink.take(50_000), source.pump()))
    assert len(source.outbox) < stuck, "the sender was not let go on"
    sink.reads = True
    relay.run(lambda: len(sink.got) == len(data))
    assert sink.got == data
    relay.finish()


def test_both_ways_stalled_at_once(relay: Relayed) -> None:
    relay.open(buffer_bytes=SMALL)
    become_bulk(relay)
    data = noise(3 * MIB)
    for source, _, _ in ways(relay):
        source.reads = False
        relay.send(source, data)
    relay.rest()
    if relay.pool is not None:
        assert relay.pool.lent == 2
    for source, _, _ in ways(relay):
        source.reads = True
    relay.run(lambda: len(relay.client.got) == len(relay.upstream.got) == len(data))
    assert relay.client.got == relay.upstream.got == data
    assert relay.pool is None or relay.pool.lent == 0, "an idle tunnel owns no pipe"
    relay.finish()


@pytest.mark.parametrize("way", [0, 1], ids=["up", "down"])
def test_a_sink_that_takes_little_of_much_gets_it_all(relay: Relayed, way: int) -> None:
    """The pipe is then emptied bit by bit."""
    relay.open(buffer_bytes=(LARGE, SMALL) if way == 0 else (SMALL, LARGE))
    become_bulk(relay)
    source, sink, _ = ways(relay)[way]
    sink.end()
    relay.run(lambda: source.ended)
    data = relay.fill(source, sink)
    source.sock.close()
    relay.until(lambda: sink.ended, lambda: sink.take(4000))
    assert sink.got == data
    assert not sink.was_reset
    assert relay.closed.reason == f"{ways(relay)[1 - way][2]}_closed"


@pytest.mark.parametrize("bulk", [False, True], ids=["young", "bulk"])
@pytest.mark.parametrize("events", [IN, OUT])
def test_a_wake_up_for_nothing_while_bytes_wait(relay: Relayed, bulk: bool, events: int) -> None:
    relay.open(buffer_bytes=SMALL)
    if bulk:
        become_bulk(relay)
    for source, sink, _ in ways(relay):
        data = relay.fill(source, sink)
        relay.tunnel.on_client(events)
        relay.tunnel.on_upstream(events)
        sink.reads = True
        relay.run(lambda sink=sink, data=data: len(sink.got) == len(data))
        assert sink.got == data
        sink.got.clear()
    relay.finish()


@pytest.mark.parametrize("bulk", [False, True], ids=["young", "bulk"])
@pytest.mark.parametrize("way", [0, 1], ids=["up", "down"])
def test_the_end_is_kept_behind_bytes_that_wait(relay: Relayed, way: int, bulk: bool) -> None:
    relay.open(buffer_bytes=SMALL)
    if bulk:
        become_bulk(relay)
    source, sink, side = ways(relay)[way]
    data = relay.fill(source, sink)
    source.end()
    relay.rest()
    assert not sink.ended
    sink.reads = True
    relay.run(lambda: sink.ended)
    assert sink.got == data
    sink.end()
    relay.run(lambda: source.ended)
    assert relay.closed.reason == f"{side}_closed"


@pytest.mark.parametrize("way", [0, 1], ids=["up", "down"])
def test_a_source_shut_for_good_while_its_bytes_wait_neither_spins_nor_loses(relay: Relayed, way: int) -> None:
    """Its hang-up cannot be masked, and the bytes still in the kernel are the sink's."""
    relay.open(buffer_bytes=SMALL)
    become_bulk(relay)
    source, sink, _ = ways(relay)[way]
    sink.end()
    relay.run(lambda: source.ended)
    data = relay.fill(source, sink)
    source.sock.close()
    relay.settle()
    assert not relay.of(ConnectionClosed), "what the source had sent was given up"
    sink.reads = True
    relay.until(lambda: sink.ended, sink.take)
    assert sink.got == data
    assert not sink.was_reset


@pytest.mark.parametrize("way", [0, 1], ids=["up", "down"])
def test_a_unix_peer_gone_for_good_while_its_own_bytes_wait(way: int) -> None:
    with Relayed() as relay:
        relay.family = "unix"
        relay.open(buffer_bytes=SMALL)
        become_bulk(relay)
        source, sink, side = ways(relay)[way]
        data = relay.fill(source, sink)
        source.sock.close()
        relay.settle()
        assert not relay.of(ConnectionClosed)
        relay.until(lambda: relay.of(ConnectionClosed), sink.take)
        relay.until(lambda: sink.ended, sink.take)
        assert sink.got == data
        assert relay.closed.reason == f"{side}_closed"


@pytest.mark.parametrize("reads_first", [False, True])
@pytest.mark.parametrize("way", [0, 1], ids=["up", "down"])
def test_a_unix_peer_gone_for_good_while_both_ways_wait(way: int, reads_first: bool) -> None:
    """One event then says: writable, readable, gone. It ends the tunnel once, without a fault."""
    with Relayed() as relay:
        relay.family = "unix"
        relay.open(buffer_bytes=SMALL)
        become_bulk(relay)
        for end, _, _ in ways(relay):
            end.reads = False
            relay.send(end, noise(MIB))
        relay.rest()
        gone, left, side = ways(relay)[way]
        if reads_first:  # with nothing unread it leaves a hang-up without an error
            gone.take()
        gone.sock.close()
        relay.until(lambda: relay.of(ConnectionClosed))
        assert relay.closed.reason == f"{side}_reset"
        left.outbox = memoryview(b"")
        relay.until(lambda: left.ended, left.take)
