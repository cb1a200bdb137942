"""What one request or handshake shows by itself: kind, confidence, evidence and rule of a finding.

Joins no two events. Rules L01 to L27 are those of docs/leaks.md.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from shim.events import HandshakeFailed, LeakFound, RequestDecided
from shim.judge.advice import DNS_PORT, DOH, STALE, advice_for
from shim.judge.decide import FORWARD_BY_RULE, REFUSE_ISSUED, REFUSE_LOCAL, REFUSE_STALE
from shim.judge.endpoints import DNS_PORTS, PEER_PORTS, is_known_resolver
from shim.judge.hosts import address_from_text, is_mapped
from shim.model import Action, Command, Confidence, Decision, Exposure, LeakKind, Protocol, Request

NOT_SOCKS_ERROR = "not_socks"
"""The error code of a handshake that failed because something else was spoken on a SOCKS port."""

ONLY_ADDRESSES = "only_addresses"
"""Evidence that the client gives addresses and nothing else: then it is probable that it looks names up itself."""

Take = Callable[[], str]
"""Gives the number of a finding; called only when there is one."""

_FOREIGN_EVIDENCE = {"http": "http_request_line", "tls": "tls_client_hello"}
_ALLOWED = "allowed_by_rule"
"""Evidence that the user knows of such requests and wants them to pass."""

_KNOWN_ENDPOINTS = ("L21", "L22")

_POOL = (REFUSE_ISSUED.reason, REFUSE_STALE.reason)
_SOCKS4 = (Protocol.SOCKS4, Protocol.SOCKS4A)


def shows(request: Request, exposure: Exposure, decision: Decision) -> bool:
    """Whether `of_request` finds something in a request that is judged so."""
    match exposure:
        case Exposure.NAME | Exposure.RESOLVED_BY_TOR:
            return False
        case Exposure.LOCAL:
            return request.command is not Command.CONNECT or decision.reason == REFUSE_LOCAL.reason
        case Exposure.NOT_APPLICABLE:
            return request.command is not Command.RESOLVE_PTR or decision.reason in _POOL
        case _:
            return True


def plaintext_port(event: RequestDecided, take: Take) -> LeakFound:
    """What goes to this port can be read, and changed, by Tor's exit: an exposure, but of no name to any resolver."""
    return _found(event, take, LeakKind.PLAINTEXT_PORT, Confidence.CONFIRMED, "L18", "plaintext_port")


def of_request(event: RequestDecided, take: Take, *more: str) -> LeakFound | None:
    """What a judged request shows, or None if nothing is wrong with it. `more` is evidence that others have seen."""
    exposure = event.verdict.exposure
    if not shows(event.request, exposure, event.verdict.decision):
        return None
    match exposure:
        case Exposure.ADDRESS | Exposure.ADDRESS_AS_TEXT:
            return _address_given(event, take, more)
        case Exposure.LOCAL:
            return _local_destination(event, take)
        case Exposure.ISSUED:
            return _issued(event, take, more)
        case Exposure.NOT_APPLICABLE:
            return _command(event, take, more)
        case _:  # a name, that Tor has seen or will: nothing is shown by it
            return None


def is_vouched_for(found: LeakFound) -> bool:
    """Whether a reason is known why an address was given: it is a resolver's, or the user's rules let it pass.

    A stamp holds the resolver's name beside its address (dnscrypt-proxy discussion 3252), so a name in the first bytes
    says no more of a look-up than the address does.
    """
    return found.rule in _KNOWN_ENDPOINTS or _ALLOWED in found.evidence


def of_handshake(event: HandshakeFailed, take: Take) -> LeakFound | None:
    """What a broken handshake shows: another protocol on the SOCKS port, or None."""
    if event.error != NOT_SOCKS_ERROR:
        return None
    spoken = event.foreign or "unknown"
    return LeakFound(
        at=event.at,
        finding=take(),
        revision=1,
        kind=LeakKind.NOT_SOCKS,
        confidence=Confidence.CONFIRMED,
        protocol="http" if spoken == "http" else "tcp",
        port=None,
        destination="",
        action=Action.BLOCK,
        evidence=(_FOREIGN_EVIDENCE.get(spoken, "unknown_first_byte"),),
        rule="L24",
        advice=advice_for(LeakKind.NOT_SOCKS, spoken),
        conn=event.conn,
    )


