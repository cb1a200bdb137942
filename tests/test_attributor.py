"""Look-ups beside the loop: one event each, in time, whatever the search does; and once with everything real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing

import pytest
import uvloop
from rig.desks import desk
from rig.lookers import CURL, NAMED, TIMEOUT_S, Scripted, clue
from rig.senders import Sender, accepted, listening

from shim.events import Event, Fault, HelperEnded, ProcessIdentified
from shim.model import Process
from shim.witness.attributor import HUNG_S, Attributor
from shim.witness.clues import of_connection
from shim.witness.desk import can_look, start
from shim.witness.looking import BUSY, GONE, OFF, TIMEOUT, Sighting, Trace
from shim.witness.words import AT_ONCE, MAX_LINE, question


class Bench:
    """An attributor in a running loop, and what it has published."""

    def __init__(self, looker: Scripted, sock: socket.socket | None, timeout_s: float = TIMEOUT_S, **more: int) -> None:
        self.looker = looker
        self.events: list[Event] = []
        self.ended = 0
        self._news = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.attributor = Attributor(self.publish, loop, sock, timeout_s=timeout_s, ended=self._count, **more)

    def _count(self) -> None:
        self.ended += 1

    def publish(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def told(self, count: int) -> list[tuple[str, Process | None, str | None]]:
        """Wait for so many events; all that have come are returned."""
        await self.until(lambda: len(self.events) >= count)
        await asyncio.sleep(0)  # were there one more, it would be here by now
        return self.named()

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for an event that makes it so."""
        async with asyncio.timeout(TIMEOUT_S):
            while not true():
                self._news.clear()
                await self._news.wait()

    def named(self) -> list[tuple[str, Process | None, str | None]]:
        return [(event.subject, event.process, event.reason) for event in self.identified()]

    def identified(self) -> list[ProcessIdentified]:
        return [event for event in self.events if isinstance(event, ProcessIdentified)]

    async def searching(self) -> list[Trace]:
        """What the search looks for that begins next."""
        return await asyncio.to_thread(self.looker.searches.get, timeout=TIMEOUT_S)


@contextlib.contextmanager
def benched(timeout_s: float = TIMEOUT_S, searches: int = 256, **more: int) -> Iterator[Bench]:
    looker = Scripted()
    with desk(looker, capacity=searches) as sock:
        bench = Bench(looker, sock, timeout_s, **more)
        with closing(bench.attributor):
            yield bench
        for _ in range(100):
            looker.results.put(NAMED)  # lets go of what the test has left


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    with benched() as made:
        yield made


async def test_what_is_seen_at_a_glance_is_told(bench: Bench) -> None:
    bench.looker.known[clue(1)] = NAMED
    heard: list[Sighting] = []
    bench.attributor.identify("c1", clue(1), heard.append, within_s=TIMEOUT_S)
    assert await bench.told(1) == [("c1", CURL, None)]
    assert heard == [NAMED]
    assert abs(bench.identified()[0].at - time.time()) < TIMEOUT_S
    assert bench.looker.searches.empty()
    assert not threads()


async def test_what_has_to_be_searched_for_is_told_later(bench: Bench) -> None:
    heard: list[Sighting] = []
    bench.attributor.identify("c1", clue(1), heard.append, within_s=TIMEOUT_S)
    bench.attributor.identify("c2", clue(2))
    assert (heard, bench.events) == ([], [])
    bench.looker.results.put(NAMED)
    bench.looker.results.put(Sighting(None, GONE))
    assert await bench.told(2) in (
        [("c1", CURL, None), ("c2", CURL, None)],  # one search for both
        [("c1", CURL, None), ("c2", None, GONE)],
    )
    assert heard == [NAMED]
    bench.looker.known[clue(3)] = NAMED
    bench.attributor.identify("c3", clue(3))
    await bench.told(3)
    assert bench.looker.remembered, "the next one of its sockets is seen at a glance"


