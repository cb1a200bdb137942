"""Destinations that programs know by address, and ports behind which a name would be expected: data, and look-ups.

A row here proves nothing; it only says what an address request may well be, or hardly is.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from shim.judge.hosts import number

RESOLVERS_DATE = "2026-11-22"
"""When the table of resolvers was last looked through. Addresses as their operators publish them."""

_RESOLVERS = """
1.1.1.1 1.0.0.1 2606:4700:4700::1111 2606:4700:4700::1001               Cloudflare
1.1.1.2 1.0.0.2 2606:4700:4700::1112 2606:4700:4700::1002               Cloudflare, malware blocked
1.1.1.3 1.0.0.3 2606:4700:4700::1113 2606:4700:4700::1003               Cloudflare, adult content blocked
8.8.8.8 8.8.4.4 2001:4860:4860::8888 2001:4860:4860::8844               Google
9.9.9.9 149.112.112.112 2620:fe::fe 2620:fe::9                          Quad9
9.9.9.10 149.112.112.10 2620:fe::10 2620:fe::fe:10                      Quad9, unfiltered
9.9.9.11 149.112.112.11 2620:fe::11 2620:fe::fe:11                      Quad9, with client subnet
94.140.14.14 94.140.15.15 2a10:50c0::ad1:ff 2a10:50c0::ad2:ff           AdGuard
94.140.14.140 94.140.14.141 2a10:50c0::1:ff 2a10:50c0::2:ff             AdGuard, unfiltered
208.67.222.222 208.67.220.220 2620:119:35::35 2620:119:53::53           OpenDNS
185.222.222.222 45.11.45.11 2a09:: 2a11::                               DNS.SB
194.242.2.2 194.242.2.3 2a07:e340::2 2a07:e340::3                       Mullvad
103.2.57.5 103.2.57.6 2001:300::5 2001:300::6                           IIJ
"""

DNS_PORTS = frozenset((53, 853))
_ENCRYPTED_PORTS = (443, 853)

NAMED_PORTS = frozenset((25, 80, 110, 143, 443, 465, 587, 993, 995, 5222, 8080, 8443))
"""Web, mail, XMPP: nobody types their addresses by the dozen, and few hand them out as peers of a swarm."""

PEER_PORTS = frozenset(
    (
        *(8333, 18333, 9333, 22556, 8233, 9999),  # Bitcoin, its test network, Litecoin, Dogecoin, Zcash, Dash
        *(50001, 50002, 9735),  # Electrum's servers, Lightning
        *(18080, 18081, 30303),  # Monero, Ethereum
        *range(6881, 6890),
        *(6969, 51413),  # BitTorrent
        *(9001, 9030),  # Tor's relays
    )
)
"""Where programs meet peers and seeds whose addresses they carry along, or are told by other peers."""

CLIENT_FIRST_PORTS = frozenset((80, 443, 465, 636, 853, 990, 993, 995, 5061, 5223, 6697, 8000, 8008, 8080, 8443, 8888))
"""HTTP, and protocols inside TLS: the client speaks first, and names the host that it means."""


def _numbers(table: str) -> frozenset[int]:
    words = (word for row in table.strip().splitlines() for word in row.split()[:4])
    return frozenset(number(ip_address(word)) for word in words)


_KNOWN = _numbers(_RESOLVERS)


def is_known_resolver(address: IPv4Address | IPv6Address, port: int) -> bool:
    """True for a public resolver that speaks DNS over HTTPS or TLS at this port: programs carry its address along."""
    return port in _ENCRYPTED_PORTS and number(address) in _KNOWN
