"""What one event proves by itself: kind, confidence, evidence and rule of a finding.

Joins no two events and numbers nothing. Rules L01 to L27 are those of docs/leaks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import assert_never

from shim.judge.advice import advice_for
from shim.judge.decide import REFUSE_STALE
from shim.judge.hosts import address_from_text, is_mapped
from shim.model import Action, Command, Confidence, Exposure, LeakKind, Protocol, Request, Verdict

NOT_SOCKS_ERROR = "not_socks"
"""The error code of a handshake that failed because something else was spoken on a SOCKS port."""

_FOREIGN_EVIDENCE = {"http": "http_request_line", "tls": "tls_client_hello"}
_SOCKS4 = (Protocol.SOCKS4, Protocol.SOCKS4A)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is found, before it has a number. `prevented` says whether a name was kept from a resolver, if known."""

    kind: LeakKind
    confidence: Confidence
    rule: str
    evidence: tuple[str, ...]
    protocol: str
    advice: str
    action: Action
    name: str | None = None
    prevented: bool | None = None


def of_request(request: Request, verdict: Verdict) -> Finding | None:
    """What a judged request shows, or None if nothing is wrong with it."""
    match verdict.exposure:
        case Exposure.NAME | Exposure.RESOLVED_BY_TOR:  # the common case first
            return None
        case Exposure.ADDRESS:
            return _address_only(request, verdict)
        case Exposure.ADDRESS_AS_TEXT:
            return _address_as_text(request, verdict)
        case Exposure.LOCAL:
            return _local_destination(request, verdict)
        case Exposure.ISSUED:
            return _issued(request, verdict)
        case Exposure.NOT_APPLICABLE:
            return _command(request, verdict)
        case _:  # pragma: no cover - the type checker proves that nothing comes here
            assert_never(verdict.exposure)


def of_handshake(error: str, foreign: str | None) -> Finding | None:
    """What a broken handshake shows: another protocol on the SOCKS port, or None. `foreign` as in HandshakeFailed."""
    if error != NOT_SOCKS_ERROR:
        return None
    spoken = foreign or "unknown"
    return Finding(
        LeakKind.NOT_SOCKS,
        Confidence.CONFIRMED,
        "L24",
        (_FOREIGN_EVIDENCE.get(spoken, "unknown_first_byte"),),
        "http" if spoken == "http" else "tcp",
        advice_for(LeakKind.NOT_SOCKS, spoken),
        Action.BLOCK,
    )


def _address_only(request: Request, verdict: Verdict) -> Finding:
    rule = _address_rule(request)
    return _found(request, verdict, LeakKind.ADDRESS_ONLY, Confidence.POSSIBLE, rule, "address_request")


def _address_rule(request: Request) -> str:
    """The form of the address decides before the protocol: an IPv6 address cannot have come by SOCKS4."""
    if isinstance(request.host, IPv6Address):
        return "L20" if is_mapped(request.host) else "L19"
    return "L01" if request.protocol in _SOCKS4 else "L03"


def _address_as_text(request: Request, verdict: Verdict) -> Finding:
    """Programs that take a typed address send it so; a name remembered for it speaks against that."""
    evidence = ("text_address",) if verdict.names else ("text_address", "typed_literal_likely")
    return _found(request, verdict, LeakKind.ADDRESS_AS_TEXT, Confidence.POSSIBLE, "L04", *evidence)


def _local_destination(request: Request, verdict: Verdict) -> Finding | None:
    """A connection that was let through is one the user allowed."""
    if request.command is Command.CONNECT and verdict.decision.action is Action.FORWARD:
        return None
    evidence = "local_address" if _address(request) else "local_name"
    return _found(request, verdict, LeakKind.LOCAL_DESTINATION, Confidence.CONFIRMED, "L23", evidence)


def _issued(request: Request, verdict: Verdict) -> Finding:
    """An issued address proves that its name was looked up here; a stale one proves nothing of any name."""
    if verdict.decision.reason == REFUSE_STALE.reason:
        kind = LeakKind.ADDRESS_ONLY
        return _found(request, verdict, kind, Confidence.POSSIBLE, "L06", "stale_issued_address", stale=True)
    kind = LeakKind.LOCAL_RESOLUTION
    return _found(request, verdict, kind, Confidence.CONFIRMED, "L05", "issued_address", prevented=True)


def _command(request: Request, verdict: Verdict) -> Finding | None:
    match request.command:
        case Command.BIND:
            return _found(request, verdict, LeakKind.BIND_ATTEMPT, Confidence.CONFIRMED, "L17", "bind_command")
        case Command.UDP_ASSOCIATE:
            kind = LeakKind.UDP_ATTEMPT
            return _found(request, verdict, kind, Confidence.CONFIRMED, "L16", "udp_associate_command")
        case _ if verdict.decision.action is Action.BLOCK:  # RESOLVE_PTR is refused for an issued address only
            return _issued(request, verdict)
        case _:
            return None


def _address(request: Request) -> IPv4Address | IPv6Address | None:
    return address_from_text(request.host) if isinstance(request.host, str) else request.host


def _found(
    request: Request,
    verdict: Verdict,
    kind: LeakKind,
    confidence: Confidence,
    rule: str,
    *evidence: str,
    stale: bool = False,
    prevented: bool | None = None,
) -> Finding:
    return Finding(
        kind,
        confidence,
        rule,
        evidence,
        request.protocol,
        advice_for(kind, request.protocol, stale=stale),
        verdict.decision.action,
        verdict.names[0] if len(verdict.names) == 1 else None,
        prevented,
    )
