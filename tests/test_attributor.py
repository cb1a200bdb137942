"""Look-ups beside the loop: one event each, in time, whatever the search does; and once with everything real."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing

import pytest
import uvloop
from rig.lookers import CURL, NAMED, TIMEOUT_S, Scripted, clue
from rig.senders import Sender, accepted, listening

from shim.events import Event, Fault, ProcessIdentified
from shim.model import Process
from shim.witness import attributor
from shim.witness.attributor import Attributor, open_looker
from shim.witness.clues import of_connection
from shim.witness.elsewhere import Elsewhere
from shim.witness.looking import BUSY, GONE, OFF, TIMEOUT, Looker, Sighting, Trace
from shim.witness.witness import Witness


class Bench:
    """An attributor in a running loop, and what it has published."""

    def __init__(
        self,
        looker: Scripted,
        timeout_s: float = TIMEOUT_S,
        open: Callable[[], Looker | None] | None = None,
        **more: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.looker = looker
        self.events: list[Event] = []
        self._news = asyncio.Event()
        self.attributor = Attributor(
            self.publish,
            loop.call_soon_threadsafe,
            loop.call_later,
            timeout_s=timeout_s,
            open_looker=open or (lambda: looker),
            **more,
        )

    def publish(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def told(self, count: int) -> list[tuple[str, Process | None, str | None]]:
        """Wait for so many events; all that have come are returned."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.events) < count:
                self._news.clear()
                await self._news.wait()
        await asyncio.sleep(0)  # were there one more, it would be here by now
        return [(event.subject, event.process, event.reason) for event in self.identified()]

    def identified(self) -> list[ProcessIdentified]:
        return [event for event in self.events if isinstance(event, ProcessIdentified)]

    async def searching(self) -> list[Trace]:
        """What the search looks for that begins next."""
        return await asyncio.to_thread(self.looker.searches.get, timeout=TIMEOUT_S)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(Scripted())
    yield made
    made.attributor.close()


async def test_what_is_seen_at_a_glance_is_told_at_once(bench: Bench) -> None:
    bench.looker.known[clue(1)] = NAMED
    heard: list[Sighting] = []
    bench.attributor.identify("c1", clue(1), heard.append)
    assert heard == [NAMED]
    assert await bench.told(1) == [("c1", CURL, None)]
    assert abs(bench.identified()[0].at - time.time()) < TIMEOUT_S
    assert bench.looker.searches.empty()


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
    assert bench.looker.remembered


async def test_a_search_that_takes_too_long_is_a_timeout_and_its_answer_is_dropped() -> None:
    bench = Bench(Scripted(), timeout_s=0.05)
    with closing(bench.attributor):
        heard: list[Sighting] = []
        bench.attributor.identify("c1", clue(1), heard.append, within_s=TIMEOUT_S)
        late = Sighting(None, TIMEOUT, 1000)
        assert await bench.told(1) == [("c1", None, TIMEOUT)]
        assert heard == [late]
        bench.looker.results.put(NAMED)
        async with asyncio.timeout(TIMEOUT_S):
            while not bench.looker.remembered:  # what it found is of use all the same
                await asyncio.sleep(0.001)
        assert await bench.told(1) == [("c1", None, TIMEOUT)]
        assert heard == [late]


async def test_who_waits_is_let_go_before_the_search_has_ended(bench: Bench) -> None:
    heard: list[Sighting] = []
    go_on = asyncio.Event()

    def then(sighting: Sighting) -> None:
        heard.append(sighting)
        go_on.set()

    bench.attributor.identify("c1", clue(1), then, within_s=0.01)
    async with asyncio.timeout(TIMEOUT_S):
        await go_on.wait()
    assert (heard, bench.events) == ([Sighting(None, TIMEOUT, 1000)], [])
    bench.looker.results.put(NAMED)
    assert await bench.told(1) == [("c1", CURL, None)]
    assert len(heard) == 1


async def test_too_many_at_once_are_told_so() -> None:
    bench = Bench(Scripted(), capacity=2)
    with closing(bench.attributor):
        heard: list[Sighting] = []
        for number in range(4):
            bench.attributor.identify(f"c{number}", clue(number), heard.append)
        assert await bench.told(2) == [("c2", None, BUSY), ("c3", None, BUSY)]
        assert heard == [Sighting(None, BUSY, 1000)] * 2
        bench.looker.known[clue(9)] = NAMED
        bench.attributor.identify("c9", clue(9))
        assert (await bench.told(3))[-1] == ("c9", CURL, None)
        for _ in range(2):
            bench.looker.results.put(NAMED)
        assert len(await bench.told(5)) == 5
        assert bench.attributor.counts == {BUSY: 2, "found": 3}


async def test_without_any_way_of_looking_it_is_off() -> None:
    bench = Bench(Scripted(), open=lambda: None)
    heard: list[Sighting] = []
    with closing(bench.attributor) as off:
        assert not off.available
        off.prepare()
        off.identify("c1", clue(1), heard.append)
        assert off.try_now(clue(1)) == Sighting(None, OFF)
        assert await bench.told(1) == [("c1", None, OFF)]
        assert heard == [Sighting(None, OFF)]