def _address_given(event: RequestDecided, take: Take, more: tuple[str, ...]) -> LeakFound:
    """An address, in binary or as text, of which nobody can say whether it was looked up.

    Names that Tor gave this address for, to somebody else, are told; they prove nothing about this client.
    """
    address, names = address_of(event), event.verdict.names
    assert address is not None, "only an address is exposed as one"
    if event.verdict.exposure is Exposure.ADDRESS:
        kind, rule, evidence = LeakKind.ADDRESS_ONLY, _address_rule(event), ["address_request"]
    else:
        kind, rule, evidence = LeakKind.ADDRESS_AS_TEXT, "L04", ["text_address"]
        if not names:  # programs that take a typed address send it so
            evidence.append("typed_literal_likely")
    advice, port = advice_for(kind, event.request.protocol), event.request.port
    if is_known_resolver(address, port):
        rule, advice = "L21", DOH
        evidence.append("known_doh_address")
    elif port in DNS_PORTS:
        rule, advice = "L22", DNS_PORT
        evidence.append("dns_port")
    elif port in PEER_PORTS:
        evidence.append("peer_port")
    if names:
        evidence.append("remembered_answer")
    if len(names) > 1:
        evidence += ["ambiguous_name", *(f"candidate:{name}" for name in names)]
    confidence = Confidence.PROBABLE if ONLY_ADDRESSES in more else Confidence.POSSIBLE
    return _found(event, take, kind, confidence, rule, *evidence, *more, advice=advice)


def _address_rule(event: RequestDecided) -> str:
    """The form of the address decides before the protocol: an IPv6 address cannot have come by SOCKS4."""
    host = event.request.host
    if isinstance(host, IPv6Address):
        return "L20" if is_mapped(host) else "L19"
    return "L01" if event.request.protocol in _SOCKS4 else "L03"


def _local_destination(event: RequestDecided, take: Take) -> LeakFound:
    evidence = "local_address" if address_of(event) else "local_name"
    return _found(event, take, LeakKind.LOCAL_DESTINATION, Confidence.CONFIRMED, "L23", evidence)


def _issued(event: RequestDecided, take: Take, more: tuple[str, ...]) -> LeakFound:
    """An issued address proves that its name was looked up here; a stale one tells at most whose it was."""
    if event.verdict.decision.reason == REFUSE_STALE.reason:
        kind, evidence = LeakKind.ADDRESS_ONLY, "stale_issued_address"
        return _found(event, take, kind, Confidence.POSSIBLE, "L06", evidence, *more, advice=STALE)
    kind = LeakKind.LOCAL_RESOLUTION
    return _found(event, take, kind, Confidence.CONFIRMED, "L05", "issued_address", *more, prevented=True)


def _command(event: RequestDecided, take: Take, more: tuple[str, ...]) -> LeakFound:
    match event.request.command:
        case Command.BIND:
            return _found(event, take, LeakKind.BIND_ATTEMPT, Confidence.CONFIRMED, "L17", "bind_command")
        case Command.UDP_ASSOCIATE:
            kind = LeakKind.UDP_ATTEMPT
            return _found(event, take, kind, Confidence.CONFIRMED, "L16", "udp_associate_command")
        case _:  # RESOLVE_PTR of one of the pool's addresses
            return _issued(event, take, more)


def address_of(event: RequestDecided) -> IPv4Address | IPv6Address | None:
    """The address that was asked for, in binary or as text; None for a name."""
    host = event.request.host
    return address_from_text(host) if isinstance(host, str) else host


def _found(
    event: RequestDecided,
    take: Take,
    kind: LeakKind,
    confidence: Confidence,
    rule: str,
    *evidence: str,
    advice: str | None = None,
    prevented: bool | None = None,
) -> LeakFound:
    request, names = event.request, event.verdict.names
    if event.verdict.decision.reason == FORWARD_BY_RULE.reason:
        evidence += (_ALLOWED,)
    return LeakFound(
        at=event.at,
        finding=take(),
        revision=1,
        kind=kind,
        confidence=confidence,
        protocol=request.protocol,
        port=request.port,
        destination=request.destination,
        action=event.verdict.decision.action,
        evidence=evidence,
        rule=rule,
        advice=advice or advice_for(kind, request.protocol),
        conn=event.conn,
        name=names[0] if len(names) == 1 else None,
        prevented=prevented,
        offers=event.offers,
    )
