"""The same name by SOCKS and by DNS: what a program asks of Tor, and beside it of a resolver.

Joins events about one name of one machine, and looks at no other; asks no clock.

A query answered with an issued address may still be the way to a request that will be repaired into that very name
(`repaired`), and that is another finding. So when the name had gone by SOCKS before, such a query is no more than
possible, until the name goes by SOCKS again while the address was left unused.
"""

from __future__ import annotations

from shim.events import DnsQueried, LeakFound, ProcessIdentified, RequestDecided
from shim.judge import advice
from shim.judge.hosts import canonical_name
from shim.judge.ledger import Ledger
from shim.judge.memory import MIN_AGE_S
from shim.judge.names import host_of, suffix_of
from shim.judge.queries import ACTIONS, SEEN, SUFFIXED, SUFFIXED_BESIDE, Shape
from shim.judge.recent import Recent
from shim.model import Confidence, DnsAnswer, LeakKind, Peer, Process, Request

ENTRIES = 8192

SUFFIX_WITHIN_S = 30.0
"""A resolver tries its search suffixes as soon as the name itself has failed, or after a few timeouts of 5 s."""

_BY_SOCKS = "name_by_socks"
_THIS_MACHINE = ""

Key = tuple[str, str]
"""A machine and a name."""


def machine_of(peer: Peer) -> str:
    """Where a client runs: one word for this machine, whether it came by a unix socket or any loopback address.

    Which of its programs, is not known.
    """
    host = peer.host
    if host == "127.0.0.1" or peer.uid is not None:  # nearly every client
        return _THIS_MACHINE
    return _THIS_MACHINE if host.startswith(("127.", "::ffff:127.")) or host == "::1" else host


def alike(one: Process, other: Process) -> bool:
    """Whether two processes are one program, parts of one application, or one was started by the other."""
    if (one.exe or one.name, one.script) == (other.exe or other.name, other.script):
        return True
    if one.label is not None and one.label == other.label and not one.label.startswith("unit:"):
        return True
    return any(parent.pid == other.pid for parent in one.parents) or any(
        parent.pid == one.pid for parent in other.parents
    )


