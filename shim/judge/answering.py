"""How the sensor answers a query: the table of DNS modes, in one place.

Looks at nothing but its arguments: whether an address is free, or an upstream there, is for others to find out.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from shim.judge.hosts import address_from_text, is_hostname, is_local_address, is_local_name
from shim.judge.names import NameKind, kind_of
from shim.model import DnsMode
from shim.policy import DnsPolicy

A, PTR, AAAA = 1, 12, 28
"""TYPEs of RFC 1035 section 3.2.2 and RFC 3596 section 2.1; of all others no name has a record here."""

_NOWHERE = frozenset((NameKind.ONION, NameKind.ONION_WITH_SUFFIX, NameKind.DOH_CANARY))
_MDNS = "local"


class Plan(Enum):
    """What the sensor does with one query."""

    REFUSE = "refuse"
    """The RCODE of `DnsPolicy.refusal`."""
    NXDOMAIN = "nxdomain"
    EMPTY = "empty"
    """NOERROR without a record."""
    ISSUE4 = "issue4"
    ISSUE6 = "issue6"
    POINTER = "pointer"
    """The name that the address was issued for; NXDOMAIN if there is none."""
    RESOLVE = "resolve"
    RESOLVE_PTR = "resolve_ptr"
    """The upstream is asked."""


def plan(name: str, qtype: int, pointer: IPv4Address | IPv6Address | None, policy: DnsPolicy) -> Plan:
    """What to do with a query for `name`, in lower case without its last dot. Total.

    `pointer` is the address that a name under in-addr.arpa or ip6.arpa spells in full.

    Never answered but with NXDOMAIN, beside onion names: what belongs to this machine or its network (localhost,
    *.local: RFC 6761, RFC 6762), and the names that find a proxy or a tunnel for whoever asks (wpad, isatap), because
    the first who answers those over Tor would be obeyed. And an address for what is no name to Tor, or is an address
    itself, would be no use: the request that follows could not be repaired, or be a local one in disguise.
    """
    kind = kind_of(name)
    if kind in _NOWHERE:
        return Plan.NXDOMAIN
    if policy.mode is DnsMode.REFUSE:
        return Plan.REFUSE
    if kind is NameKind.WPAD or is_local_name(name) or name == _MDNS:
        return Plan.NXDOMAIN
    if qtype == PTR:
        return _reverse(pointer, policy.mode)
    # The root exists: NXDOMAIN would deny all names below it as well (RFC 8020).
    if qtype not in (A, AAAA) or kind is NameKind.ROOT:
        return Plan.EMPTY
    if not is_hostname(name) or address_from_text(name) is not None:
        return Plan.NXDOMAIN
    if policy.mode is DnsMode.TOR:
        return Plan.RESOLVE
    if qtype == A:
        return Plan.ISSUE4
    return Plan.ISSUE6 if policy.ipv6 else Plan.EMPTY


def _reverse(pointer: IPv4Address | IPv6Address | None, mode: DnsMode) -> Plan:
    """Addresses of local networks have no name out there, and asking tells of them (RFC 6303)."""
    if pointer is None or is_local_address(pointer):
        return Plan.NXDOMAIN
    return Plan.RESOLVE_PTR if mode is DnsMode.TOR else Plan.POINTER
