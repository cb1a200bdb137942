"""From what was seen of one run to its verdict, its findings, and what was looked at and what was not.

Pure: values in, a value out; reads no clock and asks no system.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from enum import StrEnum

from shim.events import LeakFound, RequestDecided, UpstreamFailed
from shim.judge.endpoints import RESOLVERS_DATE
from shim.judge.names import NameKind, kind_of
from shim.lab.canary import Canary
from shim.lab.packets import Kind
from shim.lab.seen import Departure, Run
from shim.model import Confidence, LeakKind, Process
from shim.value import value

RULES_VERSION = f"L01-L27/{RESOLVERS_DATE}"

_DNS_KINDS = (LeakKind.DNS_QUERY, LeakKind.DNS_BESIDE_PROXY, LeakKind.ONION_IN_DNS)
_ALWAYS = (*_DNS_KINDS, LeakKind.LOCAL_RESOLUTION, LeakKind.DIRECT_TRAFFIC)
_ADDRESSES = (LeakKind.ADDRESS_ONLY, LeakKind.ADDRESS_AS_TEXT)
_TELLS_NOTHING = frozenset(("chromium_probe", "doh_canary", "local_address"))
"""Evidence that a query was for no name that anybody chose: made up by the program, or an address of this machine."""

_LINK_LOCAL_KINDS = (Kind.MDNS, Kind.LLMNR, Kind.NETBIOS)


class Outcome(StrEnum):
    """The three verdicts."""

    LEAK = "leak"
    NO_LEAK = "no_leak_observed"
    INCONCLUSIVE = "inconclusive"


EXIT_STATUS = {Outcome.NO_LEAK: 0, Outcome.LEAK: 1, Outcome.INCONCLUSIVE: 3}


@value
class Finding:
    """One thing that was found, and how often. `leak` is False for what is worth telling but gives nothing away.

    `canary` is the role of the canary that it names: no other program can have known it.
    """

    at: float
    kind: LeakKind
    leak: bool
    confidence: Confidence
    rule: str
    protocol: str
    destination: str
    name: str | None
    process: Process | None
    process_reason: str | None
    evidence: tuple[str, ...]
    count: int = 1
    event: LeakFound | None = field(default=None, repr=False)
    packet: Kind | None = None
    canary: str | None = None

    @property
    def source(self) -> str:
        """Who saw it: the proxy, the DNS sensor, or the trap for packets."""
        if self.packet is not None:
            return "packets"
        return "dns" if self.kind in _DNS_KINDS and self.protocol == "dns" else "proxy"


@value
class Report:
    """What is shown of a run. `reason` says why a verdict is inconclusive."""

    run: Run
    outcome: Outcome
    reason: str | None
    findings: tuple[Finding, ...]
    requests: int
    covered: tuple[str, ...]
    not_covered: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        """The contract's: 1 leak, 0 none observed, 3 inconclusive."""
        return EXIT_STATUS[self.outcome]

    @property
    def canaries(self) -> tuple[tuple[Canary, int, bool], ...]:
        """Each canary: how many requests for it by name the proxy got, and whether it leaked."""
        run = self.run
        hosts = [str(event.request.host) for event in run.events if isinstance(event, RequestDecided)]
        asked = list(map(run.canaries.role_of, hosts))
        leaked = {found.canary for found in self.leaks}
        return tuple((each, asked.count(each.role), each.role in leaked) for each in run.canaries)

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """The findings that make the verdict."""
        return tuple(found for found in self.findings if found.leak)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """The others."""
        return tuple(found for found in self.findings if not found.leak)


def report(run: Run) -> Report:
    """Judge one run."""
    seen = [*_of_events(run), *map(_of_departure, run.departures)]
    findings = tuple(sorted(_merged(seen), key=_order))
    requests = sum(isinstance(event, RequestDecided) for event in run.events)
    outcome, reason = _judge(run, any(found.leak for found in findings), requests)
    return Report(run, outcome, reason, findings, requests, tuple(_covered(run)), tuple(_not_covered(run)))


