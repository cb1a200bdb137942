"""One running shim: its listeners and its upstream, its signals, its reload and its drain.

Holds no logic of its own: what is judged, logged or relayed is decided further down.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from socket import socket

from shim.address import Address
from shim.config import Config, changes, needs_restart, unused
from shim.errors import ConfigError
from shim.events import (
    ConfigRejected,
    ConfigReloaded,
    Draining,
    Event,
    HelperEnded,
    Ready,
    SettingUnused,
    UpstreamFailed,
)
from shim.guardian import GuardedTor, Link
from shim.parts import Parts
from shim.protocol.http_connect import HttpConnectServer
from shim.protocol.socks_server import SocksServer
from shim.proxy.listener import Listener
from shim.proxy.lookup import look_up
from shim.sensor.keeping import StateFile
from shim.sensor.limiter import RateLimiter
from shim.sensor.responder import Responder
from shim.sensor.sensor import Pair, address_of, jobs
from shim.tor.child import TorChild
from shim.tor.discover import CANDIDATES
from shim.tor.keeper import UpstreamKeeper
from shim.workers import Workers

DRAIN_LOOK_S = 0.05
"""How often draining looks whether the last connection has ended."""

GC_THRESHOLD = 20_000
"""Objects before a collection. A connection leaves no cycles behind, so looking for them seldom is enough."""


class Service:
    """One worker process, from its sockets to its last line."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        workers: Workers,
        *,
        link: Link | None = None,
        sandbox: tuple[str, ...] = (),
    ) -> None:
        """`link` leads to the guardian; `sandbox` is what is in force of it."""
        self._config = config
        self._parts = parts
        self._publish = parts.bus.publish
        self._plane = parts.plane
        self._workers = workers
        self._link = link
        self._sandbox = sandbox
        self._signals = 0
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._listeners: list[Listener] = []
        self._keeper: UpstreamKeeper | None = None

    async def run(
        self,
        socks: Sequence[socket],
        http: Sequence[socket],
        dns: Sequence[Pair],
        child: TorChild | None,
    ) -> int:
        """Serve until told to stop; then drain. The exit status."""
        self._attach()
        bound = self._listen(socks, SocksServer), self._listen(http, HttpConnectServer)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(job, name=name) for name, job in self._sensing(dns)]
            running += await self._start_upstream(tasks, child, own={*bound[0], *bound[1]})
            gc.collect()
            gc.freeze()  # nothing made so far will ever be garbage: keep the collector away from it
            gc.set_threshold(GC_THRESHOLD)
            if not self._workers.index:
                self._publish_ready(*bound, tuple(map(address_of, dns)))
            if self._parts.control is not None:
                self._parts.control.start()
            await self._stop.wait()
            await self._drain()
            for task in running:
                task.cancel()
        asyncio.get_running_loop().remove_reader(self._parts.poller.fileno())
        self._parts.close()
        return 0

    def _attach(self) -> None:
        """Let the event loop call: for signals, for the data plane's poll set, for the guardian, and for bugs."""
        loop, parts = asyncio.get_running_loop(), self._parts
        loop.set_exception_handler(lambda _loop, context: parts.fault(context.get("exception")))
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._told_to_stop, signum)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
        loop.add_reader(parts.poller.fileno(), parts.poller.dispatch)
        if self._link is not None:
            self._link.attach(loop, parts.attributor.use, self._guardian_gone)
        self._workers.watch(loop, self._worker_gone)

    def _listen(self, sockets: Sequence[socket], codec: type[SocksServer] | type[HttpConnectServer]) -> tuple[str, ...]:
        listeners = [Listener(self._plane, sock, codec) for sock in sockets]
        for listener in listeners:
            listener.start()
        self._listeners += listeners
        return tuple(listener.address for listener in listeners)

    def _sensing(self, pairs: Sequence[Pair]) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        if not pairs:
            return
        dns, parts = self._config.dns, self._parts
        limiter = RateLimiter(dns.queries_per_second)
        resolve = partial(look_up, self._plane)
        yield from jobs(pairs, Responder(parts.judge, self._publish, resolve, limiter, eyes=parts.eyes))
        if parts.pool is not None and dns.state:
            state = StateFile(Path(dns.state), parts.pool, self._publish)
            state.read()
            yield "dns state", state.keep()

    async def _start_upstream(
        self, tasks: asyncio.TaskGroup, child: TorChild | None, own: set[str]
    ) -> list[asyncio.Task[None]]:
        address = self._config.upstream.address
        if isinstance(address, Address):
            self._plane.upstream = address
            return []
        candidates = [candidate for candidate in CANDIDATES if str(candidate) not in own]
        if child is not None:
            candidates.append(child.address)
        mine = None
        if child is not None and self._link is not None and not self._workers.index:
            mine = GuardedTor(child, self._link)
        self._keeper = keeper = UpstreamKeeper(candidates, mine, self._use_upstream, self._publish)
        self._parts.bus.subscribe(self._watch_upstream)
        await keeper.find()
        return [tasks.create_task(keeper.run(), name="upstream")]

    def _use_upstream(self, address: Address | None) -> None:
        self._plane.upstream = address

    def _watch_upstream(self, event: Event) -> None:
        if isinstance(event, UpstreamFailed) and (event.conn or event.query) and self._keeper is not None:
            self._keeper.suspect()

    def _publish_ready(self, socks: tuple[str, ...], http: tuple[str, ...], dns: tuple[str, ...]) -> None:
        upstream = None if self._plane.upstream is None else str(self._plane.upstream)
        self._publish(Ready(time.time(), socks, http, dns, (), upstream, self._config.policy.mode, self._sandbox))
        for setting, needs in unused(self._config):
            self._publish(SettingUnused(time.time(), setting, needs))
        self._parts.bus.flush()

    def _guardian_gone(self) -> None:
        self._publish(HelperEnded(time.time(), "guardian"))

    def _worker_gone(self) -> None:
        """Nobody else tells: its own lines have ended, and so have its connections."""
        if not self._stop.is_set():
            self._publish(HelperEnded(time.time(), "worker"))

    def _told_to_stop(self, signum: signal.Signals) -> None:
        self._signals += 1
        self._workers.signal(signum)
        (self._stop if self._signals == 1 else self._hurry).set()

    def _told_to_reload(self) -> None:
        self._workers.signal(signal.SIGHUP)
        try:
            config = self._config.reload()
        except ConfigError as error:
            self._publish(ConfigRejected(time.time(), error.problems))
            return
        restart = needs_restart(changes(self._config, config))
        self._config = config
        self._parts.obey(config)
        self._publish(ConfigReloaded(time.time(), restart))

    async def _drain(self) -> None:
        """Let open connections finish, for a while."""
        for listener in self._listeners:
            listener.close()
        quota, seconds = self._parts.quota, self._config.limits.drain_timeout_s
        self._publish(Draining(time.time(), quota.open, seconds))
        deadline = time.monotonic() + seconds
        while quota.open and not self._hurry.is_set() and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, DRAIN_LOOK_S)):
                    await self._hurry.wait()
