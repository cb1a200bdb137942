"""Events in, findings out: a fold that gives the same findings live and in replay.

Asks no clock: the time of a finding is the time of its event. What it remembers is bounded in count and age.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from shim.events import (
    DnsQueried,
    Event,
    FirstBytesSeen,
    HandshakeFailed,
    LeakFound,
    ProcessIdentified,
    RequestDecided,
    TorAsked,
)
from shim.judge.beside import Beside, machine_of
from shim.judge.decide import FORWARD_BY_RULE
from shim.judge.endpoints import DNS_PORTS, is_known_resolver
from shim.judge.findings import ONLY_ADDRESSES, address_of, of_handshake, of_request, plaintext_port
from shim.judge.habits import Habits
from shim.judge.hosts import is_local_address, number
from shim.judge.issued import LIVE_S
from shim.judge.ledger import Ledger
from shim.judge.memory import MIN_AGE_S
from shim.judge.names import NameKind, address_of_reverse, kind_of
from shim.judge.overheard import Overheard
from shim.judge.probes import Probes
from shim.judge.queries import (
    BY_KIND,
    PLAIN,
    REVERSE,
    REVERSE_ISSUED,
    REVERSE_LOCAL,
    REVERSE_REACHED,
    Shape,
    of_query,
)
from shim.judge.recent import Recent
from shim.judge.reconcile import around
from shim.model import Command, DnsAnswer, Exposure

ENTRIES = 8192

Address = IPv4Address | IPv6Address
Findings = tuple[LeakFound, ...]
_NONE: Findings = ()
_NAME = Exposure.NAME
_NOT_BESIDE = frozenset((NameKind.ONION, NameKind.ONION_WITH_SUFFIX, NameKind.REVERSE))


class Correlator:
    """Folds each kind of event by its own method; what joins two events stands in a memory of its own."""

    __slots__ = ("_beside", "_folds", "_habits", "_issued", "_ledger", "_overheard", "_pointed", "_probes", "_reached")

    def __init__(self, prefix: str = "f") -> None:
        """`prefix` begins the number of every finding."""
        self._ledger = Ledger(prefix)
        self._beside = Beside(self._ledger)
        self._probes = Probes(self._ledger)
        self._overheard = Overheard(self._ledger)
        self._habits = Habits()
        self._issued: Recent[int, tuple[str, str]] = Recent(ENTRIES, LIVE_S)
        self._reached: Recent[tuple[str, int], bool] = Recent(ENTRIES, MIN_AGE_S)
        self._pointed: Recent[tuple[str, int], str] = Recent(ENTRIES, MIN_AGE_S)
        self._folds: Mapping[type, Callable[[Any], Findings]] = {
            RequestDecided: self._request,
            HandshakeFailed: self._handshake,
            DnsQueried: self._query,
            FirstBytesSeen: self._overheard.seen,
            ProcessIdentified: self._beside.identified,
            TorAsked: self._told_by_tor,
        }

    def feed(self, event: Event) -> Findings:
        """What this event adds to what is known; mostly nothing."""
        fold = self._folds.get(type(event))
        return _NONE if fold is None else fold(event)

    def _handshake(self, event: HandshakeFailed) -> Findings:
        found = of_handshake(event, self._ledger.take)
        return _NONE if found is None else (found,)

    def _told_by_tor(self, event: TorAsked) -> Findings:
        return around(event, self._ledger.take)

    def _request(self, event: RequestDecided) -> Findings:
        findings = self._exposed(event)
        if event.verdict.plaintext:
            findings = (*findings, plaintext_port(event, self._ledger.take))
        return findings

    def _exposed(self, event: RequestDecided) -> Findings:
        exposure = event.verdict.exposure
        if exposure is _NAME:  # the common case first
            self._habits.named(event.peer.key, event.at)
            return self._beside.named(event)
        address = address_of(event)
        if address is not None and exposure in _REAL:
            return self._real_address(event, address)
        more: tuple[str, ...] = ()
        if address is not None and (issued := self._issued.get(number(address), event.at)) is not None:
            query, name = issued
            self._beside.repaired(event.peer, name)
            more = (f"dns_answer_{query}",)
        found = of_request(event, self._ledger.take, *more)
        return _NONE if found is None else (found,)

    def _real_address(self, event: RequestDecided, address: Address) -> Findings:
        """Is it the client's habit to give such, and was the address's name asked of DNS?"""
        at, raised = event.at, _NONE
        more: tuple[str, ...] = ()
        if event.request.command is Command.CONNECT:
            key = machine_of(event.peer), number(address)
            self._reached.put(key, True, at)
            if (pointed := self._pointed.get(key, at)) is not None:
                self._pointed.pop(key)
                raised = self._ledger.raised(pointed, at, REVERSE_REACHED.confidence, *REVERSE_REACHED.evidence)
            if event.verdict.exposure is Exposure.ADDRESS:
                more = self._habit(event, address)
        found = of_request(event, self._ledger.take, *more)
        if found is None:
            return raised
        self._overheard.watch(found)
        return found, *raised

    def _habit(self, event: RequestDecided, address: Address) -> tuple[str, ...]:
        """Evidence, if that is all the client gives. A resolver is known by address to all that ask it, and what the
        user's rules let pass is known to the user.
        """
        port = event.request.port
        if port in DNS_PORTS or is_known_resolver(address, port):
            return ()
        if event.verdict.decision.reason == FORWARD_BY_RULE.reason:
            return ()
        only = self._habits.only_addresses(event.peer.key, address, port, event.at)
        return (ONLY_ADDRESSES,) if only else ()

    def _query(self, event: DnsQueried) -> Findings:
        if event.answer is DnsAnswer.ISSUE:
            for address in event.addresses:
                self._issued.put(number(address), (event.query, event.qname), event.at)
        kind = kind_of(event.qname)
        if kind is NameKind.ROOT:  # or a name that could not be read: nothing was given away
            return _NONE
        if kind is NameKind.RANDOM_LABEL:
            findings = self._probes.label(event)
        elif kind is NameKind.REVERSE:
            findings = self._reverse(event)
        else:
            findings = (self._named_query(event, BY_KIND[kind]),)
        return findings if kind in _NOT_BESIDE else findings + self._beside.asked(event)

    def _named_query(self, event: DnsQueried, shape: Shape) -> LeakFound:
        suffixed = self._beside.suffixed(event) if shape is PLAIN else None
        if suffixed is None:
            return of_query(event, shape, self._ledger.take())
        shape, name = suffixed
        found = of_query(event, shape, self._ledger.take())
        if event.answer is not DnsAnswer.TOR:
            self._beside.watch(name, found)
        return found

    def _reverse(self, event: DnsQueried) -> Findings:
        """Whose name was asked for: a destination's, or that of some other address?"""
        address = address_of_reverse(event.qname)
        if event.answer is DnsAnswer.ISSUE:
            return (of_query(event, REVERSE_ISSUED, self._ledger.take()),)
        if address is None or is_local_address(address):
            return (of_query(event, REVERSE_LOCAL, self._ledger.take()),)
        key = machine_of(event.peer), number(address)
        if self._reached.get(key, event.at):
            return (of_query(event, REVERSE_REACHED, self._ledger.take()),)
        found = of_query(event, REVERSE, self._ledger.take())
        if event.answer is not DnsAnswer.TOR:
            self._pointed.put(key, self._ledger.keep(found), event.at)
        return (found,)


_REAL = frozenset((Exposure.ADDRESS, Exposure.ADDRESS_AS_TEXT, Exposure.RESOLVED_BY_TOR))
