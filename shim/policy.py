"""What the user has decided about unsafe requests, as one frozen value.

It judges nothing and reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from shim.address import MAX_PORT, parse_network
from shim.errors import PolicyError
from shim.model import DnsMode, Isolate, Mode
from shim.rule import Rule

ALLOWED_FORMS = (
    "allowed are an address (127.0.0.1, ::1), a network (10.0.0.0/8, fc00::/7) "
    "or a local name (localhost, NAME.localhost, NAME.local), an address or name also with "
    "a port of 1 to 65535 (localhost:8080, [::1]:8080)"
)
"""What `policy.allow_local` may hold, for the error message."""

_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*local(?:host)?", re.ASCII)
_BARE_LOCAL = "local"  # `*.local` is local, `local` alone is an ordinary name


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
    network = parse_network(host)
    if network is not None and not ("/" in host and port is not None):
        return Allowance(network=network, port=port)
    name = host.removesuffix(".")
    if _NAME.fullmatch(name) and name != _BARE_LOCAL:
        return Allowance(name=name, port=port)
    raise ValueError(ALLOWED_FORMS)


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about what the judge finds. PolicyError if it holds an entry that cannot be meant."""

    mode: Mode = Mode.WARN
    address_as_text: Literal["warn", "block"] = "warn"
    allow_local: tuple[str, ...] = ()
    isolate: Isolate = "none"
    http_hint: bool = False
    wait_for_name: bool = False
    warn_plaintext_ports: tuple[int, ...] = (23, 109, 110, 143)
    reject_plaintext_ports: tuple[int, ...] = ()
    rule: tuple[Rule, ...] = ()
    allowances: tuple[Allowance, ...] = field(init=False, repr=False, compare=False, default=())
    plaintext_ports: frozenset[int] = field(init=False, repr=False, compare=False, default=frozenset())
    exceptions: tuple[Policy, ...] = field(init=False, repr=False, compare=False, default=())
    """What the policy is where a rule fits, for each rule."""
    asks_first: bool = field(init=False, repr=False, compare=False, default=False)
    """Nothing is decided before it is known whose request it is: by the program alone, the first rule fits or not."""

    def __post_init__(self) -> None:
        """Read the lists once, so that no request pays for it."""
        if mistakes := tuple(self._mistakes()):
            raise PolicyError(mistakes)
        object.__setattr__(self, "allowances", tuple(map(parse_allowance, self.allow_local)))
        object.__setattr__(self, "plaintext_ports", frozenset(self.warn_plaintext_ports + self.reject_plaintext_ports))
        object.__setattr__(self, "exceptions", tuple(map(self._under, self.rule)))
        object.__setattr__(self, "asks_first", bool(self.rule) and self.rule[0].by_program_alone)

    def _under(self, rule: Rule) -> Policy:
        return replace(self, rule=(), mode=rule.mode or self.mode, isolate=rule.isolate or self.isolate)

    def _mistakes(self) -> Iterator[tuple[str, str, object]]:
        for entry in self.allow_local:
            try:
                parse_allowance(entry)
            except ValueError:
                yield "allow_local", "config.allow_local", entry
        for key in ("warn_plaintext_ports", "reject_plaintext_ports"):
            for port in getattr(self, key):
                if not 0 < port <= MAX_PORT:
                    yield key, "config.port", port

    def allows(self, host: IPv4Address | IPv6Address | str, port: int) -> bool:
        """True if CONNECT may reach this local destination; `host` as `Allowance.covers` wants it."""
        return any(allowance.covers(host, port) for allowance in self.allowances)


@dataclass(frozen=True, slots=True)
class DnsPolicy:
    """How the sensor answers. `refusal` is the RCODE of mode `refuse`; `ipv6` lets mode `issue` answer AAAA."""

    mode: DnsMode = DnsMode.REFUSE
    refusal: Literal["NXDOMAIN", "REFUSED"] = "NXDOMAIN"
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
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)) and 0 < int(text) <= MAX_PORT:
        return int(text)
    raise ValueError(ALLOWED_FORMS)
