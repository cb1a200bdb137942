"""One run of one program: namespace, upstream, service, program, end; and all that was seen of it.

Judges nothing: `verdict` does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import uvloop

from shim.address import Address
from shim.events import Event, Fault, TorBootstrapped, UpstreamFailed
from shim.lab.authority import Authority
from shim.lab.browser import outcomes
from shim.lab.canary import ROLES, Canaries
from shim.lab.isolation import IsolationError, write_overlay
from shim.lab.namespace import Message, Namespace
from shim.lab.pages import Pages
from shim.lab.preparing import AUTO, SANDBOX, TOR, Options, fill, places, prepare, script_of
from shim.lab.sandbox import Sandbox
from shim.lab.seen import Departure, Isolation, Run, Visit
from shim.lab.serving import Serving
from shim.lab.trap import Trap
from shim.tor.child import TorChild
from shim.tor.discover import CANDIDATES
from shim.tor.keeper import UpstreamKeeper

SETTLE_S = 0.1
"""For what has been sent but not yet read here."""

LAST_ROUNDS = 100
"""Bounds what is still read of a flood."""

TERM_S = 2.0
TOR_READY_S = 180.0
ALL = 100


Waiting = Callable[[TorBootstrapped], None]
"""Told how far a tor of our own is: it may take minutes."""


def run(
    options: Options,
    environ: Mapping[str, str],
    pcap: BinaryIO | None = None,
    waiting: Waiting = lambda _event: None,
) -> Run:
    """Run the program to its end."""
    folder = Path(tempfile.mkdtemp(prefix="leakshim-check-"))
    began = time.time()
    canaries = Canaries.make(ROLES)
    authority = Authority() if options.upstream == SANDBOX else None
    try:
        where = places(canaries, authority, folder)
        setup = prepare(options, environ, folder, where)
        write_overlay(setup.folder)
        try:
            space = Namespace.open(setup)
        except IsolationError as error:
            return Run(options.command, began, upstream=str(options.upstream), failure=(error.step, error.knob))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                seen = runner.run(_Check(options, space, folder, began, canaries, authority, pcap, waiting).run())
        finally:
            space.close()
        return replace(seen, visits=_visits(options, where, folder), script=_script(options.command))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _script(command: Sequence[str]) -> str | None:
    try:
        return script_of(command, Path.cwd())
    except FileNotFoundError:  # the folder we were started in has been removed
        return None


def _visits(options: Options, where: Mapping[str, str], folder: Path) -> tuple[Visit, ...]:
    """The pages, and what became of each as far as that is known."""
    if options.visits is None:
        return ()
    urls = [fill(url, where) for url in options.visits.urls]
    if options.interactive:
        return tuple(map(Visit, urls))
    return tuple(Visit(url, error is None, error) for url, error in zip(urls, outcomes(folder, len(urls)), strict=True))


class _Check:
    """The program's life, as its namespace tells it."""

    def __init__(
        self,
        options: Options,
        space: Namespace,
        folder: Path,
        began: float,
        canaries: Canaries,
        authority: Authority | None,
        pcap: BinaryIO | None,
        waiting: Waiting,
    ) -> None:
        self._options = options
        self._space = space
        self._folder = folder
        self._began = began
        self._canaries = canaries
        self._authority = authority
        self._waiting = waiting
        self._untrusted = False
        self._trap = Trap(space.trap, space.trap_kind, space.who, pcap, canaries)
        self._go = asyncio.Event()
        self._over = asyncio.Event()
        self._alone = asyncio.Event()
        self._started = False
        self._start_error: str | None = None
        self._status: int | None = None
        self._stopped: str | None = None

    async def run(self) -> Run:
        loop = asyncio.get_running_loop()
        serving = Serving(self._space)
        loop.set_exception_handler(
            lambda _loop, context: serving.publish(Fault.of(context.get("exception"), time.time()))
        )
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signum, self._stop, "interrupted")
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as tasks, self._upstream(serving, tasks):
            served = tasks.create_task(serving.run(ready), name="serving")
            await ready.wait()
            loop.add_reader(self._space.trap, self._trap.on_readable)
            left = await self._program()
            await asyncio.sleep(SETTLE_S)
            for _ in range(LAST_ROUNDS):
                if not self._trap.on_readable():
                    break
            loop.remove_reader(self._space.trap)
            loop.remove_reader(self._space.fileno())
            served.cancel()
        self._trap.close()
        return self._result(serving, left)

    async def _program(self) -> bool:
        """Start it and wait for its end. True if something that it left behind still runs."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._space.fileno(), self._listen)
        look = loop.create_task(self._look_again(), name="channel")
        try:
            if self._stopped is None:
                self._space.start()
                await self._wait_for_end()
            if self._started and not self._alone.is_set():
                return not await _within(self._alone, self._options.linger_s)
            return False
        finally:
            look.cancel()

    async def _look_again(self) -> None:
        """What came while a question was being answered lies ready, and makes the channel no longer readable."""
        while True:
            await asyncio.sleep(SETTLE_S)
            self._listen()

    async def _wait_for_end(self) -> None:
        timeout_s = self._options.timeout_s
        if not timeout_s:
            await self._over.wait()
            return
        if not await _within(self._over, timeout_s):
            self._stop("timeout")
            await self._over.wait()

    def _stop(self, why: str) -> None:
        """End the program: politely, then not."""
        self._go.set()
        if self._stopped is None:
            self._stopped = why
            self._space.signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(TERM_S, self._space.signal, signal.SIGKILL)
        else:
            self._space.signal(signal.SIGKILL)

    def _listen(self) -> None:
        for message in self._space.messages():
            self._heard(message)

    def _heard(self, message: Message) -> None:
        match message["say"]:
            case "started":
                self._started = True
            case "failed":
                self._start_error = os.strerror(message["errno"]).lower()
                self._over.set()
            case "ended":
                self._status = message["status"]
                self._over.set()
            case "alone":
                self._alone.set()
            case "gone":  # killed from outside
                self._status = -signal.SIGKILL if self._status is None else self._status
                asyncio.get_running_loop().remove_reader(self._space.fileno())
                self._over.set()
                self._alone.set()

    @asynccontextmanager
    async def _upstream(self, serving: Serving, tasks: asyncio.TaskGroup) -> AsyncIterator[None]:
        """The upstream in use, for as long as the context lasts."""
        choice = self._options.upstream
        if isinstance(choice, Address):
            serving.use(choice)
            yield
        elif self._authority is not None:
            address = Address(path=str(self._folder / "socks"))
            sandbox = Sandbox(address.path, Pages(self._canaries), self._authority)
            await sandbox.start()
            serving.use(address)
            yield
            self._untrusted = sandbox.is_untrusted
            await sandbox.close()
        else:
            async with self._tor(choice, serving, tasks):
                yield

    @asynccontextmanager
    async def _tor(self, choice: str, serving: Serving, tasks: asyncio.TaskGroup) -> AsyncIterator[None]:
        """The Tor that runs already, or one of our own whose state is gone afterwards."""
        child = TorChild(self._options.tor_command, self._folder / "tor")
        candidates: Sequence[Address] = (*(CANDIDATES if choice == AUTO else ()), child.address)

        def publish(event: Event) -> None:
            serving.publish(event)
            match event:
                case TorBootstrapped(progress=progress):
                    self._waiting(event)
                    ready = progress == ALL
                case UpstreamFailed(upstream=upstream):  # another user's Tor is passed over, and ours waited for
                    ready = upstream in (AUTO, TOR)
                case _:
                    ready = False
            if ready:
                self._go.set()

        keeper = UpstreamKeeper(candidates, child, serving.use, publish)
        found = await keeper.find()
        keeping = tasks.create_task(keeper.run(), name="upstream")
        try:
            if found is None:
                # A tor that is starting up refuses everything, and the program would be judged by that.
                await _within(self._go, TOR_READY_S)
            yield
        finally:
            keeping.cancel()
            child.discard()

    def _result(self, serving: Serving, left: bool) -> Run:
        space, options = self._space, self._options
        departures = [
            Departure(seen.at, seen.packet, count, seen.process, seen.process_reason, canary)
            for seen, count, canary in self._trap.sightings()
        ]
        return Run(
            options.command,
            self._began,
            time.time() - self._began,
            str(options.upstream),
            Isolation(
                space.user_namespace,
                space.trap_kind,
                tuple(space.families),
                tuple(space.hidden),
                options.interactive,
                os.geteuid() == 0,
                os.uname().release,
            ),
            None,
            self._started,
            self._start_error,
            self._status,
            self._stopped,
            left,
            tuple(serving.events),
            tuple(departures),
            self._trap.uncounted,
            self._canaries,
            self._untrusted,
            options.linger_s,
        )


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for it; False if it has not come in time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
