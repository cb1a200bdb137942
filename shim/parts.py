"""The parts of one running shim, made from its configuration and joined to each other.

Starts none of them, and holds no logic of its own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from pathlib import Path
from socket import socket

from shim.advice import table
from shim.around import Around
from shim.config import Config, Upstream
from shim.events import Fault
from shim.eyes import Eyes
from shim.guardian import Link
from shim.judge.attributed import fold
from shim.judge.issued import IssuedPool
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.locale import catalogue
from shim.model import DnsMode
from shim.proxy.pipes import PipePool, can_splice
from shim.proxy.plane import Plane
from shim.proxy.poller import new_poller
from shim.proxy.quota import Limits, Quota
from shim.proxy.wheel import TimerWheel
from shim.record.bus import Bus
from shim.record.log import LogSink
from shim.record.writer import LineWriter
from shim.tor.control import Control
from shim.witness.attributor import Attributor
from shim.workers import Workers

_STDERR = 2


class Parts:
    """What one process consists of, but for its listeners and its upstream. Made in a running event loop."""

    def __init__(
        self, config: Config, lang: str, workers: Workers, link: Link | None = None, witness: socket | None = None
    ) -> None:
        """`link` leads to the guardian, `witness` to who looks up programs."""
        loop = asyncio.get_running_loop()
        self.bus = Bus(loop.call_later)
        self.log = _new_log(config, lang, workers, loop)
        self.bus.subscribe(fold(table(), f"{workers.prefix}f").feed)
        self.bus.subscribe(self.log.take)
        self.pool = _new_pool(config)
        self.judge = Judge(config.policy, AnswerMemory(), salt=os.urandom(16), dns=config.dns.policy, pool=self.pool)
        self.quota = Quota(_limits(config))
        self.poller = new_poller(self.fault)
        self.plane = Plane(
            self.poller,
            TimerWheel(loop.call_later),
            self.quota,
            self.judge,
            self.bus.publish,
            pipes=PipePool() if can_splice() else None,
            prefix=f"{workers.prefix}c",
        )
        self.plane.pipelining = config.upstream.pipelining
        again = (lambda: None) if link is None else link.hire_again
        self.attributor = Attributor(self.bus.publish, loop, witness, ended=again)
        self.eyes = self._open_eyes()
        self.control = self._new_control(config.upstream, loop)

    def _open_eyes(self) -> Eyes | None:
        """Who sees whose a connection is, if anybody can."""
        if not self.attributor.available:
            return None
        eyes = Eyes(self.attributor)
        self.plane.identify = eyes.connection
        self.plane.whose = eyes.owner
        return eyes

    def _new_control(self, upstream: Upstream, loop: asyncio.AbstractEventLoop) -> Control | None:
        """Who listens to Tor's control port, if that is wanted; told of every socket that the data plane makes."""
        if upstream.control is None:
            return None
        around = Around(self.bus.publish, None if self.eyes is None else self.eyes.client_of_tor)
        password = Path(upstream.control_password_file) if upstream.control_password_file else None
        control = Control(upstream.control, password, around.asked, self.bus.publish, loop.call_soon_threadsafe)
        around.listeners = lambda: control.listeners
        self.plane.opened = around.opened
        return control

    def fault(self, error: BaseException | None) -> None:
        """A bug: it is told, and ends nothing but what it happened in."""
        self.bus.publish(Fault.of(error, time.time()))

    def obey(self, config: Config) -> None:
        """Take over what of another configuration a running shim can."""
        self.judge.policy = config.policy
        self.quota.limits = _limits(config)
        self.log.configure(level=config.log.level, reveal=not config.log.safe_logging)
        self.plane.pipelining = config.upstream.pipelining

    def close(self) -> None:
        """End all that is open, and write down the last of what there is to say."""
        try:
            self.attributor.close()  # first: who waits for it goes on, perhaps by a leg that must end with all others
            for owner in self.poller.owners():
                owner.abort("shutdown")
            self.poller.close()
            if self.control is not None:
                self.control.close()
        finally:
            self.bus.flush()
            self.log.close()


def _new_log(config: Config, lang: str, workers: Workers, loop: asyncio.AbstractEventLoop) -> LogSink:
    return LogSink(
        LineWriter(_STDERR, atomic=workers.several),
        catalogue(lang),
        format=config.log.format,
        level=config.log.level,
        reveal=not config.log.safe_logging,
        color=config.log.color,
        schedule=loop.call_later,
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


def _limits(config: Config) -> Limits:
    limits, upstream = config.limits, config.upstream
    return Limits(
        limits.connections,
        limits.connections_per_client,
        limits.handshakes,
        limits.connections_per_process,
        limits.handshake_timeout_s,
        upstream.connect_timeout_s,
        upstream.reply_timeout_s,
        limits.idle_timeout_s,
    )
