"""DNS messages made and read by dnspython, and plain blocking sockets to send them with.

Shares no code with the shim, which uses another library.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from dns.flags import Flag
from dns.message import Message, QueryMessage, from_wire, make_query
from dns.rcode import to_text
from dns.rdatatype import RdataType

TIMEOUT_S = 30.0
Where = tuple[str, int]


def query(name: str, rdtype: str = "A", *, id: int = 1, edns: int = -1, payload: int = 1232) -> QueryMessage:
    """A query as a stub makes it: RD set, and an OPT when `edns` is a version."""
    return make_query(name, rdtype, use_edns=edns, payload=payload if edns >= 0 else None, id=id)


def wire(name: str, rdtype: str = "A", *, id: int = 1, edns: int = -1) -> bytes:
    """The same as bytes."""
    return query(name, rdtype, id=id, edns=edns).to_wire()


def address(where: str) -> Where:
    """What `ready` says, as sockets want it."""
    host, _, port = where.rpartition(":")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def udp_client(where: Where, source: str | None = None) -> Iterator[socket.socket]:
    """A connected UDP socket: it takes nothing but what comes from there."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT_S)
        if source:
            client.bind((source, 0))
        client.connect(where)
        yield client


def ask(where: Where, message: bytes) -> Message:
    """The reply by UDP."""
    with udp_client(where) as client:
        client.send(message)
        return from_wire(client.recv(65535))


def unanswered(where: Where, message: bytes) -> bool:
    """Whether no reply comes: a second query from the same socket gets one, and it is the first to come."""
    with udp_client(where) as client:
        client.send(message)
        client.send(wire("after.test", id=65432))
        return from_wire(client.recv(65535)).id == 65432


@contextlib.contextmanager
def tcp_client(where: Where) -> Iterator[socket.socket]:
    """A TCP connection."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(where)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client


def framed(message: bytes) -> bytes:
    """A message with its two length octets."""
    return len(message).to_bytes(2, "big") + message


def read_framed(client: socket.socket) -> bytes | None:
    """The next message; None when the other side has ended."""
    head = _read(client, 2)
    return None if len(head) < 2 else _read(client, int.from_bytes(head, "big"))


def ask_tcp(where: Where, *messages: bytes) -> list[Message]:
    """All sent in one go on one connection; as many replies as there are messages."""
    with tcp_client(where) as client:
        client.sendall(b"".join(map(framed, messages)))
        got = [read_framed(client) for _ in messages]
    return [from_wire(reply) for reply in got if reply is not None]


def rcode(reply: Message) -> str:
    """NOERROR, NXDOMAIN, …"""
    return to_text(reply.rcode())


def answers(reply: Message) -> list[str]:
    """Its answer records, each as `TYPE TTL DATA`."""
    return [f"{RdataType(rrset.rdtype).name} {rrset.ttl} {data}" for rrset in reply.answer for data in rrset]


def is_reply(reply: Message) -> bool:
    """QR and RA set, and neither AA nor AD."""
    return reply.flags & (Flag.QR | Flag.RA | Flag.AA | Flag.AD) == Flag.QR | Flag.RA


def _read(client: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        try:
            piece = client.recv(count - len(got))
        except ConnectionResetError:
            break
        if not piece:
            break
        got += piece
    return got
