"""Events in, findings out: a fold that gives the same findings live and in replay.

Asks no clock: the time of a finding is the time of its event.
"""

from __future__ import annotations

from shim.events import Event, HandshakeFailed, LeakFound, RequestDecided
from shim.judge.findings import Finding, of_handshake, of_request


class Correlator:
    """Numbers findings f1, f2, … in the order of the events that show them."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def feed(self, event: Event) -> tuple[LeakFound, ...]:
        """What this event adds to what is known; mostly nothing."""
        match event:
            case RequestDecided(request=request, verdict=verdict):
                finding = of_request(request, verdict)
                if finding is not None:
                    return (self._numbered(finding, event, request.destination, request.port),)
            case HandshakeFailed(error=error, foreign=foreign):
                finding = of_handshake(error, foreign)
                if finding is not None:
                    return (self._numbered(finding, event, "", None),)
            case _:
                pass
        return ()

    def _numbered(
        self, finding: Finding, event: RequestDecided | HandshakeFailed, destination: str, port: int | None
    ) -> LeakFound:
        self._count += 1
        return LeakFound(
            at=event.at,
            finding=f"f{self._count}",
            revision=1,
            kind=finding.kind,
            confidence=finding.confidence,
            protocol=finding.protocol,
            port=port,
            destination=destination,
            action=finding.action,
            evidence=finding.evidence,
            rule=finding.rule,
            advice=finding.advice,
            conn=event.conn,
            name=finding.name,
            prevented=finding.prevented,
        )
