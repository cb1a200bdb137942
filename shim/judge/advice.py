"""Which advice belongs to a finding, as the message id of the catalogue.

Holds no text.
"""

from __future__ import annotations

from shim.model import LeakKind, Protocol

STALE = "advice.stale"

_BY_PROTOCOL = {
    Protocol.SOCKS4: "advice.address_only.socks4",
    Protocol.SOCKS4A: "advice.address_only.socks4",
    Protocol.SOCKS5: "advice.address_only.socks5",
    Protocol.HTTP: "advice.address_only.http",
}
_BY_FOREIGN = {"http": "advice.not_socks.http", "tls": "advice.not_socks.tls"}
_NOT_SOCKS = "advice.not_socks.other"
_BY_KIND = {
    LeakKind.ADDRESS_AS_TEXT: "advice.address_as_text",
    LeakKind.LOCAL_DESTINATION: "advice.local_destination",
    LeakKind.BIND_ATTEMPT: "advice.bind_attempt",
    LeakKind.UDP_ATTEMPT: "advice.udp_attempt",
}

ADVICE_IDS = frozenset((STALE, _NOT_SOCKS, *_BY_PROTOCOL.values(), *_BY_FOREIGN.values(), *_BY_KIND.values()))
"""Every id that `advice_for` can give: each catalogue must hold them all."""


def advice_for(kind: LeakKind, protocol: str, *, stale: bool = False) -> str:
    """The message id for a finding of `kind`.

    `protocol` is the request's, or for `not_socks` what was spoken instead. `stale` is for an issued address that
    stands for no name any more. KeyError for a kind that no event is judged to be.
    """
    if stale:
        return STALE
    if kind is LeakKind.NOT_SOCKS:
        return _BY_FOREIGN.get(protocol, _NOT_SOCKS)
    if kind in (LeakKind.ADDRESS_ONLY, LeakKind.LOCAL_RESOLUTION):
        return _BY_PROTOCOL[Protocol(protocol)]
    return _BY_KIND[kind]
