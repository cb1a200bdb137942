"""Assembly: builds everything from the configuration; owns start, signals, reload and drain.

Holds no logic of its own: what is judged, logged or relayed is decided further down.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections.abc import Sequence
from socket import socket

import uvloop

from shim.address import Address
from shim.config import Config, changes, needs_restart
from shim.errors import ConfigError
from shim.events import ConfigRejected, ConfigReloaded, Draining, Event, Fault, Ready, UpstreamFailed
from shim.judge.correlate import Correlator
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.locale import catalogue
from shim.protocol.http_connect import HttpConnectServer
from shim.protocol.socks_server import SocksServer
from shim.proxy.listener import Listener, bind, bound_address
from shim.proxy.pipes import PipePool, can_splice
from shim.proxy.plane import Plane
from shim.proxy.poller import new_poller
from shim.proxy.quota import Limits, Quota
from shim.proxy.wheel import TimerWheel
from shim.record.bus import Bus
from shim.record.log import LogSink
from shim.record.writer import LineWriter
from shim.tor.child import TorChild, data_directory
from shim.tor.discover import CANDIDATES
from shim.tor.keeper import UpstreamKeeper
from shim.workers import Workers

DRAIN_LOOK_S = 0.05
"""How often draining looks whether the last connection has ended."""

_STDERR = 2


class Sockets:
    """The listening sockets of all workers, bound before they fork."""

    def __init__(self, config: Config, workers: int) -> None:
        self.socks = _bind_all(config.listen.socks, config, workers)
        self.http = _bind_all(config.listen.http, config, workers)

    def of(self, index: int) -> tuple[list[socket], list[socket]]:
        """The SOCKS and HTTP sockets of one worker; those of the others are closed in this process."""
        return _mine(self.socks, index), _mine(self.http, index)


def _bind_all(addresses: Sequence[Address], config: Config, workers: int) -> list[list[socket]]:
    """For each address one socket a worker; a unix socket, which cannot be bound twice, serves them all."""
    mode = config.listen.unix_socket_mode
    bound = []
    for address in addresses:
        first = bind(address, mode=mode, shared=workers > 1)
        again = bound_address(first)
        rest = [first if address.is_unix else bind(again, shared=True) for _ in range(1, workers)]
        bound.append([first, *rest])
    return bound


def _mine(sockets: list[list[socket]], index: int) -> list[socket]:
    for group in sockets:
        for other in group:
            if other is not group[index]:
                other.close()
    return [group[index] for group in sockets]


class Shim:
    """One worker process."""

    def __init__(self, config: Config, lang: str, workers: Workers, *, several: bool) -> None:
        loop = asyncio.get_running_loop()
        self._config = config
        self._workers = workers
        self._signals = 0
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._bus = Bus(loop.call_later)
        self._writer = LineWriter(_STDERR, atomic=several)
        self._log = LogSink(
            self._writer,
            catalogue(lang),
            format=config.log.format,
            level=config.log.level,
            reveal=not config.log.safe_logging,
            color=config.log.color,
            schedule=loop.call_later,
        )
        self._bus.subscribe(Correlator().feed)
        self._bus.subscribe(self._log)
        self._judge = Judge(config.policy, AnswerMemory(), salt=os.urandom(16))
        self._quota = Quota(_limits(config))
        self._poller = new_poller(self._fault)
        self._plane = Plane(
            self._poller,
            TimerWheel(loop.call_later),
            self._quota,
            self._judge,
            self._bus.publish,
            pipes=PipePool() if can_splice() else None,
            prefix="c" if not workers.index else f"w{workers.index}c",
        )
        self._plane.pipelining = config.upstream.pipelining
        self._listeners: list[Listener] = []
        self._keeper: UpstreamKeeper | None = None

    async def run(self, socks: list[socket], http: list[socket], child: TorChild | None) -> int:
        """Serve until told to stop; then drain."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self._fault(context.get("exception")))
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._told_to_stop, signum)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
        loop.add_reader(self._poller.fileno(), self._poller.dispatch)
        names = self._listen(socks, SocksServer), self._listen(http, HttpConnectServer)
        async with asyncio.TaskGroup() as tasks:
            keeping = await self._start_upstream(tasks, child, own={*names[0], *names[1]})
            gc.collect()
            gc.freeze()  # nothing made so far will ever be garbage: keep the collector away from it
            if not self._workers.index:
                self._publish_ready(*names)
            await self._stop.wait()
            await self._drain()
            if keeping is not None:
                keeping.cancel()
        self._end()
        return 0

    def _listen(self, sockets: list[socket], codec: type[SocksServer] | type[HttpConnectServer]) -> tuple[str, ...]:
        listeners = [Listener(self._plane, sock, codec) for sock in sockets]
        for listener in listeners:
            listener.start()
        self._listeners += listeners
        return tuple(listener.address for listener in listeners)

    async def _start_upstream(
        self, tasks: asyncio.TaskGroup, child: TorChild | None, own: set[str]
    ) -> asyncio.Task[None] | None:
        address = self._config.upstream.address
        if isinstance(address, Address):
            self._plane.target = address
            return None
        candidates = [candidate for candidate in CANDIDATES if str(candidate) not in own]
        if child is not None:
            candidates.append(child.address)
        mine = child if not self._workers.index else None
        keeper = UpstreamKeeper(candidates, mine, self._use_upstream, self._bus.publish)
        self._keeper = keeper
        self._bus.subscribe(self._watch_upstream)
        await keeper.find()
        return tasks.create_task(keeper.run(), name="upstream")

    def _use_upstream(self, address: Address | None) -> None:
        self._plane.target = address

    def _watch_upstream(self, event: Event) -> None:
        if isinstance(event, UpstreamFailed) and event.conn is not None and self._keeper is not None:
            self._keeper.suspect()

    def _publish_ready(self, socks: tuple[str, ...], http: tuple[str, ...]) -> None:
        target = self._plane.target
        upstream = None if target is None else str(target)
        self._bus.publish(Ready(time.time(), socks, http, (), (), upstream, self._config.policy.mode))
        self._bus.flush()

    def _fault(self, error: BaseException | None) -> None:
        self._bus.publish(Fault.of(error, time.time()))

    def _told_to_stop(self, signum: signal.Signals) -> None:
        self._signals += 1
        self._workers.signal(signum)
        (self._stop if self._signals == 1 else self._hurry).set()

    def _told_to_reload(self) -> None:
        self._workers.signal(signal.SIGHUP)
        try:
            config = self._config.reload()
        except ConfigError as error:
            self._bus.publish(ConfigRejected(time.time(), error.problems))
            return
        restart = needs_restart(changes(self._config, config))
        self._config = config
        self._judge.policy = config.policy
        self._quota.limits = _limits(config)
        self._log.configure(level=config.log.level, reveal=not config.log.safe_logging)
        self._plane.pipelining = config.upstream.pipelining
        self._bus.publish(ConfigReloaded(time.time(), restart))

    async def _drain(self) -> None:
        """Let open connections finish, for a while."""
        for listener in self._listeners:
            listener.close()
        seconds = self._config.limits.drain_timeout_s
        self._bus.publish(Draining(time.time(), self._quota.open, seconds))
        deadline = time.monotonic() + seconds
        while self._quota.open and not self._hurry.is_set() and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, DRAIN_LOOK_S)):
                    await self._hurry.wait()

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._poller.fileno())
        for owner in self._poller.owners():
            owner.abort("shutdown")
        self._poller.close()
        self._bus.flush()
        self._log.close()


def run(config: Config, *, workers: int = 1, lang: str = "en") -> int:
    """The whole life of `shim run`; the result is the exit status. ListenError before it has begun."""
    _set_resource_limits()
    sockets = Sockets(config, workers)
    child = None
    if not isinstance(config.upstream.address, Address):
        child = TorChild(config.upstream.tor_command, data_directory())
    family = Workers.fork(workers)
    socks, http = sockets.of(family.index)

    async def main() -> int:
        shim = Shim(config, lang, family, several=workers > 1)
        return await shim.run(socks, http, child)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(main())
    family.wait()
    if child is not None and not family.index:
        child.discard()
    return status


def _limits(config: Config) -> Limits:
    limits, upstream = config.limits, config.upstream
    return Limits(
        limits.connections,
        limits.connections_per_client,
        limits.handshakes,
        limits.handshake_timeout_s,
        upstream.connect_timeout_s,
        upstream.reply_timeout_s,
        limits.idle_timeout_s,
    )


def _set_resource_limits() -> None:
    """As many descriptors as we may have: a tunnel takes two. And no core dumps: they would hold destinations."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
