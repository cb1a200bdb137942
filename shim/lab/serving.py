"""The shim itself, at work on the sockets of a namespace: sensor in mode issue, proxy in mode repair.

So a program that leaks still gets what it asked for, and its leak is proved. Writes no log: all events are kept.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from _socket import socket as Socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from shim.address import Address
from shim.advice import table
from shim.events import DnsQueried, Event, Fault, LeakFound, ProcessIdentified
from shim.judge.attributed import fold
from shim.judge.issued import NETWORK4, NETWORK6, IssuedPool
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.lab.namespace import Ask, Namespace
from shim.model import DnsMode, Mode
from shim.policy import DnsPolicy, Policy
from shim.protocol.http_connect import HttpConnectServer
from shim.protocol.socks_server import SocksServer
from shim.proxy.listener import Listener
from shim.proxy.lookup import look_up
from shim.proxy.pipes import PipePool, can_splice
from shim.proxy.plane import Plane
from shim.proxy.poller import new_poller
from shim.proxy.quota import Limits, Quota
from shim.proxy.wheel import TimerWheel
from shim.record.bus import Bus
from shim.sensor.limiter import RateLimiter
from shim.sensor.responder import Responder
from shim.sensor.sensor import jobs
from shim.witness.clues import Clue, Endpoint, Flow, of_connection

MAX_EVENTS = 200_000
"""Kept at most, findings excepted: a run that makes more has long shown what there is to see."""


class Serving:
    """All listeners of one namespace, and what happened there."""

    def __init__(self, space: Namespace) -> None:
        loop = asyncio.get_running_loop()
        self.events: list[Event] = []
        self._space = space
        self._who: Ask = space.who
        self._bus = Bus(loop.call_later)
        self._attributed = fold(table())
        self._bus.subscribe(self._attributed.feed)
        self._bus.subscribe(self._keep)
        pool = IssuedPool(NETWORK4, NETWORK6, start=secrets.randbits(32))
        dns = DnsPolicy(DnsMode.ISSUE, ipv6=True)
        judge = Judge(Policy(mode=Mode.REPAIR), AnswerMemory(), salt=os.urandom(16), dns=dns, pool=pool)
        self._poller = new_poller(self._fault)
        self._plane = Plane(
            self._poller,
            TimerWheel(loop.call_later),
            Quota(Limits()),
            judge,
            self._bus.publish,
            pipes=PipePool() if can_splice() else None,
        )
        self._plane.identify = self._identify
        self._responder = Responder(judge, self._publish_query, partial(look_up, self._plane), RateLimiter(0))
        self._listeners: list[Listener] = []

    async def run(self, ready: asyncio.Event) -> None:
        """Serve until cancelled; then everything is closed and all events are there."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._poller.fileno(), self._poller.dispatch)
        for sockets, codec in ((self._space.socks, SocksServer), (self._space.http, HttpConnectServer)):
            self._listeners += [Listener(self._plane, sock, codec) for sock in sockets]
        for listener in self._listeners:
            listener.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, job in jobs(self._space.dns, self._responder):
                    tasks.create_task(job, name=name)
                ready.set()
        finally:
            self._end()

    def use(self, upstream: Address | None) -> None:
        """Requests go there from now on."""
        self._plane.upstream = upstream

    def publish(self, event: Event) -> None:
        """For what happens beside the data plane: the upstream's changes."""
        self._bus.publish(event)

    def _keep(self, event: Event) -> None:
        if len(self.events) < MAX_EVENTS or isinstance(event, LeakFound):
            self.events.append(event)

    def _identify(self, conn: str, sock: Socket, then: Callable[[], None] | None) -> None:
        sighting = self._who(of_connection(sock))
        self._bus.publish(ProcessIdentified(time.time(), conn, sighting.process, sighting.reason))
        if then is not None:
            then()

    def _publish_query(self, event: Event) -> None:
        """Called before the reply is sent: whoever asked still waits, so it can be seen."""
        if isinstance(event, DnsQueried):
            sighting = self._who(_clue(event))
            event = replace(event, process=sighting.process, process_reason=sighting.reason)
        self._bus.publish(event)

    def _fault(self, error: BaseException | None) -> None:
        self._bus.publish(Fault.of(error, time.time()))

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._poller.fileno())
        for listener in self._listeners:
            listener.close()
        for owner in self._poller.owners():
            owner.abort("shutdown")
        self._poller.close()
        self._bus.flush()
        self.events += self._attributed.rest()


def _clue(event: DnsQueried) -> Clue:
    server = Address.parse(event.listener)
    client = Endpoint(event.peer.host, event.peer.port)
    return Flow("tcp" if event.transport == "tcp" else "udp", client, Endpoint(server.host, server.port), query=True)
