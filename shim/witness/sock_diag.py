"""One socket of this network namespace, asked for by its exact addresses (netlink, sock_diag(7)).

Never waits, and never reads a whole table of connections: 0.01 ms, whatever the number of sockets.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final, NamedTuple

from shim.witness.clues import Endpoint, Flow

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 0x1
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ENDS = struct.Struct("!HH16s16s")  # inet_diag_sockid: ports and addresses, in network order
_REQUEST = struct.Struct("=IHHII BBBxI 36sIII")
"""nlmsghdr; inet_diag_req_v2: family, protocol, extensions, states; its sockid: ends, then interface and cookie."""
_MESSAGE = struct.Struct("=B3x 36s12x 12xII")
"""inet_diag_msg: family, state, timer, retransmissions; its sockid: ends; then timer and queues, uid, inode."""

# Plain numbers: each look-up needs some, and an attribute of an enumeration costs 0.1 us (CPython 3.11).
_INET, _INET6, _TCP, _UDP = map(int, (socket.AF_INET, socket.AF_INET6, socket.IPPROTO_TCP, socket.IPPROTO_UDP))

_ANY_COOKIE: Final = 0xFFFFFFFF
_ALL_STATES: Final = 0xFFFFFFFF
_REPLY_BYTES: Final = 32768

_LOOPBACK: Final = 1
"""Index of `lo`, in every namespace. What one program of a machine sends to another comes in by it, and a socket that
is bound to an interface (SO_BINDTODEVICE) is found only by that one; all others are found by any."""

_WILDCARD4 = bytes(4)
_WILDCARDS = (_WILDCARD4, bytes(16))
_MAPPED = bytes(10) + b"\xff\xff"
_DNS_PORT: Final = 53


class SocketOwner(NamedTuple):
    """What the kernel says of a socket: the inode that names it in /proc/PID/fd, and the uid that made it."""

    inode: int
    uid: int


class Ambiguous(Exception):
    """Several sockets may have sent the datagram."""


End = tuple[bytes, int]
_NOWHERE: End = (b"", 0)


class Row(NamedTuple):
    """One socket: its own end and the other, as the kernel writes them, and its owner."""

    family: int
    ends: bytes
    owner: SocketOwner

    @property
    def here(self) -> End:
        """Its own end."""
        port, _, host, _ = _ENDS.unpack(self.ends)
        return _address(self.family, host), port

    @property
    def there(self) -> End:
        """The other."""
        _, port, _, host = _ENDS.unpack(self.ends)
        return _address(self.family, host), port


class SockDiag:
    """A netlink socket to ask. OSError where the system has none, or does not answer for TCP or UDP."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
        self._sequence = 0
        try:
            self._sock.connect((0, 0))
            self._prove()
        except OSError:
            self._sock.close()
            raise

    def close(self) -> None:
        """Close the netlink socket."""
        self._sock.close()

    def owner(self, flow: Flow) -> SocketOwner | None:
        """The client's socket; None when it is gone, TIME_WAIT included. Ambiguous; OSError from the kernel."""
        client, zone = _end(flow.client)
        server, _ = _end(flow.server)
        if flow.transport == "tcp":
            return self._of_connection(client, server, zone)
        return self._of_datagram(client, server, zone)

    def _of_connection(self, client: End, server: End, zone: int) -> SocketOwner | None:
        """Where there is no such connection, the kernel offers whoever listens on the client's port."""
        return _between(client, server, self._ask(_TCP, client, server, zone))

    def _of_datagram(self, client: End, server: End, zone: int) -> SocketOwner | None:
        """udp_diag wants the addresses as the client's socket sees a reply: ours first.

        Asked the other way round it answers with our own socket once the client has gone (measured). A socket that is
        connected to us has sent it. Otherwise every socket of that port must be seen: several can share it.
        """
        owner = _between(client, server, self._ask(_UDP, server, client, zone))
        return owner or sender(self._sharing(client[1]), client, server)

    def _sharing(self, port: int) -> list[Row]:
        """All UDP sockets of this port; those of IPv6 can send to IPv4, too."""
        end = (b"", port)
        return [row for family in (_INET, _INET6) for row in self._ask(_UDP, end, _NOWHERE, dump=family)]

    def _ask(self, protocol: int, source: End, target: End, zone: int = 0, dump: int | None = None) -> list[Row]:
        """The socket with these ends, or (dump) all of a family with the source's port."""
        family = dump or (_INET if len(source[0]) == 4 else _INET6)
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        flags = _NLM_F_REQUEST | (_NLM_F_DUMP if dump else 0)
        header = _REQUEST.size, _SOCK_DIAG_BY_FAMILY, flags, self._sequence, 0
        interface = 0 if dump else zone or _LOOPBACK
        what = family, protocol, 0, _ALL_STATES, _ends(source, target), interface, _ANY_COOKIE, _ANY_COOKIE
        self._sock.send(_REQUEST.pack(*header, *what))
        return self._read(whole=dump is not None)

    def _read(self, *, whole: bool) -> list[Row]:
        """The rows of the answer. It lies ready when `send` returns: BlockingIOError would be an answer lost."""
        rows: list[Row] = []
        while True:
            reply = self._sock.recv(_REPLY_BYTES, socket.MSG_DONTWAIT)
            at = 0
            while at < len(reply):
                length, kind, _, sequence, _ = _HEADER.unpack_from(reply, at)
                if sequence == self._sequence:
                    if kind == _SOCK_DIAG_BY_FAMILY:
                        rows.append(_row(reply, at + _HEADER.size))
                    elif kind == _NLMSG_ERROR:
                        raise_error(reply, at + _HEADER.size)
                    if not whole or kind != _SOCK_DIAG_BY_FAMILY:
                        return rows
                at += (length + 3) & ~3

    def _prove(self) -> None:
        """Find two sockets of our own: a kernel without tcp_diag or udp_diag says "not found" to everything."""
        nobody = (_WILDCARD4, 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.bind(("127.0.0.1", 0))
            found = self._ask(_UDP, nobody, _end(Endpoint(*own.getsockname()))[0])
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as own:
            own.bind(("127.0.0.1", 0))
            own.listen(1)
            found = found and self._ask(_TCP, _end(Endpoint(*own.getsockname()))[0], nobody)
        if not found:
            raise OSError(errno.EPROTONOSUPPORT, "sock_diag finds nothing")


def sender(rows: list[Row], client: End, server: End) -> SocketOwner | None:
    """The one socket that can have sent from `client`; None if there is none. Ambiguous."""
    near = [row for row in rows if row.owner.inode and row.here[0] in (client[0], *_WILDCARDS)]
    senders = [row for row in near if _reaches(row, server)]
    if not senders and len(near) == 1 and near[0].there[1] == _DNS_PORT:
        # Connected to another resolver, and yet its query came here: the firewall redirects it (nft, iptables).
        senders = near
    if len(senders) > 1:
        raise Ambiguous
    return senders[0].owner if senders else None


def _reaches(row: Row, server: End) -> bool:
    """Whether the socket sends to `server`: connected to it, or to nobody."""
    host, port = row.there
    return not port or (port == server[1] and (host == server[0] or server[0] in _WILDCARDS))


def _between(here: End, there: End, rows: list[Row]) -> SocketOwner | None:
    """The owner of the socket with exactly these ends."""
    ends = _ends(here, there)
    for row in rows:
        if row.owner.inode and (row.ends == ends or (row.here, row.there) == (here, there)):
            return row.owner
    return None


def _ends(here: End, there: End) -> bytes:
    return _ENDS.pack(here[1], there[1], here[0], there[0])


def _row(reply: bytes, at: int) -> Row:
    family, ends, uid, inode = _MESSAGE.unpack_from(reply, at)
    return Row(family, ends, SocketOwner(inode, uid))


def raise_error(reply: bytes, at: int) -> None:
    """Raise what an nlmsgerr at this place says, but for "not found"."""
    code = -int(struct.unpack_from("=i", reply, at)[0])
    if code not in (0, errno.ENOENT):
        raise OSError(code, "sock_diag")


def _address(family: int, raw: bytes) -> bytes:
    """4 or 16 bytes; an IPv4 address in IPv6 clothes (RFC 4291, section 2.5.5.2) counts as what it is."""
    if family == _INET:
        return raw[:4]
    return raw[12:] if raw.startswith(_MAPPED) else raw


def _end(endpoint: Endpoint) -> tuple[End, int]:
    """The address as bytes with its port, and the index of the interface that it names. OSError for what is none."""
    host, _, zone = endpoint.host.partition("%")
    if ":" not in host:
        return (socket.inet_pton(socket.AF_INET, host), endpoint.port), 0
    packed = _address(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    return (packed, endpoint.port), socket.if_nametoindex(zone) if zone else 0
