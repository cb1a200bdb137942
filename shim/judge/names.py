"""What kind of thing a queried name is, read from its spelling alone.

Looks nothing up and judges nothing: a kind says what asked, not whether it was a leak. All functions take any text,
in the escaped spelling of `shim.protocol.dns.presentation` or as a user typed it, and never raise.
"""

from __future__ import annotations

import re
from collections.abc import Container
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from shim.judge.hosts import canonical_name, is_local_name

DOH_CANARY = "use-application-dns.net"
"""Firefox asks for it once: NXDOMAIN keeps its own DNS over HTTPS off (Mozilla's canary domain)."""

# An onion service's address: base32 of 35 bytes, the last of which is the version 3 (rend-spec-v3 section 6), so that
# it ends in d; or the 16 characters of version 2, which no longer exist but are still written down.
_ONION_ADDRESS = re.compile(r"[a-z2-7]{55}d|[a-z2-7]{16}")

# Behind `something.onion`: what only a private network resolves, so that it was appended and `onion` was the end.
_PRIVATE_SUFFIXES = frozenset(
    ("corp", "home", "internal", "intranet", "lan", "local", "localdomain", "private", "test", "workgroup")
)

# The registrable name is `onion.co.uk` here, not `onion`: a site of the ordinary DNS.
_SECOND_LEVELS = frozenset(("ac", "co", "com", "edu", "gov", "go", "ne", "net", "or", "org"))

_PROXY_SEARCHES = ("wpad", "isatap")
_PROBE = re.compile(r"[a-z]{7,15}")
_NETBIOS = re.compile(r"(?:[a-p][a-p]){16}")  # RFC 1001 section 14.1: each half of 16 bytes as a letter
_SERVICE = re.compile(r"(?:^|\.)_[a-z][a-z0-9-]*\._(?:tcp|udp)(?:\.|$)|(?:^|\.)_dns-sd\.")
_DISCOVERY = frozenset(("_dns.resolver.arpa", "ipv4only.arpa"))  # RFC 9462 section 4, RFC 7050 section 3
_PORT_PREFIX = re.compile(r"^_[0-9]+\._[a-z]+\.(?=.)")
_HOST_BYTES = re.compile(r"[a-z0-9_.*-]*")
_LABEL = re.compile(r"(?:[^.\\]++|\\.?+)++", re.DOTALL)


class NameKind(StrEnum):
    """Kinds of queried names, each with what is known to ask for it."""

    ORDINARY = "ordinary"
    ROOT = "root"
    """The root itself: a resolver looks for its servers. It names nothing."""
    ONION = "onion"
    """An onion service, which nothing but Tor can reach (RFC 7686)."""
    ONION_WITH_SUFFIX = "onion_with_suffix"
    """The same with something behind it: a search suffix, or a gateway of the web to onion services."""
    LOCAL = "local"
    """localhost (RFC 6761), or mDNS' .local that came by ordinary DNS (RFC 6762)."""
    SINGLE_LABEL = "single_label"
    RANDOM_LABEL = "random_label"
    """Seven to fifteen letters: of two in two seconds, Chromium's probes for a resolver that lies. One alone says no
    more than a single label."""
    SEARCH_TEXT = "search_text"
    """No host name can have these characters: typed into an address bar, most likely."""
    WPAD = "wpad"
    """A search for a proxy or a tunnel, by name in each suffix: anyone who answers it becomes the proxy."""
    REVERSE = "reverse"
    DOH_CANARY = "doh_canary"
    SERVICE_DISCOVERY = "service_discovery"
    """A search for services (RFC 6763, RFC 2782, Active Directory), for encrypted DNS or for NAT64."""
    NETBIOS = "netbios"
    """A NetBIOS name in its encoding for UDP port 137."""


def kind_of(name: str) -> NameKind:
    """The kind of `name`, in any case, with or without a last dot. The most telling one when it is of several."""
    name = canonical_name(name)
    if ".onion" in name and (kind := _onion(name)) is not None:
        return kind
    if ("_" in name and _SERVICE.search(name)) or name in _DISCOVERY:
        return NameKind.SERVICE_DISCOVERY
    if name.endswith((".in-addr.arpa", ".ip6.arpa")):
        return NameKind.REVERSE
    if not _HOST_BYTES.fullmatch(name):
        return NameKind.SEARCH_TEXT
    if name.startswith(_PROXY_SEARCHES) and name.partition(".")[0] in _PROXY_SEARCHES:
        return NameKind.WPAD
    if is_local_name(name):
        return NameKind.LOCAL
    if "." not in name:
        return _single(name)
    return NameKind.DOH_CANARY if name == DOH_CANARY else NameKind.ORDINARY


def suffix_of(name: str, known_names: Container[str]) -> str | None:
    """The search suffix when `name` is a known name with more behind it: corp.lan for example.com.corp.lan.

    `known_names` are in lower case and without a last dot. The longest known name wins.
    """
    labels = labels_of(name)
    for end in range(len(labels) - 1, 0, -1):
        if ".".join(labels[:end]) in known_names:
            return ".".join(labels[end:])
    return None


def host_of(name: str) -> str:
    """The host that a query is about: www.example.com for _8443._https.www.example.com.

    Browsers ask so for HTTPS records of any port but 443 (RFC 9460 section 9.1; seen of Chromium and Firefox), TLSA
    likewise.
    """
    return _PORT_PREFIX.sub("", canonical_name(name))


def address_of_reverse(name: str) -> IPv4Address | IPv6Address | None:
    """The address that a name under in-addr.arpa or ip6.arpa spells in full; None for any other name."""
    labels = name.split(".")
    try:
        if labels[4:] == ["in-addr", "arpa"]:
            return IPv4Address(".".join(labels[3::-1]))
        if labels[32:] == ["ip6", "arpa"] and all(len(label) == 1 for label in labels[:32]):
            return IPv6Address(bytes.fromhex("".join(labels[31::-1])))
    except ValueError:
        pass
    return None


def labels_of(name: str) -> list[str]:
    """The labels, in lower case and still escaped; a dot that belongs to a label does not part it."""
    name = canonical_name(name)
    return name.split(".") if "\\" not in name else _LABEL.findall(name)


def _onion(name: str) -> NameKind | None:
    labels = labels_of(name)
    if labels[-1] == "onion":
        return NameKind.ONION
    for at in range(1, len(labels) - 1):
        if labels[at] == "onion" and (_ONION_ADDRESS.fullmatch(labels[at - 1]) or _is_suffix(labels[at + 1 :])):
            return NameKind.ONION_WITH_SUFFIX
    return None


def _is_suffix(labels: list[str]) -> bool:
    """True when what stands behind `onion` was appended to it rather than registered with it, as onion.com is.

    One label may be a top-level domain of the web; two and more make `onion` some host of theirs, which is rare.
    """
    if len(labels) == 1:
        return labels[0] in _PRIVATE_SUFFIXES
    return not (len(labels) == 2 and labels[0] in _SECOND_LEVELS and len(labels[1]) == 2)


def _single(name: str) -> NameKind:
    if not name:
        return NameKind.ROOT
    if _PROBE.fullmatch(name):
        return NameKind.RANDOM_LABEL
    return NameKind.NETBIOS if _NETBIOS.fullmatch(name) else NameKind.SINGLE_LABEL