async def test_a_search_that_takes_too_long_is_a_timeout_and_its_answer_is_dropped() -> None:
    with benched(timeout_s=0.05) as bench:
        heard: list[Sighting] = []
        bench.attributor.identify("c1", clue(1), heard.append, within_s=TIMEOUT_S)
        await bench.searching()
        assert await bench.told(1) == [("c1", None, TIMEOUT)]
        assert heard == [Sighting(None, TIMEOUT)]
        bench.looker.results.put(NAMED)
        bench.attributor._open.seconds = TIMEOUT_S
        bench.looker.known[clue(2)] = NAMED
        bench.attributor.identify("c2", clue(2))
        assert await bench.told(2) == [("c1", None, TIMEOUT), ("c2", CURL, None)]
        assert len(heard) == 1


async def test_who_waits_is_let_go_before_the_search_has_ended(bench: Bench) -> None:
    heard: list[Sighting] = []
    go_on = asyncio.Event()

    def then(sighting: Sighting) -> None:
        heard.append(sighting)
        go_on.set()

    bench.attributor.identify("c1", clue(1), then, within_s=0.01)
    async with asyncio.timeout(TIMEOUT_S):
        await go_on.wait()
    assert (heard, bench.events) == ([Sighting(None, TIMEOUT)], [])
    bench.looker.results.put(NAMED)
    assert await bench.told(1) == [("c1", CURL, None)]
    assert len(heard) == 1


async def test_too_many_searches_at_once_are_told_so_and_who_is_known_is_still_seen() -> None:
    with benched(searches=2) as bench:
        heard: list[Sighting] = []
        for number in range(4):
            bench.attributor.identify(f"c{number}", clue(number), heard.append, within_s=TIMEOUT_S)
        assert await bench.told(2) == [("c2", None, BUSY), ("c3", None, BUSY)]
        assert heard == [Sighting(None, BUSY, 1000)] * 2
        bench.looker.known[clue(9)] = NAMED
        bench.attributor.identify("c9", clue(9))
        assert (await bench.told(3))[-1] == ("c9", CURL, None)
        for _ in range(2):
            bench.looker.results.put(NAMED)
        assert len(await bench.told(5)) == 5
        assert bench.attributor.counts == {BUSY: 2, "found": 3}


async def test_too_many_questions_at_once_are_not_asked() -> None:
    with benched(capacity=2) as bench:
        for number in range(3):
            bench.attributor.identify(f"c{number}", clue(number))
        assert await bench.told(1) == [("c2", None, BUSY)]


async def test_one_who_does_not_read_is_asked_no_more_than_there_is_room_for() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        bench = Bench(Scripted(), ours, capacity=100_000)
        with closing(bench.attributor):
            number = 0
            while not bench.events:
                number += 1
                bench.attributor.identify(f"c{number}", clue(1))
            asked_last = range(number - AT_ONCE + 1, number + 1)
            assert await bench.told(AT_ONCE) == [(f"c{each}", None, BUSY) for each in asked_last]
            assert bench.attributor.available


async def test_what_is_asked_in_one_turn_goes_together() -> None:
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    bench = Bench(Scripted(), ours)
    with theirs, closing(bench.attributor):
        for number in range(AT_ONCE + 3):
            bench.attributor.identify(f"c{number}", clue(number))
        bench.attributor.prepare()
        messages = [await asyncio.to_thread(theirs.recv, MAX_LINE) for _ in range(2)]
        assert [message.count(b"\n") for message in messages] == [AT_ONCE, 4]
        asked = [question(line) for message in messages for line in message.splitlines()]
        assert [each.number if each else None for each in asked] == [*range(1, AT_ONCE + 4), None]


async def test_what_is_asked_turn_after_turn_goes_together_and_one_alone_at_once() -> None:
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    bench = Bench(Scripted(), ours)
    with theirs, closing(bench.attributor):
        theirs.setblocking(False)
        for turn in ((1, 2), (3,), (4, 5), ()):
            for number in turn:
                bench.attributor.identify(f"c{number}", clue(number))
            with pytest.raises(BlockingIOError):
                theirs.recv(MAX_LINE)
            await asyncio.sleep(0)
        assert theirs.recv(MAX_LINE).count(b"\n") == 5
        bench.attributor.identify("c6", clue(6))
        await asyncio.sleep(0)
        assert theirs.recv(MAX_LINE).count(b"\n") == 1