def _judge(run: Run, leak: bool, requests: int) -> tuple[Outcome, str | None]:
    """A leak that was seen is a leak, whatever became of the program."""
    if run.isolation is None:
        return Outcome.INCONCLUSIVE, "isolation"
    if leak:
        return Outcome.LEAK, None
    if not run.started:
        ended = run.stopped is not None and run.start_error is None
        return Outcome.INCONCLUSIVE, "interrupted" if ended else "not_started"
    if run.status is not None and run.status < 0 and run.stopped is None:
        return Outcome.INCONCLUSIVE, "signal"
    if not requests:
        return Outcome.INCONCLUSIVE, "no_request"
    return Outcome.NO_LEAK, None


def _of_events(run: Run) -> Iterator[Finding]:
    """The last revision of each finding."""
    last: dict[str, LeakFound] = {}
    for event in run.events:
        if isinstance(event, LeakFound) and event.revision >= last.get(event.finding, event).revision:
            last[event.finding] = event
    for event in last.values():
        leak = _is_leak(event)
        confidence, evidence = event.confidence, event.evidence
        if leak and event.kind in _DNS_KINDS:
            # Elsewhere a query may be another program's. Here there is no other.
            confidence, evidence = Confidence.CONFIRMED, (*evidence, "no_other_program")
        yield Finding(
            event.at,
            event.kind,
            leak,
            confidence,
            event.rule,
            event.protocol,
            event.destination,
            event.name,
            event.process,
            event.process_reason,
            evidence,
            event=replace(event, confidence=confidence),
            canary=run.canaries.role_of(event.name),
        )


def _is_leak(event: LeakFound) -> bool:
    """What was given away to others than the proxy.

    An address alone is no proof here: had its name been looked up, that would have been seen. It is one when a name
    came with it, for then the name was turned into the address where nobody could look. What the proxy refused
    (BIND, UDP, local destinations, what is no SOCKS) gave nothing away; had it gone past the proxy, it would be seen.
    """
    if event.kind in _ADDRESSES:
        return event.confidence is not Confidence.POSSIBLE and event.name is not None
    if event.kind is LeakKind.DNS_QUERY and not _TELLS_NOTHING.isdisjoint(event.evidence):
        return False
    return event.kind in _ALWAYS


def _of_departure(gone: Departure) -> Finding:
    packet = gone.packet
    onion = packet.name is not None and kind_of(packet.name) in (NameKind.ONION, NameKind.ONION_WITH_SUFFIX)
    return Finding(
        gone.at,
        LeakKind.ONION_IN_DNS if onion else LeakKind.DIRECT_TRAFFIC,
        True,
        Confidence.CONFIRMED,
        "L08" if onion else "L15" if packet.kind in _LINK_LOCAL_KINDS else "L25",
        packet.transport,
        packet.destination,
        packet.name,
        gone.process,
        gone.process_reason,
        (f"packet_{packet.kind}", f"bytes_{packet.length}"),
        gone.count,
        packet=packet.kind,
        canary=gone.canary,
    )


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """The same thing by the same program is one finding, with a count: a name is asked for in A and AAAA."""
    merged: dict[tuple[object, ...], Finding] = {}
    for found in findings:
        pid = None if found.process is None else found.process.pid
        what = found.kind, found.rule, found.leak, found.protocol, found.packet, found.canary
        key = *what, found.destination, found.name, pid
        first = merged.get(key)
        merged[key] = found if first is None else replace(first, count=first.count + found.count)
    return list(merged.values())


def _order(found: Finding) -> tuple[bool, float]:
    return not found.leak, found.at


def _covered(run: Run) -> Iterator[str]:
    if run.isolation is None:
        return
    yield from ("proxy", "dns")
    yield from (f"packets{version}" for version in run.isolation.families)
    yield "children"
    yield "abstract_sockets"
    if run.isolation.hidden:
        yield "helpers"


def _not_covered(run: Run) -> Iterator[str]:
    yield from ("other_runs", "tunnels", "running_programs", "path_sockets")
    if run.isolation is None:
        return
    if run.isolation.user_namespace:
        yield "setuid"
    elif run.isolation.root:
        yield "root"
    if run.isolation.interactive:
        yield "session"
    if run.stopped is not None:
        yield run.stopped
    if run.left_running:
        yield "left_running"
    if any(visit.loaded is False for visit in run.visits):
        yield "not_loaded"
    if run.untrusted:
        yield "tls"
    if run.uncounted:
        yield "uncounted"
    if any(isinstance(event, UpstreamFailed) for event in run.events):
        yield "upstream"
