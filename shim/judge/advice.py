"""Which advice belongs to a finding, as the message id of the catalogue.

Holds no text.
"""

from __future__ import annotations

from shim.model import LeakKind, Protocol

STALE = "advice.stale"
DOH = "advice.address_only.doh"
DNS_PORT = "advice.address_only.dns_port"

QUERY = "advice.dns_query"
QUERY_OVER_TOR = "advice.dns_query.tor"
QUERY_SUFFIX = "advice.dns_query.suffix"
QUERY_SINGLE_LABEL = "advice.dns_query.single_label"
QUERY_PROBE = "advice.dns_query.probe"
QUERY_SEARCH_TEXT = "advice.dns_query.search_text"
QUERY_WPAD = "advice.dns_query.wpad"
QUERY_LOCAL = "advice.dns_query.local"
QUERY_REVERSE = "advice.dns_query.reverse"
QUERY_CANARY = "advice.dns_query.canary"
ONION = "advice.onion_in_dns"
BESIDE = "advice.dns_beside_proxy"

AROUND = "advice.direct_traffic"
AROUND_DNS = "advice.direct_traffic.dns"

_OF_QUERIES = (
    *(QUERY, QUERY_OVER_TOR, QUERY_SUFFIX, QUERY_SINGLE_LABEL, QUERY_PROBE, QUERY_SEARCH_TEXT, QUERY_WPAD),
    *(QUERY_LOCAL, QUERY_REVERSE, QUERY_CANARY, ONION, BESIDE),
)
_BY_PROTOCOL = {
    Protocol.SOCKS4: "advice.address_only.socks4",
    Protocol.SOCKS4A: "advice.address_only.socks4",
    Protocol.SOCKS5: "advice.address_only.socks5",
    Protocol.HTTP: "advice.address_only.http",
}
_HTTP_RESOLVED = "advice.local_resolution.http"
_BY_FOREIGN = {"http": "advice.not_socks.http", "tls": "advice.not_socks.tls"}
_NOT_SOCKS = "advice.not_socks.other"
_BY_KIND = {
    LeakKind.ADDRESS_AS_TEXT: "advice.address_as_text",
    LeakKind.LOCAL_DESTINATION: "advice.local_destination",
    LeakKind.PLAINTEXT_PORT: "advice.plaintext_port",
    LeakKind.BIND_ATTEMPT: "advice.bind_attempt",
    LeakKind.UDP_ATTEMPT: "advice.udp_attempt",
}

ADVICE_IDS = frozenset(
    (
        *(STALE, DOH, DNS_PORT, AROUND, AROUND_DNS, _HTTP_RESOLVED, _NOT_SOCKS),
        *_OF_QUERIES,
        *_BY_PROTOCOL.values(),
        *_BY_FOREIGN.values(),
        *_BY_KIND.values(),
    )
)
"""Every id that a finding can bear: each catalogue must hold them all."""


def advice_for(kind: LeakKind, protocol: str) -> str:
    """The message id for a finding about a request or a handshake, where nothing more is known than its kind.

    `protocol` is the request's, or for `not_socks` what was spoken instead. KeyError for a kind that neither can be.
    """
    if kind is LeakKind.NOT_SOCKS:
        return _BY_FOREIGN.get(protocol, _NOT_SOCKS)
    if kind is LeakKind.LOCAL_RESOLUTION and protocol == Protocol.HTTP:
        return _HTTP_RESOLVED  # nobody types an issued address
    if kind in (LeakKind.ADDRESS_ONLY, LeakKind.LOCAL_RESOLUTION):
        return _BY_PROTOCOL[Protocol(protocol)]
    return _BY_KIND[kind]
