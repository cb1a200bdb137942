"""The relay against a model: each direction is a queue of bytes and an end, whatever happens in between."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.plane import End
from rig.tunnel import MIB, NAMES, SMALL, VARIANTS, Relayed, noise

from shim.events import ConnectionClosed
from shim.proxy.plane import BUFFER_BYTES
from shim.proxy.poller import EpollPoller

Step = tuple[str, int, int]
SENDS = st.tuples(
    st.just("send"), st.integers(0, 1), st.sampled_from([1, 100, BUFFER_BYTES - 1, BUFFER_BYTES + 1, 150_000, 400_000])
)
TAKES = st.tuples(st.just("take"), st.integers(0, 1), st.sampled_from([1, 5_000, 100_000, MIB]))
ENDS = st.tuples(st.just("end"), st.integers(0, 1), st.just(0))
BUFFERS = st.sampled_from([(0, 0), (0, SMALL), (SMALL, 0), (SMALL, SMALL)])
TURNS = st.tuples(st.just("turn"), st.integers(1, 3), st.just(0))


@pytest.mark.parametrize(("poller", "splice", "family"), VARIANTS, ids=NAMES)
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.one_of(SENDS, SENDS, TAKES, TURNS, ENDS), max_size=25), small=BUFFERS)
def test_any_interleaving_is_a_queue_each_way(
    poller: type[EpollPoller], splice: bool, family: str, steps: list[Step], small: tuple[int, int]
) -> None:
    """The model: each direction is a queue of bytes, then an end. Whatever happens in between, it stays one."""
    with Relayed(poller, splice=splice) as relay:
        relay.family = family
        relay.open(buffer_bytes=small)
        ends = relay.client, relay.upstream
        queues = bytearray(), bytearray()
        over = [False, False]
        for end in ends:
            end.reads = False
        for what, number, size in steps:
            if what == "turn":
                for _ in range(number):
                    relay.poller.dispatch()
            elif what == "take":
                ends[number].take(size)
            elif what == "end":
                over[number] = True
            elif not over[number]:
                data = noise(size, start=len(queues[number]) % MIB)
                queues[number].extend(data)
                relay.send(ends[number], data)
            _push(ends, over)
            for number, end in enumerate(ends):
                assert queues[1 - number].startswith(end.got)
                assert not end.ended or (over[1 - number] and len(end.got) == len(queues[1 - number]))
        for end in ends:
            end.reads = True
        over[:] = True, True
        relay.until(lambda: all(end.ended for end in ends), lambda: (relay.pump(), _push(ends, over)))
        assert (relay.upstream.got, relay.client.got) == queues
        assert not any(end.was_reset for end in ends)
        relay.until(lambda: relay.of(ConnectionClosed))
        assert (relay.closed.sent, relay.closed.received) == tuple(map(len, queues))


@pytest.mark.parametrize(("poller", "splice", "family"), VARIANTS, ids=NAMES)
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.one_of(SENDS, TAKES, TURNS), max_size=12),
    small=BUFFERS,
    gone=st.integers(0, 1),
    by_reset=st.booleans(),
)
def test_whenever_one_side_goes_it_ends_once_and_the_other_sees_a_prefix(
    poller: type[EpollPoller],
    splice: bool,
    family: str,
    steps: list[Step],
    small: tuple[int, int],
    gone: int,
    by_reset: bool,
) -> None:
    with Relayed(poller, splice=splice) as relay:
        relay.family = family
        relay.open(buffer_bytes=small)
        ends = relay.client, relay.upstream
        sent = bytearray()
        for end in ends:
            end.reads = False
        for what, number, size in steps:
            if what == "turn":
                for _ in range(number):
                    relay.poller.dispatch()
            elif what == "take":
                ends[number].take(size)
            else:
                data = noise(size, start=len(sent) % MIB)
                if number == gone:
                    sent += data
                relay.send(ends[number], data)
            relay.pump()
        survivor = ends[1 - gone]
        if by_reset and family == "tcp":
            ends[gone].reset()
        else:
            ends[gone].sock.close()
        survivor.reads = True
        relay.until(lambda: survivor.ended, survivor.pump)
        survivor.sock.close()
        relay.until(lambda: relay.of(ConnectionClosed))
        assert sent.startswith(survivor.got)


def _push(ends: tuple[End, End], over: list[bool]) -> None:
    """Send what can be sent now, and the end behind it where that is wanted."""
    for end, wanted in zip(ends, over, strict=True):
        end.pump()
        if wanted and not end.outbox:
            with contextlib.suppress(OSError):
                end.end()
