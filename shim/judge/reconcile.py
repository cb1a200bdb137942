"""Which of the clients that Tor tells of at its control port are the shim itself, and what the others show.

Speaks to no control port: what Tor told and which sockets the shim made are arguments, and so is the time.
"""

from __future__ import annotations

from ipaddress import IPv6Address

from shim.events import LeakFound, TorAsked
from shim.judge.advice import AROUND, AROUND_DNS, advice_for
from shim.judge.findings import Take
from shim.judge.hosts import address_from_text, canonical, is_mapped
from shim.judge.memory import MIN_AGE_S
from shim.judge.recent import Recent
from shim.model import Action, Command, Confidence, LeakKind, Protocol

SOCKETS = 32768
"""More than there are ports that one address can connect from: a socket is only forgotten by its age."""

DESTINATIONS = 8192

NOT_TOLD = "not_told"
"""Why no program is known: Tor does not say from which socket the request came."""

UNIX = "unix:"

_SOCKS4 = ("socks4", "socks4a")


class Reconciler:
    """The sockets that the shim has made to Tor, and what it asked for by them; what of Tor's telling they explain.

    Tor names the client by its end of the connection, which is all that is needed where both see the same one. Behind
    a unix socket Tor names nobody, and where something stands between (a forwarded port) it names that: then what was
    asked for is compared instead, and what the shim has not asked for lately was asked for by somebody else.
    """

    __slots__ = ("_asked", "_exact", "_sockets")

    def __init__(self) -> None:
        self._sockets: Recent[str, bool] = Recent(SOCKETS, MIN_AGE_S)
        self._asked: Recent[str, bool] = Recent(DESTINATIONS, MIN_AGE_S)
        self._exact = False

    def opened(self, source: str, destination: str, at: float) -> None:
        """The shim connects to Tor from `source` (HOST:PORT, or unix:PATH of Tor's listener) to ask for HOST:PORT."""
        self._asked.put(alike(destination), True, at)
        if source.startswith(UNIX):
            self._exact = False
        else:
            self._sockets.put(alike(source), True, at)

    def confidence(self, source: str | None, destination: str, at: float) -> Confidence | None:
        """How sure it is that somebody else has asked; None when it was the shim, or may have been.

        Each socket makes one request: the next one from the same place is another's.
        """
        if source is not None and not source.startswith(UNIX):
            key = alike(source)
            if self._sockets.get(key, at):
                self._sockets.pop(key)
                self._exact = True
                return None
        if self._exact and source is not None:
            return Confidence.CONFIRMED
        return None if self._asked.get(alike(destination), at) else Confidence.PROBABLE


def alike(text: str) -> str:
    """One text for all spellings of HOST:PORT."""
    host, _, port = text.rpartition(":")
    return f"{canonical(host)} {port}"


def around(event: TorAsked, take: Take) -> tuple[LeakFound, ...]:
    """That the request went around the shim; and, where Tor itself warned, that it gave only an address."""
    evidence = ("tor_stream",) if event.source is not None else ()
    advice, kind = AROUND_DNS if event.protocol == "dns" else AROUND, LeakKind.DIRECT_TRAFFIC
    found = _found(event, take(), kind, event.confidence, "L25", advice, "around_shim", *evidence)
    if not event.dangerous:
        return (found,)
    protocol = Protocol.SOCKS4 if event.protocol in _SOCKS4 else Protocol.SOCKS5
    kind = LeakKind.ADDRESS_ONLY
    rule, advice = _rule(event), advice_for(kind, protocol)
    warned = _found(event, take(), kind, Confidence.POSSIBLE, rule, advice, "around_shim", "tor_dangerous_socks")
    return found, warned


def _rule(event: TorAsked) -> str:
    """As for a request that came to the shim."""
    address = address_from_text(event.destination.rpartition(":")[0])
    if isinstance(address, IPv6Address):
        return "L20" if is_mapped(address) else "L19"
    return "L01" if event.protocol in _SOCKS4 else "L03"


def _found(
    event: TorAsked, finding: str, kind: LeakKind, confidence: Confidence, rule: str, advice: str, *evidence: str
) -> LeakFound:
    port = event.destination.rpartition(":")[2] if event.command is Command.CONNECT else ""
    told = event.source is not None and not event.source.startswith(UNIX)
    return LeakFound(
        at=event.at,
        finding=finding,
        revision=1,
        kind=kind,
        confidence=confidence,
        protocol=event.protocol,
        port=int(port) if port.isdecimal() else None,
        destination=event.destination,
        action=Action.BLOCK if event.refused else Action.FORWARD,
        evidence=evidence,
        rule=rule,
        advice=advice,
        process_reason="off" if told else NOT_TOLD,
        stream=event.stream,
    )
