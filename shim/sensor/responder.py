"""One DNS message in, its reply out: read, ask the judge, answer, and publish what happened.

Owns no socket; never asks a resolver. A reply that has to wait for Tor comes later, through a callback.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Protocol, TypeVar

from shim.events import DnsQueried, Event, Fault
from shim.judge.answering import Plan
from shim.judge.names import address_of_reverse
from shim.model import Answer, Command, DnsAnswer, DnsMode, Host, Peer, Reply, Request
from shim.model import Protocol as Spoken
from shim.policy import DnsPolicy
from shim.protocol import dns
from shim.protocol.dns import Bad, Drop, Query, Rcode
from shim.sensor.askers import Askers, Eyes, Seen
from shim.sensor.limiter import RateLimiter
from shim.sensor.lookups import Lookups, Resolve
from shim.sensor.unanswered import Unanswered

IpAddress = IPv4Address | IPv6Address

TOR_TTL_S = 60
"""RESOLVE tells no TTL; Tor's own DNSPort never gives a smaller one than this."""

ISSUED_TTL_S = 1
"""An issued address is good for one use: a cache that keeps it must ask again before the pool reuses it."""

NOTHING = b""
"""What a client gets that is owed no reply."""

Deliver = Callable[[bytes], None]


class DnsBench(Protocol):
    """Where queries are judged."""

    dns: DnsPolicy

    def plan(self, name: str, qtype: int, pointer: IpAddress | None) -> Plan: ...

    def issue(self, name: str, family: int, at: float) -> IpAddress | None: ...

    def name_of(self, address: IpAddress, at: float) -> str | None: ...

    def told(self, peer: Peer, name: str, addresses: tuple[IpAddress, ...], at: float) -> None: ...


Message = TypeVar("Message", bound=Query | Bad | Drop)


class Asked(Generic[Message]):
    """One message on its way to its answer: where it came from, and where its reply goes."""

    __slots__ = ("at", "deliver", "id", "listener", "peer", "query", "seen", "transport")

    def __init__(
        self, query: Message, id: str, at: float, peer: Peer, listener: str, transport: str, deliver: Deliver
    ) -> None:
        self.query = query
        self.id = id
        self.at = at
        self.peer = peer
        self.listener = listener
        self.transport = transport
        self.deliver = deliver
        self.seen: Seen = (None, "off")


