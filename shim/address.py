"""ADDR of the command line and the configuration: HOST:PORT, [V6]:PORT or unix:PATH.

Only parses: a host must be an IP address (or `localhost`, which means 127.0.0.1), because the shim resolves no name.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from shim.model import endpoint

_LOOPBACK_NAME = "localhost"


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen on or to connect to: an IP address and port (0 = any free one), or a unix socket's path."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read one ADDR. ValueError, with the reason, when it is none."""
        if text.startswith("unix:"):
            if not text[5:]:
                raise ValueError("unix: needs a path")
            return cls(path=text[5:])
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError("port must be 0-65535")
        return cls(host=_literal(host), port=int(port))

    @property
    def is_unix(self) -> bool:
        """True for a unix socket."""
        return bool(self.path)

    @property
    def is_loopback(self) -> bool:
        """True where only programs of this machine can reach it."""
        return self.is_unix or ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.is_unix else endpoint(self.host, self.port)


def _literal(host: str) -> str:
    if host.lower() == _LOOPBACK_NAME:
        return "127.0.0.1"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    try:
        return str(ip_address(host))
    except ValueError:
        raise ValueError("host must be an IP address: names are never resolved") from None