async def test_the_next_one_is_asked_what_the_last_one_was_not_asked_any_more(bench: Bench) -> None:
    other = Scripted()
    other.known[clue(1)] = NAMED
    with desk(other) as sock, closing(bench.attributor):
        bench.attributor.identify("c1", clue(1))
        bench.attributor.use(sock)
        assert await bench.told(1) == [("c1", CURL, None)]


async def test_who_has_ended_before_the_question_leaves_it_is_off_at_once() -> None:
    ours, theirs = socket.socketpair()
    bench = Bench(Scripted(), ours)
    heard: list[Sighting] = []
    with closing(bench.attributor):
        for number in range(3):
            bench.attributor.identify(f"c{number}", clue(number), heard.append, within_s=TIMEOUT_S)
        theirs.close()
        assert await bench.told(4) == [(f"c{number}", None, OFF) for number in range(3)]
        assert (heard, bench.ended) == ([Sighting(None, OFF)] * 3, 1)


async def test_without_anybody_to_ask_it_is_off() -> None:
    bench = Bench(Scripted(), None)
    heard: list[Sighting] = []
    with closing(bench.attributor) as off:
        assert not off.available
        off.prepare()
        off.identify("c1", clue(1), heard.append)
        assert await bench.told(1) == [("c1", None, OFF)]
        assert heard == [Sighting(None, OFF)]


async def test_a_client_that_is_gone_already(bench: Bench) -> None:
    assert bench.attributor.available
    bench.attributor.identify("c1", None)
    assert await bench.told(1) == [("c1", None, GONE)]


async def test_the_first_clue_that_leads_to_a_socket_counts(bench: Bench) -> None:
    bench.looker.known = {clue(1): Sighting(None, GONE), clue(2): NAMED, clue(3): Sighting(None, OFF)}
    bench.attributor.identify("c1", clue(1), or_else=(clue(2), clue(3)))
    bench.attributor.identify("c2", clue(1), or_else=(clue(1),))
    assert sorted(await bench.told(2)) == [("c1", CURL, None), ("c2", None, GONE)]


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "witness"]


async def test_closing_tells_all_that_is_open_and_ends_the_desk() -> None:
    with benched() as bench:
        heard: list[Sighting] = []
        for number in range(3):
            bench.attributor.identify(f"c{number}", clue(number), heard.append, within_s=TIMEOUT_S)
        await bench.searching()
        assert len(threads()) == 1
        bench.attributor.close()
        assert await bench.told(3) == [(f"c{number}", None, TIMEOUT) for number in range(3)]
        assert len(heard) == 3
        bench.attributor.close()
        bench.attributor.identify("c9", clue(9))
        assert (await bench.told(4))[-1] == ("c9", None, OFF)
        assert bench.ended == 0
    assert bench.looker.closed == 2  # the one that glances, the one that searches
    assert not threads()


async def test_a_bug_in_a_search_ends_nothing() -> None:
    with benched(timeout_s=0.05) as bench:
        bench.attributor.identify("c1", clue(1))
        bench.looker.results.put(RuntimeError("no name of a destination comes out of here"))
        await bench.told(2)
        (fault,) = (event for event in bench.events if isinstance(event, Fault))
        assert (fault.error, fault.place.partition(":")[0]) == ("RuntimeError", "rig.lookers")
        assert [event.reason for event in bench.identified()] == [TIMEOUT]
        bench.attributor._open.seconds = TIMEOUT_S
        bench.attributor.identify("c2", clue(2))
        bench.looker.results.put(NAMED)
        assert (await bench.told(3))[-1] == ("c2", CURL, None)