async def test_a_client_that_is_gone_already(bench: Bench) -> None:
    assert bench.attributor.available
    assert bench.attributor.try_now(None) == Sighting(None, GONE)
    bench.attributor.identify("c1", None)
    assert await bench.told(1) == [("c1", None, GONE)]


async def test_trying_never_searches(bench: Bench) -> None:
    bench.looker.known[clue(1)] = NAMED
    assert bench.attributor.try_now(clue(1)) == NAMED
    assert bench.attributor.try_now(clue(2)) is None
    assert bench.events == []
    assert not threads()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "witness"]


async def test_closing_tells_all_that_is_open_and_ends_the_thread() -> None:
    bench = Bench(Scripted())
    heard: list[Sighting] = []
    for number in range(3):
        bench.attributor.identify(f"c{number}", clue(number), heard.append)
    await bench.searching()
    bench.attributor.identify("c3", clue(3), heard.append)
    assert len(threads()) == 1
    bench.looker.results.put(NAMED)
    bench.attributor.close()
    assert not threads()
    assert bench.looker.closed == 2  # one for the loop, one for the thread
    assert await bench.told(4) == [(f"c{number}", None, TIMEOUT) for number in range(4)]
    assert len(heard) == 4
    bench.attributor.close()
    bench.attributor.identify("c9", clue(9))
    assert (await bench.told(5))[-1] == ("c9", None, OFF)


async def test_a_bug_in_a_search_does_not_end_the_thread() -> None:
    bench = Bench(Scripted(), timeout_s=0.05)
    with closing(bench.attributor):
        bench.attributor.identify("c1", clue(1))
        bench.looker.results.put(RuntimeError("no name of a destination comes out of here"))
        await bench.told(2)
        (fault,) = (event for event in bench.events if isinstance(event, Fault))
        assert (fault.error, fault.place.partition(":")[0]) == ("RuntimeError", "rig.lookers")
        assert [event.reason for event in bench.identified()] == [TIMEOUT]
        bench.attributor._timeout_s = TIMEOUT_S
        bench.attributor.identify("c2", clue(2))
        bench.looker.results.put(NAMED)
        assert (await bench.told(3))[-1] == ("c2", CURL, None)


async def test_with_half_of_what_it_needs_it_is_off() -> None:
    """Descriptors have run out in between."""
    lookers: list[Looker | None] = [Scripted(), None]
    bench = Bench(Scripted(), open=lambda: lookers.pop(0))
    with closing(bench.attributor) as off:
        assert not off.available
        off.identify("c1", clue(1))
        assert await bench.told(1) == [("c1", None, OFF)]


async def test_no_timer_stays_behind() -> None:
    """A look-up that has ended leaves nothing in the loop."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def call_later(delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        timers.append(loop.call_later(delay, callback, *args))
        return timers[-1]

    looker, events = Scripted(), list[Event]()
    looker.results.put(NAMED)
    with closing(Attributor(events.append, loop.call_soon_threadsafe, call_later, open_looker=lambda: looker)) as each:
        known = asyncio.Event()
        each.identify("c1", clue(1), lambda _: known.set(), within_s=TIMEOUT_S)
        await known.wait()
    assert [timer.cancelled() for timer in timers] == [True, True]


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_with_everything_real(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The first look-up of a program is a search, the later ones are seen at once."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        events: list[Event] = []
        with (
            closing(Attributor(events.append, loop.call_soon_threadsafe, loop.call_later)) as real,
            listening() as server,
        ):
            if not isinstance(real._near, Witness):
                pytest.skip("needs sock_diag (Linux)")
            real.prepare()
            with Sender("tcp", server.getsockname(), 3) as sender:
                socks = [accepted(server)[0] for _ in range(3)]
                known = asyncio.Event()
                real.identify("c0", of_connection(socks[0]), lambda _: known.set(), within_s=TIMEOUT_S)
                await known.wait()
                for number in (1, 2):
                    real.identify(f"c{number}", of_connection(socks[number]))
                for sock in socks:
                    sock.close()
            pids = [event.process and event.process.pid for event in events if isinstance(event, ProcessIdentified)]
            assert pids == [sender.pid] * 3

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_the_way_of_looking_that_a_system_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(error: Exception) -> Callable[[], Looker]:
        def fail() -> Looker:
            raise error

        return fail

    for error in (OSError("no sock_diag"), AttributeError("AF_NETLINK")):
        monkeypatch.setattr(attributor, "Witness", missing(error))
        monkeypatch.setattr(attributor, "Elsewhere", Scripted)
        assert isinstance(open_looker(), Scripted)
        monkeypatch.setattr(attributor, "Elsewhere", missing(ImportError("psutil")))
        assert open_looker() is None
    monkeypatch.undo()
    try:
        real = open_looker()
    finally:
        monkeypatch.undo()
    assert real is None or isinstance(real, Witness | Elsewhere)
    if real is not None:
        real.close()
