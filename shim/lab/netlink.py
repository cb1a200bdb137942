"""The few things that `ip` would be needed for: interfaces up, addresses, default routes, a veth pair (rtnetlink(7)).

Works on the network namespace of the thread that made it; changes nothing that it was not told to.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Interface, IPv6Interface
from types import TracebackType
from typing import Final, Self

_ERROR: Final = 2
_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_REQUEST_AND_ACK: Final = 0x1 | 0x4
_CREATE: Final = 0x400 | 0x200  # and only if there is none

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")

_IFLA_NAME, _IFLA_QUEUE, _IFLA_INFO, _INFO_KIND, _INFO_DATA, _VETH_PEER = 3, 13, 18, 1, 2, 1
_ADDRESS_REMOTE, _ADDRESS_LOCAL, _ROUTE_INTERFACE = 1, 2, 4
_NO_DUPLICATE_CHECK: Final = 0x02  # IFA_F_NODAD: an address is good at once
_MAIN, _STATIC, _LINK_SCOPE, _UNICAST = 254, 4, 253, 1

_UP, _NO_ARP = 0x1, 0x80
_QUEUE: Final = 10_000
"""Packets that may wait for the reader."""


class RouteSocket:
    """Asks the kernel for one change after the other. OSError with its reason."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sock.close()

    def up(self, name: str, *, arp: bool = True) -> None:
        """Set an interface up; without ARP nobody has to answer for an address to be sent to."""
        flags = _UP if arp else _UP | _NO_ARP
        body = _LINK.pack(0, 0, socket.if_nametoindex(name), flags, flags)
        self._ask(_NEW_LINK, 0, body + _attribute(_IFLA_QUEUE, struct.pack("=I", _QUEUE)))

    def veth(self, name: str, peer: str) -> None:
        """Make a pair of interfaces: what goes into one comes out of the other."""
        nobody = _LINK.pack(0, 0, 0, 0, 0)
        other = _attribute(_VETH_PEER, nobody + _attribute(_IFLA_NAME, peer.encode() + b"\0"))
        info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, other)
        body = nobody + _attribute(_IFLA_NAME, name.encode() + b"\0") + _attribute(_IFLA_INFO, info)
        self._ask(_NEW_LINK, _CREATE, body)

    def address(self, name: str, interface: IPv4Interface | IPv6Interface) -> None:
        """Give an interface an address."""
        family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
        index = socket.if_nametoindex(name)
        body = _ADDRESS.pack(family, interface.network.prefixlen, _NO_DUPLICATE_CHECK, 0, index)
        packed = interface.ip.packed
        self._ask(
            _NEW_ADDRESS, _CREATE, body + _attribute(_ADDRESS_LOCAL, packed) + _attribute(_ADDRESS_REMOTE, packed)
        )

    def default_route(self, name: str, family: socket.AddressFamily) -> None:
        """Send by this interface whatever is not local."""
        body = _ROUTE.pack(family, 0, 0, 0, _MAIN, _STATIC, _LINK_SCOPE, _UNICAST, 0)
        index = struct.pack("=I", socket.if_nametoindex(name))
        self._ask(_NEW_ROUTE, _CREATE, body + _attribute(_ROUTE_INTERFACE, index))

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST_AND_ACK | flags, self._sequence, 0)
        self._sock.send(header + body)
        reply = self._sock.recv(65536)
        _, answered, _, _, _ = _HEADER.unpack_from(reply)
        code = -int(struct.unpack_from("=i", reply, _HEADER.size)[0]) if answered == _ERROR else 0
        if code:
            raise OSError(code, os.strerror(code))


def _attribute(kind: int, data: bytes) -> bytes:
    """One rtattr, padded to fours."""
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)
