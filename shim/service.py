"""One running shim: its parts wired together, its signals, its reload and its drain.

Holds no logic of its own: what is judged, logged or relayed is decided further down.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import time
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from socket import socket

from shim.address import Address
from shim.advice import table
from shim.around import Around
from shim.config import Config, Limits, Upstream, changes, needs_restart, unused
from shim.errors import ConfigError
from shim.events import (
    ConfigRejected,
    ConfigReloaded,
    Draining,
    Event,
    Fault,
    HelperEnded,
    Ready,
    SettingUnused,
    UpstreamFailed,
)
from shim.eyes import Eyes
from shim.guardian import GuardedTor, Link
from shim.judge.attributed import fold
from shim.judge.issued import IssuedPool
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.locale import catalogue
from shim.model import DnsMode
from shim.protocol.http_connect import HttpConnectServer
from shim.protocol.socks_server import SocksServer
from shim.proxy import quota
from shim.proxy.listener import Listener
from shim.proxy.lookup import look_up
from shim.proxy.pipes import PipePool, can_splice
from shim.proxy.plane import Plane
from shim.proxy.poller import new_poller
from shim.proxy.wheel import TimerWheel
from shim.record.bus import Bus
from shim.record.log import LogSink
from shim.record.writer import LineWriter
from shim.sensor.keeping import StateFile
from shim.sensor.limiter import RateLimiter
from shim.sensor.responder import Responder
from shim.sensor.sensor import Pair, address_of, jobs
from shim.tor.child import TorChild
from shim.tor.control import Control
from shim.tor.discover import CANDIDATES
from shim.tor.keeper import UpstreamKeeper
from shim.witness.attributor import Attributor
from shim.workers import Workers

DRAIN_LOOK_S = 0.05
"""How often draining looks whether the last connection has ended."""

GC_THRESHOLD = 20_000
"""Objects before a collection. A connection leaves no cycles behind, so looking for them seldom is enough."""

_STDERR = 2


class Service:
    """One worker process, from its sockets to its last line."""

    def __init__(
        self,
        config: Config,
        lang: str,
        workers: Workers,
        *,
        several: bool,
        link: Link | None = None,
        witness: socket | None = None,
        sandbox: tuple[str, ...] = (),
    ) -> None:
        """`link` leads to the guardian, `witness` to who looks up programs; `sandbox` is what is in force of it."""
        loop = asyncio.get_running_loop()
        self._config = config
        self._workers = workers
        self._link = link
        self._sandbox = sandbox
        self._signals = 0
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        worker = f"w{workers.index}" if workers.index else ""  # so that ids are unique in the whole run
        self._bus = Bus(loop.call_later)
        self._log = LogSink(
            LineWriter(_STDERR, atomic=several),
            catalogue(lang),
            format=config.log.format,
            level=config.log.level,
            reveal=not config.log.safe_logging,
            color=config.log.color,
            schedule=loop.call_later,
        )
        self._bus.subscribe(fold(table(), f"{worker}f").feed)
        self._bus.subscribe(self._log.take)
        self._pool = _new_pool(config)
        self._judge = Judge(config.policy, AnswerMemory(), salt=os.urandom(16), dns=config.dns.policy, pool=self._pool)
        self._quota = quota.Quota(_limits(config.limits, config.upstream))
        self._poller = new_poller(self._fault)
        self._plane = Plane(
            self._poller,
            TimerWheel(loop.call_later),
            self._quota,
            self._judge,
            self._bus.publish,
            pipes=PipePool() if can_splice() else None,
            prefix=f"{worker}c",
        )
        self._plane.pipelining = config.upstream.pipelining
        again = (lambda: None) if link is None else link.hire_again
        self._attributor = Attributor(self._bus.publish, loop, witness, ended=again)
        self._eyes: Eyes | None = None
        if self._attributor.available:
            self._eyes = Eyes(self._attributor)
            self._plane.identify = self._eyes.connection
            self._plane.whose = self._eyes.owner
        self._control = self._new_control(loop)
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
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self._fault(context.get("exception")))
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._told_to_stop, signum)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
        loop.add_reader(self._poller.fileno(), self._poller.dispatch)
        if self._link is not None:
            self._link.attach(loop, self._attributor.use, self._guardian_gone)
        bound = self._listen(socks, SocksServer), self._listen(http, HttpConnectServer)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(job, name=name) for name, job in self._sensing(dns)]
            running += await self._start_upstream(tasks, child, own={*bound[0], *bound[1]})
            gc.collect()
            gc.freeze()  # nothing made so far will ever be garbage: keep the collector away from it
            gc.set_threshold(GC_THRESHOLD)
            if not self._workers.index:
                self._publish_ready(*bound, tuple(map(address_of, dns)))
            if self._control is not None:
                self._control.start()
            await self._stop.wait()
            await self._drain()
            for task in running:
                task.cancel()
        self._end()
        return 0

    def _new_control(self, loop: asyncio.AbstractEventLoop) -> Control | None:
        """Who listens to Tor's control port, if that is wanted; told of every socket that the data plane makes."""
        upstream = self._config.upstream
        if upstream.control is None:
            return None
        around = Around(self._bus.publish, None if self._eyes is None else self._eyes.client_of_tor)
        password = Path(upstream.control_password_file) if upstream.control_password_file else None
        control = Control(upstream.control, password, around.asked, self._bus.publish, loop.call_soon_threadsafe)
        around.listeners = lambda: control.listeners
        self._plane.opened = around.opened
        return control

    def _listen(self, sockets: Sequence[socket], codec: type[SocksServer] | type[HttpConnectServer]) -> tuple[str, ...]:
        listeners = [Listener(self._plane, sock, codec) for sock in sockets]
        for listener in listeners:
            listener.start()
        self._listeners += listeners
        return tuple(listener.address for listener in listeners)

    def _sensing(self, pairs: Sequence[Pair]) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        if not pairs:
            return
        dns = self._config.dns
        limiter = RateLimiter(dns.queries_per_second)
        resolve = partial(look_up, self._plane)
        yield from jobs(pairs, Responder(self._judge, self._bus.publish, resolve, limiter, eyes=self._eyes))
        if self._pool is not None and dns.state:
            state = StateFile(Path(dns.state), self._pool, self._bus.publish)
            state.read()
            yield "dns state", state.keep()

    async def _start_upstream(
        self, tasks: asyncio.TaskGroup, child: TorChild | None, own: set[str]
    ) -> list[asyncio.Task[None]]:
        address = self._config.upstream.address
        if isinstance(address, Address):
            self._plane.target = address
            return []
        candidates = [candidate for candidate in CANDIDATES if str(candidate) not in own]
        if child is not None:
            candidates.append(child.address)
        mine = None
        if child is not None and self._link is not None and not self._workers.index:
            mine = GuardedTor(child, self._link)
        self._keeper = keeper = UpstreamKeeper(candidates, mine, self._use_upstream, self._bus.publish)
        self._bus.subscribe(self._watch_upstream)
        await keeper.find()
        return [tasks.create_task(keeper.run(), name="upstream")]

    def _use_upstream(self, address: Address | None) -> None:
        self._plane.target = address

    def _watch_upstream(self, event: Event) -> None:
        if isinstance(event, UpstreamFailed) and (event.conn or event.query) and self._keeper is not None:
            self._keeper.suspect()

    def _publish_ready(self, socks: tuple[str, ...], http: tuple[str, ...], dns: tuple[str, ...]) -> None:
        target = self._plane.target
        upstream = None if target is None else str(target)
        self._bus.publish(Ready(time.time(), socks, http, dns, (), upstream, self._config.policy.mode, self._sandbox))
        for setting, needs in unused(self._config):
            self._bus.publish(SettingUnused(time.time(), setting, needs))
        self._bus.flush()

    def _guardian_gone(self) -> None:
        self._bus.publish(HelperEnded(time.time(), "guardian"))

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
        self._quota.limits = _limits(config.limits, config.upstream)
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
        try:
            self._attributor.close()  # first: who waits for it goes on, perhaps by a leg that must end with all others
            for owner in self._poller.owners():
                owner.abort("shutdown")
            self._poller.close()
            if self._control is not None:
                self._control.close()
        finally:
            self._bus.flush()
            self._log.close()


def _limits(limits: Limits, upstream: Upstream) -> quota.Limits:
    return quota.Limits(
        limits.connections,
        limits.connections_per_client,
        limits.handshakes,
        limits.connections_per_process,
        limits.handshake_timeout_s,
        upstream.connect_timeout_s,
        upstream.reply_timeout_s,
        limits.idle_timeout_s,
    )


def _new_pool(config: Config) -> IssuedPool | None:
    """The pool counts only while the sensor issues: otherwise its addresses are ordinary ones."""
    dns = config.dns
    if not config.listen.dns or dns.policy.mode is not DnsMode.ISSUE:
        return None
    return IssuedPool(
        dns.network4,
        dns.network6 if dns.ipv6 else None,
        start=secrets.randbits(32),
        quarantine_s=dns.quarantine_s,
        capacity=dns.capacity,
    )
