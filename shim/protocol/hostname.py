"""What Tor takes for a destination's name, and which addresses a text spells.

Judges form only: resolves nothing, and does not ask whether a name can exist.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from shim.spelling import HOSTNAME, LEADING_ZEROS

MAX_HOSTNAME = 255
"""Bytes of a name: one length octet in SOCKS5 (RFC 1928 section 5), and what Tor takes in SOCKS4a."""

_NAME = re.compile(HOSTNAME.encode())
_LEADING_ZEROS = re.compile(LEADING_ZEROS.encode())

is_plain_name = _NAME.fullmatch
"""Something for a name without brackets and colons, whatever its length."""


def is_valid_hostname(raw: bytes) -> bool:
    """True for what Tor accepts as a destination: a name, or IPv6 text; either may stand in brackets."""
    if len(raw) > MAX_HOSTNAME:
        return False
    if _NAME.fullmatch(raw):
        return True
    inner = _without_brackets(raw)
    return _NAME.fullmatch(inner) is not None or read_ipv6(inner) is not None


def read_hostname(raw: bytes) -> str:
    """The name as it was sent, case too. ValueError when Tor would call it malformed, or when it holds a NUL."""
    # Nearly all pass the first two.
    if (len(raw) > MAX_HOSTNAME or _NAME.fullmatch(raw) is None) and not is_valid_hostname(raw):
        raise ValueError("malformed name")
    return raw.decode("ascii")


def read_address(raw: bytes) -> IPv4Address | IPv6Address | None:
    """The address that a text spells for RESOLVE_PTR: a dotted quad, or IPv6 which may stand in brackets."""
    if b":" in raw:
        return read_ipv6(_without_brackets(raw))
    return read_ipv4(raw)


def read_ipv4(raw: bytes) -> IPv4Address | None:
    """A dotted quad without leading zeros, or None."""
    try:
        return IPv4Address(raw.decode("ascii"))
    except ValueError:
        return None


def read_ipv6(raw: bytes) -> IPv6Address | None:
    """IPv6 text without zone and brackets, or None."""
    if b":" not in raw or b"%" in raw:  # Tor knows no zones; ipaddress does
        return None
    try:
        return IPv6Address(_LEADING_ZEROS.sub(b"", raw).decode("ascii"))
    except ValueError:
        return None


def _without_brackets(raw: bytes) -> bytes:
    return raw[1:-1] if raw[:1] == b"[" and raw[-1:] == b"]" else raw