class Responder:
    """Answers the messages of all listeners of this process."""

    def __init__(
        self,
        bench: DnsBench,
        publish: Callable[[Event], None],
        resolve: Resolve,
        limiter: RateLimiter,
        prefix: str = "q",
        eyes: Eyes | None = None,
    ) -> None:
        """Without `eyes`, nobody looks who asked."""
        self._bench = bench
        self._publish = publish
        self._lookups = Lookups(resolve)
        self._limiter = limiter
        self._askers = None if eyes is None else Askers(eyes)
        self._prefix = prefix
        self._last = 0
        self.unanswered = Unanswered(publish, "queries_per_second")
        self.unsent = Unanswered(publish, "send_queue")

    def handle(self, wire: bytes, peer: Peer, listener: str, transport: str, deliver: Deliver) -> bytes | None:
        """The reply to send now, NOTHING when none is owed. None: `deliver` gets it once, when who asked is known, or
        Tor has answered.

        Raises nothing: a message that meets a bug of ours is published as a fault, and ends no listener.
        """
        at = time.time()
        if not self._limiter.allows(peer.host, at):
            self.unanswered.add(peer)
            return NOTHING
        self._last += 1
        try:
            query = dns.read_query(wire, tcp=transport == "tcp")
            asked_id = f"{self._prefix}{self._last}"
            if isinstance(query, Query):
                return self._answer(Asked(query, asked_id, at, peer, listener, transport, deliver), self._plan)
            asked = Asked(query, asked_id, at, peer, listener, transport, deliver)
            if isinstance(query, Bad) and query.name is not None:  # it was given away all the same
                return self._answer(asked, self._object)
            return self._object(asked)
        except Exception as error:
            self._publish(Fault.of(error, at))
            return NOTHING

    def _answer(self, asked: Asked[Message], make: Callable[[Asked[Message]], bytes | None]) -> bytes | None:
        if self._askers is not None:
            seen = self._askers.glance(asked.peer, asked.listener, asked.transport)
            if seen is None:
                then = partial(self._answer_seen, asked, make)
                self._askers.look(asked.id, asked.peer, asked.listener, asked.transport, then)
                return None
            asked.seen = seen
        return make(asked)

    def _answer_seen(self, asked: Asked[Message], make: Callable[[Asked[Message]], bytes | None], seen: Seen) -> None:
        asked.seen = seen
        self._late(asked, partial(make, asked))

    def _late(self, asked: Asked[Message], make: Callable[[], bytes | None]) -> None:
        """Deliver what could not be said at once."""
        try:
            reply = make()
        except Exception as error:
            self._publish(Fault.of(error, time.time()))
            reply = NOTHING
        if reply is not None:
            asked.deliver(reply)

    def _plan(self, asked: Asked[Query]) -> bytes | None:
        query = asked.query
        pointer = address_of_reverse(query.name) if query.qtype == dns.TYPE_PTR else None
        plan = self._bench.plan(query.name, query.qtype, pointer)
        if plan is REFUSE:
            return self._refuse(asked, _BY_NAME[self._bench.dns.refusal])
        if plan is ISSUE4:
            return self._issue(asked, 4)
        if plan is EMPTY:
            return self._finish(asked, dns.empty(query), NOERROR, _ANSWER[self._bench.dns.mode])
        if plan is ISSUE6:
            return self._issue(asked, 6)
        if plan is POINTER:
            return self._point(asked, pointer)
        if plan is NXDOMAIN:
            return self._refuse(asked, Rcode.NXDOMAIN)
        if plan is RESOLVE_PTR:
            assert pointer is not None
            return self._ask_tor(asked, Command.RESOLVE_PTR, pointer)
        return self._ask_tor(asked, Command.RESOLVE, query.name)

    def _object(self, asked: Asked[Bad | Drop]) -> bytes:
        """What is owed to a message that is no query for us; the judge has no say in it."""
        self._publish(_of_unreadable(asked))
        return asked.query.reply if isinstance(asked.query, Bad) else NOTHING

    def _refuse(self, asked: Asked[Query], rcode: Rcode) -> bytes:
        return self._finish(asked, dns.refuse(asked.query, rcode), rcode, BY_REFUSAL)

    def _issue(self, asked: Asked[Query], family: int) -> bytes:
        address = self._bench.issue(asked.query.name, family, asked.at)
        if address is None:  # the pool is full: no live entry is given up for a new one
            return self._refuse(asked, Rcode.SERVFAIL)
        reply = dns.answer(asked.query, (address,), ISSUED_TTL_S)
        return self._finish(asked, reply, NOERROR, BY_ISSUE, (address,))

    def _point(self, asked: Asked[Query], pointer: IpAddress | None) -> bytes:
        name = None if pointer is None else self._bench.name_of(pointer, asked.at)
        if name is None:
            return self._refuse(asked, Rcode.NXDOMAIN)
        return self._finish(asked, dns.pointer(asked.query, name, ISSUED_TTL_S), NOERROR, BY_ISSUE)

    def _ask_tor(self, asked: Asked[Query], command: Command, host: Host) -> bytes | None:
        request = Request(Spoken.SOCKS5, command, host, 0)
        self._lookups.ask(
            request,
            asked.peer,
            asked.id,
            lambda answer: self._late(asked, partial(self._of_answer, asked, command, answer)),
        )
        return None

    def _of_answer(self, asked: Asked[Query], command: Command, answer: Answer | None) -> bytes:
        """What Tor's answer is in DNS. RESOLVE gives one address, of whichever family the exit prefers."""
        query = asked.query
        rcode = Rcode.SERVFAIL if answer is None else _RCODES.get(answer.reply, Rcode.SERVFAIL)
        if answer is None or rcode is not Rcode.NOERROR:
            return self._finish(asked, dns.refuse(query, rcode), rcode, DnsAnswer.TOR)
        if (command is Command.RESOLVE_PTR) is not isinstance(answer.host, str):  # an exit may answer anything
            return self._finish(asked, dns.refuse(query, Rcode.SERVFAIL), Rcode.SERVFAIL, DnsAnswer.TOR)
        if isinstance(answer.host, str):
            return self._of_name(asked, answer.host)
        addresses = (answer.host,) if answer.host.version == _FAMILY[query.qtype] else ()
        self._bench.told(asked.peer, query.name, addresses, time.time())
        return self._finish(asked, dns.answer(query, addresses, TOR_TTL_S), rcode, DnsAnswer.TOR, addresses)

    def _of_name(self, asked: Asked[Query], name: str) -> bytes:
        query, rcode = asked.query, Rcode.NOERROR
        try:
            reply = dns.pointer(query, name, TOR_TTL_S)
        except ValueError:
            rcode = Rcode.SERVFAIL
            reply = dns.refuse(query, rcode)
        return self._finish(asked, reply, rcode, DnsAnswer.TOR)

    def _finish(
        self, asked: Asked[Query], reply: bytes, rcode: Rcode, answer: DnsAnswer, addresses: tuple[IpAddress, ...] = ()
    ) -> bytes:
        query = asked.query
        self._publish(
            DnsQueried(
                asked.at,
                asked.id,
                asked.peer,
                asked.listener,
                asked.transport,
                query.name,
                dns.type_name(query.qtype),
                _NAMES[rcode],
                answer,
                addresses,
                *asked.seen,
            )
        )
        return dns.fit(query, reply, tcp=asked.transport == "tcp")