class Beside:
    """Names of the last ten minutes, those by SOCKS apart from those by DNS: a flood of one leaves the other alone.

    What has led to a finding stays, marked as told: only what comes new leads to its next revision.
    """

    __slots__ = ("_asked", "_findings", "_ledger", "_named", "_programs", "_suffixed")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._named: Recent[Key, tuple[str, Request, bool]] = Recent(ENTRIES, MIN_AGE_S)
        self._asked: Recent[Key, tuple[DnsQueried, bool]] = Recent(ENTRIES, MIN_AGE_S)
        self._findings: Recent[Key, str] = Recent(ENTRIES, MIN_AGE_S)
        self._suffixed: Recent[Key, str] = Recent(ENTRIES, MIN_AGE_S)
        self._programs: Recent[str, Process] = Recent(ENTRIES, MIN_AGE_S)

    def named(self, event: RequestDecided) -> tuple[LeakFound, ...]:
        """A name went by SOCKS or HTTP CONNECT."""
        at, conn, request = event.at, event.conn, event.request
        host = request.host
        if request.credentials is not None:  # they are nobody's to keep
            request = Request(request.protocol, request.command, host, request.port)
        key = machine_of(event.peer), canonical_name(host if isinstance(host, str) else str(host))
        asked = self._asked.get(key, at)
        if asked is None:  # nearly always
            self._named.put(key, (conn, request, False), at)
            return ()
        query, told = asked
        self._named.put(key, (conn, request, not told), at)
        raised = self._raise_suffixed(key, at)
        if told:
            return raised
        self._asked.put(key, (query, True), at)
        return raised + self._found(key, at, conn, request, query, _confidence(query, unused=True))

    def asked(self, event: DnsQueried) -> tuple[LeakFound, ...]:
        """A name was queried."""
        at = event.at
        key = machine_of(event.peer), host_of(event.qname)
        conn, request, told = self._named.get(key, at) or ("", None, True)
        # A query that was answered with an address is not done with: the name may go by SOCKS all the same.
        self._asked.put(key, (event, not told and event.answer is not DnsAnswer.ISSUE), at)
        if request is None or told:
            return ()
        self._named.put(key, (conn, request, True), at)
        return self._found(key, at, conn, request, event, _confidence(event, unused=False))

    def identified(self, event: ProcessIdentified) -> tuple[LeakFound, ...]:
        """Whose request this was; of names, it is looked up only if a rule of the policy asks for it."""
        if event.process is not None:
            self._programs.put(event.subject, event.process, event.at)
        return ()

    def repaired(self, peer: Peer, name: str) -> None:
        """The address issued for `name` was used: the queries were the way to it."""
        self._asked.pop((machine_of(peer), name))

    def suffixed(self, event: DnsQueried) -> tuple[Shape, Key] | None:
        """What a query shows whose name is one just seen with a search suffix behind it, and that name's key."""
        known = _Known(self._named, self._asked, machine_of(event.peer), event.at)
        if suffix_of(event.qname, known) is None:
            return None
        return (SUFFIXED_BESIDE if known.by_socks else SUFFIXED), known.key

    def watch(self, key: Key, found: LeakFound) -> None:
        """The name that a query put its suffix to may yet go by SOCKS."""
        self._suffixed.put(key, self._ledger.keep(found), found.at)

    def _raise_suffixed(self, key: Key, at: float) -> tuple[LeakFound, ...]:
        finding = self._suffixed.get(key, at)
        if finding is None:
            return ()
        self._suffixed.pop(key)
        return self._ledger.raised(finding, at, Confidence.CONFIRMED, _BY_SOCKS)

    def _found(
        self, key: Key, at: float, conn: str, request: Request, query: DnsQueried, confidence: Confidence
    ) -> tuple[LeakFound, ...]:
        """A finding of its own for each name, and a revision of it each time that it happens again."""
        confidence, who = self._compared(confidence, self._programs.get(conn, at), query.process)
        finding = self._findings.get(key, at)
        if finding is not None and (raised := self._ledger.raised(finding, at, confidence, "repeated", *who)):
            self._findings.put(key, finding, at)
            return raised
        found = LeakFound(
            at=at,
            finding=self._ledger.take(),
            revision=1,
            kind=LeakKind.DNS_BESIDE_PROXY,
            confidence=confidence,
            protocol=request.protocol,
            port=request.port,
            destination=request.destination,
            action=ACTIONS[query.answer],
            evidence=(_BY_SOCKS, SEEN, *_MORE.get(query.answer, ()), *who),
            rule="L07",
            advice=advice.BESIDE,
            conn=conn,
            query=query.query,
            name=key[1],
            process=query.process,
            process_reason=query.process_reason,
        )
        self._findings.put(key, self._ledger.keep(found), at)
        return (found,)

    @staticmethod
    def _compared(
        confidence: Confidence, asked: Process | None, queried: Process | None
    ) -> tuple[Confidence, tuple[str, ...]]:
        """Two programs that visit one site, one with the proxy and one without, are no leak of the first."""
        if asked is None or queried is None:
            return confidence, ()
        return (confidence, ("same_program",)) if alike(asked, queried) else (Confidence.POSSIBLE, ("other_program",))


_MORE = {DnsAnswer.TOR: ("resolved_over_tor",), DnsAnswer.ISSUE: ("address_issued",)}


def _confidence(query: DnsQueried, *, unused: bool) -> Confidence:
    """Over Tor it never left the machine in clear. `unused`: no request to an issued address has followed."""
    if query.answer is DnsAnswer.TOR or (query.answer is DnsAnswer.ISSUE and not unused):
        return Confidence.POSSIBLE
    return Confidence.CONFIRMED


class _Known:
    """The names of one machine at one time, as `suffix_of` asks for them; and which of them it found."""

    __slots__ = ("_asked", "_at", "_machine", "_named", "by_socks", "key")

    def __init__(
        self,
        named: Recent[Key, tuple[str, Request, bool]],
        asked: Recent[Key, tuple[DnsQueried, bool]],
        machine: str,
        at: float,
    ) -> None:
        self._named = named
        self._asked = asked
        self._machine = machine
        self._at = at
        self.by_socks = False
        self.key: Key = machine, ""

    def __contains__(self, name: object) -> bool:
        """Single labels do not count: to look them up with a suffix is what suffixes are for."""
        if not isinstance(name, str) or "." not in name:
            return False
        self.key = self._machine, name
        self.by_socks = self._named.get(self.key, self._at) is not None
        asked = self._asked.get(self.key, self._at)
        return self.by_socks or (asked is not None and abs(self._at - asked[0].at) <= SUFFIX_WITHIN_S)
