"""ADDR of the command line and the configuration: HOST:PORT, [V6]:PORT or unix:PATH; and networks.

Only parses: a host must be an IP address (or `localhost`, which means 127.0.0.1), because the shim resolves no name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from shim.model import endpoint

_LOOPBACK_NAME = "localhost"
MAX_PORT = 65535
_MAX_PATH_BYTES = 107  # sun_path of unix(7) holds 108, the last of them NUL
_MAPPED_PREFIX = 0xFFFF
_MAPPED_BITS = 96


class AddressError(ValueError):
    """Some text is no ADDR. `reason` is the id of a message that says why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen on or to connect to: an IP address and port (0 = any free one), or a unix socket's path."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read one ADDR. AddressError, with the reason, when it is none."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not 0 < len(path.encode("utf-8", "surrogateescape")) <= _MAX_PATH_BYTES or "\0" in path:
                raise AddressError("reason.path", "unix: needs a path of 1 to 107 bytes")
            return cls(path=path)
        host, colon, port = text.rpartition(":")
        if not port or not colon or text.endswith("]"):
            raise AddressError("reason.no_port", "the port is missing")
        if not re.fullmatch("[0-9]{1,5}", port) or int(port) > MAX_PORT:
            raise AddressError("reason.port", "port must be 0-65535")
        return cls(host=_literal(host), port=int(port))

    @property
    def is_unix(self) -> bool:
        """True for a unix socket."""
        return bool(self.path)

    @property
    def is_loopback(self) -> bool:
        """True where only programs of this machine can reach it."""
        return self.is_unix or _is_loopback(self.host)

    @property
    def is_unspecified(self) -> bool:
        """True for 0.0.0.0 and [::]: every address of this machine."""
        return not self.is_unix and ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.is_unix else endpoint(self.host, self.port)


def parse_network(text: str) -> IPv4Network | IPv6Network | None:
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


@lru_cache(64)
def _is_loopback(host: str) -> bool:
    """Remembered, for each connection to the upstream asks it: 2 us otherwise."""
    return ip_address(host).is_loopback


def _literal(host: str) -> str:
    if host.lower() == _LOOPBACK_NAME:
        return "127.0.0.1"
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare and host != f"[{bare}]":
        raise AddressError("reason.brackets", "an IPv6 address needs brackets")
    try:
        address = ip_address(bare)
    except ValueError:
        address = None
    if address is None or (address.version == 4 and host != bare):
        raise AddressError("reason.host", "host must be an IP address: names are never resolved")
    return str(address)
