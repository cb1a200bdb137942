"""What one query at the sensor shows: kind, confidence, evidence and rule of a finding.

Joins nothing: what else was seen of the name is told by its caller, as a shape of the finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shim.events import DnsQueried, LeakFound
from shim.judge import advice
from shim.judge.names import NameKind
from shim.model import Action, Confidence, DnsAnswer, LeakKind

SEEN = "dns_query_seen"
DNS = "dns"

ACTIONS = {
    DnsAnswer.REFUSE: Action.BLOCK,
    DnsAnswer.DROP: Action.BLOCK,
    DnsAnswer.ISSUE: Action.REPAIR,
    DnsAnswer.TOR: Action.FORWARD,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """All of a finding that does not depend on its query."""

    rule: str
    confidence: Confidence
    evidence: tuple[str, ...]
    advice: str
    kind: LeakKind = LeakKind.DNS_QUERY


def _shape(rule: str, confidence: Confidence, advice: str, *evidence: str) -> Shape:
    return Shape(rule, confidence, (SEEN, *evidence), advice)


_POSSIBLE, _PROBABLE, _CONFIRMED = Confidence

PLAIN = _shape("L05", _POSSIBLE, advice.QUERY)
SUFFIXED = _shape("L10", _PROBABLE, advice.QUERY_SUFFIX, "search_suffix")
SUFFIXED_BESIDE = _shape("L10", _CONFIRMED, advice.QUERY_SUFFIX, "search_suffix", "name_by_socks")
SINGLE = _shape("L11", _POSSIBLE, advice.QUERY_SINGLE_LABEL, "single_label")
PROBE = _shape("L12", _POSSIBLE, advice.QUERY_PROBE, "single_label", "chromium_probe")
REVERSE = _shape("L26", _PROBABLE, advice.QUERY_REVERSE, "reverse_lookup")
REVERSE_LOCAL = _shape("L26", _POSSIBLE, advice.QUERY_REVERSE, "reverse_lookup", "local_address")
REVERSE_ISSUED = _shape("L26", _POSSIBLE, advice.QUERY_REVERSE, "reverse_lookup", "issued_address")
REVERSE_REACHED = _shape("L26", _CONFIRMED, advice.QUERY_REVERSE, "reverse_lookup", "proxied_address")
_ONION = Shape("L08", _CONFIRMED, ("onion_suffix",), advice.ONION, LeakKind.ONION_IN_DNS)
_ONION_WITH_SUFFIX = Shape("L09", _CONFIRMED, ("onion_suffix", "search_suffix"), advice.ONION, LeakKind.ONION_IN_DNS)

BY_KIND: Mapping[NameKind, Shape] = {
    NameKind.ORDINARY: PLAIN,
    NameKind.ONION: _ONION,
    NameKind.ONION_WITH_SUFFIX: _ONION_WITH_SUFFIX,
    NameKind.LOCAL: _shape("L15", _POSSIBLE, advice.QUERY_LOCAL, "local_name"),
    NameKind.SINGLE_LABEL: SINGLE,
    NameKind.RANDOM_LABEL: SINGLE,
    NameKind.SEARCH_TEXT: _shape("L13", _PROBABLE, advice.QUERY_SEARCH_TEXT, "search_text"),
    NameKind.WPAD: _shape("L14", _PROBABLE, advice.QUERY_WPAD, "wpad"),
    NameKind.REVERSE: REVERSE,
    NameKind.DOH_CANARY: _shape("L05", _POSSIBLE, advice.QUERY_CANARY, "doh_canary"),
    NameKind.SERVICE_DISCOVERY: _shape("L15", _POSSIBLE, advice.QUERY_LOCAL, "service_discovery"),
    NameKind.NETBIOS: _shape("L15", _POSSIBLE, advice.QUERY_LOCAL, "netbios_name"),
}
"""What each kind of name shows by itself. The root is none of them: it names nothing."""


def of_query(event: DnsQueried, shape: Shape, finding: str) -> LeakFound:
    """The finding of one query. What was resolved over Tor is never more than possible."""
    over_tor = event.answer is DnsAnswer.TOR
    return LeakFound(
        at=event.at,
        finding=finding,
        revision=1,
        kind=shape.kind,
        confidence=_POSSIBLE if over_tor else shape.confidence,
        protocol=DNS,
        port=None,
        destination="",
        action=ACTIONS[event.answer],
        evidence=shape.evidence,
        rule=shape.rule,
        advice=advice.QUERY_OVER_TOR if over_tor and shape is PLAIN else shape.advice,
        query=event.query,
        name=event.qname,
        process=event.process,
        process_reason=event.process_reason,
    )
