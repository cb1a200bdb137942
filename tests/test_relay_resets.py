"""The relay and sides that break off: the survivor learns of it, it is told once, and nothing is left over."""

from __future__ import annotations

import pytest
from rig.tunnel import MIB, SMALL, Relayed, become_bulk, noise, ways

from shim.events import ConnectionClosed
from shim.proxy.poller import ERR, HUP, IN, OUT, EpollPoller


@pytest.mark.parametrize("state", ["young", "bulk"])
@pytest.mark.parametrize("way", [0, 1], ids=["client", "upstream"])
def test_a_reset_reaches_the_survivor_as_a_reset(over_tcp: Relayed, way: int, state: str) -> None:
    relay = over_tcp
    relay.open()
    if state == "bulk":
        become_bulk(relay)
    gone, survivor, side = ways(relay)[way]
    gone.reset()
    relay.until(lambda: survivor.ended, survivor.pump)
    assert survivor.was_reset
    assert relay.closed.reason == f"{side}_reset"


@pytest.mark.parametrize("way", [0, 1], ids=["client", "upstream"])
def test_a_reset_by_the_source_while_its_bytes_wait(over_tcp: Relayed, way: int) -> None:
    relay = over_tcp
    relay.open(buffer_bytes=SMALL)
    become_bulk(relay)
    source, sink, side = ways(relay)[way]
    sink.reads = False
    relay.send(source, noise(4 * MIB))
    relay.rest()
    source.reset()
    relay.settle()
    if isinstance(relay.poller, EpollPoller):  # the other poll set learns of it with the next byte
        assert relay.closed.reason == f"{side}_reset"
    relay.until(lambda: sink.ended, sink.take)
    assert sink.was_reset
    assert relay.closed.reason == f"{side}_reset"


@pytest.mark.parametrize("way", [0, 1], ids=["client", "upstream"])
@pytest.mark.parametrize("state", ["young", "bulk", "stalled"])
def test_a_reset_by_the_sink_is_its_own_doing(over_tcp: Relayed, way: int, state: str) -> None:
    relay = over_tcp
    relay.open(buffer_bytes=SMALL)
    if state != "young":
        become_bulk(relay)
    source, sink, _ = ways(relay)[way]
    side = ways(relay)[1 - way][2]
    if state == "stalled":
        sink.reads = False
        relay.send(source, noise(4 * MIB))
        relay.rest()
    sink.reset()
    relay.send(source, noise(MIB))
    relay.until(lambda: source.ended, source.pump)
    assert source.was_reset
    assert relay.closed.reason == f"{side}_reset"


@pytest.mark.parametrize("last", ["bytes", "end"])
@pytest.mark.parametrize("way", [0, 1], ids=["client", "upstream"])
@pytest.mark.parametrize("state", ["young", "bulk"])
def test_a_reset_by_the_sink_that_is_noticed_by_what_is_sent_to_it(
    over_tcp: Relayed, way: int, state: str, last: str
) -> None:
    """Both sockets are ready at once, and the source's turn comes first."""
    relay = over_tcp
    relay.open()
    if state == "bulk":
        become_bulk(relay)
    source, sink, _ = ways(relay)[way]
    sink.reset()
    if last == "end":
        source.end()
    else:
        source.sock.send(b"x")
    (relay.tunnel.on_upstream if way else relay.tunnel.on_client)(IN)
    relay.until(lambda: source.ended, source.pump)
    assert source.was_reset
    assert relay.closed.reason == f"{ways(relay)[1 - way][2]}_reset"


@pytest.mark.parametrize("way", [0, 1], ids=["client", "upstream"])
def test_one_that_closes_for_good_while_the_other_sends(relay: Relayed, way: int) -> None:
    relay.open()
    gone, sender, side = ways(relay)[way]
    gone.sock.close()
    relay.until(lambda: sender.ended, sender.pump)
    relay.send(sender, noise(MIB))
    relay.until(lambda: relay.of(ConnectionClosed), sender.pump)
    assert relay.closed.reason in (f"{side}_reset", f"{side}_closed")


@pytest.mark.parametrize("way", [0, 1], ids=["client", "upstream"])
def test_a_unix_peer_gone_for_good_is_noticed_though_nobody_sends(way: int) -> None:
    with Relayed() as relay:
        relay.family = "unix"
        relay.open()
        gone, survivor, side = ways(relay)[way]
        gone.sock.close()
        relay.until(lambda: survivor.ended, survivor.pump)
        relay.settle()
        assert relay.closed.reason == f"{side}_closed"


def test_abort_resets_both_ends_and_is_told_once(relay: Relayed) -> None:
    relay.open()
    relay.send(relay.client, b"x")
    relay.run(lambda: relay.upstream.got)
    relay.tunnel.abort("shutdown")
    relay.tunnel.abort("again")
    relay.rest()
    assert relay.client.ended and relay.upstream.ended
    assert relay.end_of_it == ("shutdown", 1, 0)
    if relay.family == "tcp":
        assert relay.client.was_reset and relay.upstream.was_reset


@pytest.mark.parametrize("events", [IN, OUT, IN | OUT, ERR, HUP, IN | OUT | ERR | HUP])
def test_a_stale_event_after_the_end_is_harmless(relay: Relayed, events: int) -> None:
    relay.open()
    relay.tunnel.abort("shutdown")
    relay.tunnel.on_client(events)
    relay.tunnel.on_upstream(events)
    assert relay.end_of_it == ("shutdown", 0, 0)


@pytest.mark.parametrize("events", [IN, OUT, IN | OUT])
def test_a_wake_up_for_nothing_is_harmless(relay: Relayed, events: int) -> None:
    relay.open()
    become_bulk(relay)
    relay.tunnel.on_client(events)
    relay.tunnel.on_upstream(events)
    relay.send(relay.client, b"still working")
    relay.finish()
    assert relay.upstream.got == b"still working"