REFUSE, NXDOMAIN, EMPTY = Plan.REFUSE, Plan.NXDOMAIN, Plan.EMPTY
ISSUE4, ISSUE6, POINTER = Plan.ISSUE4, Plan.ISSUE6, Plan.POINTER
RESOLVE, RESOLVE_PTR = Plan.RESOLVE, Plan.RESOLVE_PTR
NOERROR, BY_REFUSAL, BY_ISSUE = Rcode.NOERROR, DnsAnswer.REFUSE, DnsAnswer.ISSUE
"""What each query needs: reaching a member through its class costs 0.2 us in Python 3.11, and a query reached ten."""

_BY_NAME = {rcode.name: rcode for rcode in Rcode}
_ANSWER = {DnsMode.REFUSE: DnsAnswer.REFUSE, DnsMode.ISSUE: DnsAnswer.ISSUE, DnsMode.TOR: DnsAnswer.TOR}
_NAMES = {rcode: rcode.name for rcode in Rcode}  # a look into a table costs a fifth of the property
_FAMILY = {dns.TYPE_A: 4, dns.TYPE_AAAA: 6}

_RCODES: dict[int, Rcode] = {
    Reply.SUCCEEDED: Rcode.NOERROR,
    # Tor's END reason RESOLVEFAILED; everything else may pass by itself, and is SERVFAIL (as its DNSPort has it).
    Reply.HOST_UNREACHABLE: Rcode.NXDOMAIN,
}


def _of_unreadable(asked: Asked[Bad | Drop]) -> DnsQueried:
    """What there is to tell of a message that is no query for us; its name, if it could be read, was exposed."""
    bad = asked.query
    where = asked.at, asked.id, asked.peer, asked.listener, asked.transport
    if isinstance(bad, Drop):
        return DnsQueried(*where, "", "", "", DnsAnswer.DROP)
    qtype = "" if bad.qtype is None else dns.type_name(bad.qtype)
    name, rcode = bad.name or "", bad.rcode.name
    return DnsQueried(*where, name, qtype, rcode, DnsAnswer.REFUSE, (), *asked.seen)
