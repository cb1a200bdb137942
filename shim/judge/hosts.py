"""What a host is: an address, an address written as text, a local destination, or a name.

Reads text and integers only; resolves nothing.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from shim.model import Host
from shim.spelling import HOSTNAME, LEADING_ZEROS

_MAPPED_PREFIX = 0xFFFF  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2
_V4_MASK = 0xFFFFFFFF
_V4_PARTS = 4
_FIRST_OF_V4 = frozenset("0123456789[")

# One part of what inet_aton(3) reads: hexadecimal, octal or decimal. The length limit keeps a decimal below the size
# at which Python refuses to convert it; more digits are out of range anyway.
_V4_PART = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]{0,9}")

_HOSTNAME = re.compile(HOSTNAME)
_LEADING_ZEROS = re.compile(LEADING_ZEROS)

_LOCAL_V4_8 = frozenset((0, 10, 127))
_LOCAL_V4_16 = frozenset((0xA9FE, 0xC0A8))  # 169.254/16, 192.168/16
_LOCAL_V4_12 = 0xAC1  # 172.16/12
_LOCAL_V6_7 = 0x7E  # fc00::/7
_LOCAL_V6_10 = 0x3FA  # fe80::/10
_LOOPBACK_V6 = 1  # and :: below it
_LOCAL_SUFFIXES = (".localhost", ".local")


def address_from_text(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a resolver would take `text` for without asking anyone, or None for a name.

    Dotted quads and the other forms of inet_aton(3), also with a last dot; IPv6 as Tor and inet_pton(3) read it,
    also in brackets or with a zone, which is dropped. ::ffff:1.2.3.4 comes back as IPv6.
    """
    if ":" in text:
        return _v6_from_text(text)
    # Almost every name ends here: no address form without a colon begins otherwise.
    if text[:1] not in _FIRST_OF_V4:
        return None
    if text[0] == "[":
        return _v4_from_text(text[1:-1]) if text[-1] == "]" else None
    return _v4_from_text(text.removesuffix("."))


def is_local_address(address: IPv4Address | IPv6Address) -> bool:
    """True for this machine and its own networks: the contract's list of Local, mapped addresses too, nothing else.

    0/8, 10/8, 127/8, 169.254/16, 172.16/12, 192.168/16, ::, ::1, fc00::/7, fe80::/10.
    """
    value = int(address)
    if isinstance(address, IPv6Address):
        if value >> 32 != _MAPPED_PREFIX:
            return value <= _LOOPBACK_V6 or value >> 121 == _LOCAL_V6_7 or value >> 118 == _LOCAL_V6_10
        value &= _V4_MASK
    return value >> 24 in _LOCAL_V4_8 or value >> 16 in _LOCAL_V4_16 or value >> 20 == _LOCAL_V4_12


def is_local_name(name: str) -> bool:
    """True for localhost, *.localhost and *.local (RFC 6761, RFC 6762)."""
    name = canonical_name(name)
    return name.endswith(_LOCAL_SUFFIXES) or name == "localhost"


def is_hostname(name: str) -> bool:
    """True for what Tor takes as a name, or an address without colons. DNS can carry more, and so can its escapes."""
    return _HOSTNAME.fullmatch(name) is not None


def is_mapped(address: IPv4Address | IPv6Address) -> bool:
    """True for an IPv4 address that is written as IPv6, ::ffff:a.b.c.d."""
    return isinstance(address, IPv6Address) and int(address) >> 32 == _MAPPED_PREFIX


def normalise(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The same address, an IPv4-mapped one as IPv4."""
    return IPv4Address(int(address) & _V4_MASK) if is_mapped(address) else address


def number(address: IPv4Address | IPv6Address) -> int:
    """The address as 128 bits, IPv4 as its mapped form: a key that is cheap to hash, one for both spellings."""
    value = int(address)
    return value if isinstance(address, IPv6Address) else _MAPPED_PREFIX << 32 | value


def canonical_name(name: str) -> str:
    """The name in lower case and without its last dot: two spellings of one name are equal."""
    return name.lower().removesuffix(".")


def canonical(host: Host) -> IPv4Address | IPv6Address | str:
    """One value for all spellings of a destination: a normalised address, however it was written, or a name."""
    if isinstance(host, str):
        address = address_from_text(host)
        return canonical_name(host) if address is None else normalise(address)
    return normalise(host)


def _v6_from_text(text: str) -> IPv6Address | None:
    if text[0] == "[" and text[-1] == "]":
        text = text[1:-1]
    bare, percent, zone = text.partition("%")
    if percent and (not zone or "%" in zone):
        return None
    try:
        return IPv6Address(_LEADING_ZEROS.sub("", bare))
    except ValueError:
        return None


def _v4_from_text(text: str) -> IPv4Address | None:
    """inet_aton(3): one to four parts, the last of which fills all bytes that are left."""
    parts = text.split(".", _V4_PARTS)
    if len(parts) > _V4_PARTS:
        return None
    value = 0
    for part in parts[:-1]:
        byte = _v4_part(part)
        if byte is None or byte > 0xFF:
            return None
        value = value << 8 | byte
    rest_bits = 8 * (_V4_PARTS + 1 - len(parts))
    rest = _v4_part(parts[-1])
    if rest is None or rest >> rest_bits:
        return None
    return IPv4Address(value << rest_bits | rest)


def _v4_part(text: str) -> int | None:
    if not _V4_PART.fullmatch(text):
        return None
    if text[0] != "0":
        return int(text)
    return int(text, 16 if text[1:2] in ("x", "X") else 8)