async def test_all_look_ups_share_their_timers_and_none_stays_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers: list[asyncio.TimerHandle] = []
    call_later = asyncio.get_running_loop().call_later

    def noting(delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        timers.append(call_later(delay, callback, *args))
        return timers[-1]

    monkeypatch.setattr(bench.attributor._loop, "call_later", noting)
    bench.looker.known[clue(1)] = NAMED
    for count in range(1, 4):
        bench.attributor.identify("c1", clue(1), lambda _: None, within_s=TIMEOUT_S)
        bench.attributor.identify("c2", clue(1), lambda _: None, within_s=TIMEOUT_S / 2)
        await bench.told(2 * count)
    bench.attributor.close()
    assert [timer.cancelled() for timer in timers] == [True, True]


# --- the end of who looks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "says", [b"", b"not JSON\n", b"[1,null,null,[1]]\n", b"[true]\n", b"[1.5,2,3]\n", b"x" * 200_000]
)
async def test_one_who_ends_or_talks_nonsense_is_left_and_another_takes_over(says: bytes) -> None:
    looker = Scripted()
    ours, theirs = socket.socketpair()
    bench = Bench(looker, ours)
    with desk(looker) as another, closing(bench.attributor):
        bench.attributor.identify("c1", clue(1))
        sending = threading.Thread(target=_say_and_end, args=(theirs, says))
        sending.start()
        assert await bench.told(2) == [("c1", None, OFF)]
        sending.join(TIMEOUT_S)
        assert [event.helper for event in bench.events if isinstance(event, HelperEnded)] == ["witness"]
        assert (bench.ended, bench.attributor.available) == (1, False)
        bench.attributor.identify("c2", clue(2))
        assert (await bench.told(3))[-1] == ("c2", None, OFF)
        bench.attributor.use(another)
        looker.known[clue(3)] = NAMED
        bench.attributor.identify("c3", clue(3))
        assert (await bench.told(4))[-1] == ("c3", CURL, None)
        assert bench.ended == 1


@pytest.mark.parametrize("questions", [1, 5000], ids=["it is owed an answer", "nothing more fits"])
async def test_one_who_says_nothing_any_more_is_left_as_well(questions: int) -> None:
    ours, theirs = socket.socketpair()
    bench = Bench(Scripted(), ours, timeout_s=0.01, capacity=10_000)
    with theirs, closing(bench.attributor):
        for number in range(questions):
            bench.attributor.identify(f"c{number}", clue(1))
        await bench.told(questions)
        assert (bench.ended, bench.attributor.available) == (0, True), "it may yet say something"
        bench.attributor._hung_s = 0.0
        bench.attributor.identify("last", clue(1))
        await bench.until(lambda: bench.ended)
        assert not bench.attributor.available
        assert [event.helper for event in bench.events if isinstance(event, HelperEnded)] == ["witness"]


async def test_one_who_is_slow_is_kept(bench: Bench) -> None:
    bench.attributor._silent_since = time.monotonic() - 2 * HUNG_S
    bench.looker.known[clue(1)] = NAMED
    bench.attributor.identify("c1", clue(1))
    assert await bench.told(1) == [("c1", CURL, None)]
    bench.attributor._late(0)
    assert (bench.ended, bench.attributor.available) == (0, True)


def _say_and_end(sock: socket.socket, says: bytes) -> None:
    with sock, contextlib.suppress(OSError):
        sock.sendall(says)


# --- with everything real ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_with_everything_real(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The first look-up of a program is a search, the later ones are seen at once; when it is killed, names are off."""
    if not can_look():
        pytest.skip("needs sock_diag (Linux)")
    pid, sock = start(lambda: None)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        events: list[Event] = []
        with closing(Attributor(events.append, loop, sock)) as real, listening() as server:
            real.prepare()
            with Sender("tcp", server.getsockname(), 3) as sender:
                socks = [accepted(server)[0] for _ in range(3)]
                for number in range(3):
                    known = asyncio.Event()
                    real.identify(
                        f"c{number}", of_connection(socks[number]), lambda _, k=known: k.set(), within_s=TIMEOUT_S
                    )
                    await known.wait()
                pids = [event.process and event.process.pid for event in events if isinstance(event, ProcessIdentified)]
                assert pids == [sender.pid] * 3
                os.kill(pid, signal.SIGKILL)
                async with asyncio.timeout(TIMEOUT_S):
                    while real.available:
                        await asyncio.sleep(0.001)
                for each in socks:
                    each.close()
            assert events[-1] == HelperEnded(events[-1].at, "witness")

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    os.waitpid(pid, 0)
