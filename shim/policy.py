"""What the user has decided about unsafe requests, as one frozen value.

It judges nothing and reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

from shim.model import DnsMode, Mode

ALLOWED_FORMS = (
    "allowed are an address (127.0.0.1, ::1), a network (10.0.0.0/8, fc00::/7) "
    "or a local name (localhost, NAME.localhost, NAME.local), an address or name also with "
    "a port of 1 to 65535 (localhost:8080, [::1]:8080)"
)
"""What `policy.allow_local` may hold, for the error message."""

_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*local(?:host)?", re.ASCII)
_BARE_LOCAL = "local"  # `*.local` is local, `local` alone is an ordinary name
_MAPPED_PREFIX = 0xFFFF
_MAPPED_BITS = 96
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Allowance:
    """One destination that CONNECT may reach though it is local: a network or a name, at one port or at any."""

    network: IPv4Network | IPv6Network | None = None
    name: str | None = None
    port: int | None = None

    def covers(self, host: IPv4Address | IPv6Address | str, port: int) -> bool:
        """True if this destination is meant: an IPv4-mapped address as IPv4, a name in lower case with no last dot."""
        if self.port is not None and self.port != port:
            return False
        if isinstance(host, str):
            return host == self.name
        return self.network is not None and host in self.network


def parse_allowance(text: str) -> Allowance:
    """Read one entry of `policy.allow_local`; ValueError says what is allowed, and does not repeat the entry."""
    host, port = _split_port(text.strip().lower())
    network = _network(host)
    if network is not None and not ("/" in host and port is not None):
        return Allowance(network=network, port=port)
    name = host.removesuffix(".")
    if _NAME.fullmatch(name) and name != _BARE_LOCAL:
        return Allowance(name=name, port=port)
    raise ValueError(ALLOWED_FORMS)


class PolicyError(ValueError):
    """Values that no policy can hold: the setting, the id of a message that says why, and the value, of each."""

    def __init__(self, mistakes: Iterable[tuple[str, str, object]]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(", ".join(dict.fromkeys(key for key, _, _ in self.mistakes)))


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about what the judge finds. PolicyError if it holds an entry that cannot be meant."""

    mode: Mode = Mode.WARN
    address_as_text: Literal["warn", "block"] = "warn"
    allow_local: tuple[str, ...] = ()
    isolate: Literal["none", "client", "destination"] = "none"
    http_hint: bool = False
    warn_plaintext_ports: tuple[int, ...] = (23, 109, 110, 143)
    reject_plaintext_ports: tuple[int, ...] = ()
    allowances: tuple[Allowance, ...] = field(init=False, repr=False, compare=False, default=())
    plaintext_ports: frozenset[int] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        """Read the lists once, so that no request pays for it."""
        if mistakes := tuple(self._mistakes()):
            raise PolicyError(mistakes)
        object.__setattr__(self, "allowances", tuple(map(parse_allowance, self.allow_local)))
        object.__setattr__(self, "plaintext_ports", frozenset(self.warn_plaintext_ports + self.reject_plaintext_ports))

    def _mistakes(self) -> Iterator[tuple[str, str, object]]:
        for entry in self.allow_local:
            try:
                parse_allowance(entry)
            except ValueError:
                yield "allow_local", "config.allow_local", entry
        for key in ("warn_plaintext_ports", "reject_plaintext_ports"):
            for port in getattr(self, key):
                if not 0 < port <= _MAX_PORT:
                    yield key, "config.port", port

    def allows(self, host: IPv4Address | IPv6Address | str, port: int) -> bool:
        """True if CONNECT may reach this local destination; `host` as `Allowance.covers` wants it."""
        return any(allowance.covers(host, port) for allowance in self.allowances)


@dataclass(frozen=True, slots=True)
class DnsPolicy:
    """How the sensor answers. `refusal` is the RCODE of mode `refuse`; `ipv6` lets mode `issue` answer AAAA."""

    mode: DnsMode = DnsMode.REFUSE
    refusal: Literal["REFUSED", "NXDOMAIN"] = "REFUSED"
    ipv6: bool = False


def _split_port(text: str) -> tuple[str, int | None]:
    """HOST:PORT or [V6]:PORT into its parts; a bare IPv6 address has no port."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and rest[0] != ":"):
            raise ValueError(ALLOWED_FORMS)
        return host, _port(rest[1:]) if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, _port(port)
    return text, None


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT)) and 0 < int(text) <= _MAX_PORT:
        return int(text)
    raise ValueError(ALLOWED_FORMS)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    """An address or network, the IPv4-mapped ones as IPv4; None if it is neither."""
    if "%" in text:
        return None
    try:
        network = ip_network(text)
    except ValueError:
        return None
    bits = network.prefixlen - _MAPPED_BITS
    if isinstance(network, IPv6Network) and bits >= 0 and int(network.network_address) >> 32 == _MAPPED_PREFIX:
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, bits))
    return network
