"""Packets that tried to leave, as what they are: from raw IPv4 or IPv6 to a kind, two ends and perhaps a name.

Pure: bytes in, values out. Total: any bytes are a packet, or None when the kernel itself sent them.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from shim.judge.endpoints import is_known_resolver
from shim.model import endpoint
from shim.protocol.dns import Query, read_query
from shim.value import value

TCP, UDP, ICMP, ICMP6, IGMP = 6, 17, 1, 58, 2

_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_EXTENSIONS = (0, 43, 60, 135)
"""IPv6 extension headers that are stepped over: hop-by-hop, routing, destination options, mobility (RFC 8200)."""

_FRAGMENT = 44
_MAX_EXTENSIONS = 8
_KERNEL_ICMP4 = (3, 4, 11, 12)
_KERNEL_ICMP6 = (1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 143)
"""Errors, neighbour discovery and multicast reports: the kernel's own doing, whatever the program does."""

_STUN_COOKIE = 0x2112A442  # RFC 8489 section 5
_QUIC_LONG, _QUIC_FIXED = 0xC0, 0x40  # RFC 9000 section 17.2
_QUIC_VERSIONS = (1, 0x6B3343CF)
_QUIC_PORTS = (443, 8443)


class Kind(StrEnum):
    """What a packet is taken for."""

    TCP = "tcp"
    UDP = "udp"
    QUIC = "quic"
    STUN = "stun"
    DNS = "dns"
    DOT = "dot"
    DOH = "doh"
    MDNS = "mdns"
    LLMNR = "llmnr"
    NETBIOS = "netbios"
    SSDP = "ssdp"
    NTP = "ntp"
    ICMP = "icmp"
    OTHER = "other"


_BY_PORT = {137: Kind.NETBIOS, 138: Kind.NETBIOS, 1900: Kind.SSDP, 123: Kind.NTP}
_NAMING = {53: Kind.DNS, 5353: Kind.MDNS, 5355: Kind.LLMNR}
"""Ports behind which a DNS message stands."""

_DOT_PORT, _HTTPS_PORT = 853, 443

Address = IPv4Address | IPv6Address


@value
class Packet:
    """One packet. Ports are 0 where there are none; `name` is what a DNS question in it asks for."""

    kind: Kind
    transport: str
    source: Address
    source_port: int
    target: Address
    target_port: int
    length: int
    name: str | None = None

    @property
    def destination(self) -> str:
        """HOST:PORT, or the address alone where there is no port."""
        return endpoint(self.target, self.target_port) if self.target_port else str(self.target)

    @property
    def flow(self) -> tuple[object, ...]:
        """Equal for packets of one conversation: a SYN that is sent again is no second leak."""
        return self.transport, self.source, self.source_port, self.target, self.target_port, self.name


@value
class Frame:
    """The outer part of a packet: who to whom, and what is inside. `first` is False for a later fragment."""

    source: Address
    target: Address
    protocol: int
    payload: bytes
    first: bool = True


def read(raw: bytes) -> Packet | None:
    """What a packet is; None for the kernel's own, and for what is no IP at all."""
    frame = read_frame(raw)
    if frame is None or frame.protocol == IGMP or not frame.first:
        return None
    if frame.protocol == TCP:
        return _tcp(frame, len(raw))
    if frame.protocol == UDP and len(frame.payload) >= 8:
        return _udp(frame, len(raw))
    if frame.protocol in (ICMP, ICMP6):
        own = _KERNEL_ICMP4 if frame.protocol == ICMP else _KERNEL_ICMP6
        if not frame.payload or frame.payload[0] in own:
            return None
        return Packet(Kind.ICMP, "icmp", frame.source, 0, frame.target, 0, len(raw))
    return Packet(Kind.OTHER, "ip", frame.source, 0, frame.target, 0, len(raw))


def read_frame(raw: bytes) -> Frame | None:
    """The IP header and what follows it (RFC 791, RFC 8200)."""
    version = raw[0] >> 4 if raw else 0
    if version == 4 and len(raw) >= 20:
        head = (raw[0] & 0xF) * 4
        offset = struct.unpack_from("!H", raw, 6)[0] & 0x1FFF
        return Frame(IPv4Address(raw[12:16]), IPv4Address(raw[16:20]), raw[9], raw[head:], not offset)
    if version == 6 and len(raw) >= 40:
        return _frame6(raw)
    return None


def _frame6(raw: bytes) -> Frame:
    protocol, at, first = raw[6], 40, True
    for _ in range(_MAX_EXTENSIONS):
        if len(raw) < at + 8:
            break
        if protocol in _EXTENSIONS:
            protocol, at = raw[at], at + (raw[at + 1] + 1) * 8
        elif protocol == _FRAGMENT:
            first = not struct.unpack_from("!H", raw, at + 2)[0] >> 3
            protocol, at = raw[at], at + 8
        else:
            break
    return Frame(IPv6Address(raw[8:24]), IPv6Address(raw[24:40]), protocol, raw[at:], first)


def _tcp(frame: Frame, length: int) -> Packet | None:
    """An attempt to connect. What a connection sends that never came to be is the kernel's tidying up."""
    if len(frame.payload) < 14:
        return Packet(Kind.OTHER, "tcp", frame.source, 0, frame.target, 0, length)
    source_port, target_port = struct.unpack_from("!HH", frame.payload)
    flags = frame.payload[13]
    if flags & _RST or (flags & _ACK and not flags & _SYN):
        return None
    kind = Kind.TCP
    if target_port == 53:
        kind = Kind.DNS
    elif target_port == _DOT_PORT:
        kind = Kind.DOT
    elif target_port == _HTTPS_PORT and is_known_resolver(frame.target, target_port):
        kind = Kind.DOH
    return Packet(kind, "tcp", frame.source, source_port, frame.target, target_port, length)


def _udp(frame: Frame, length: int) -> Packet:
    source_port, target_port = struct.unpack_from("!HH", frame.payload)
    data = frame.payload[8:]
    kind, name = _NAMING.get(target_port), None
    if kind is not None:
        query = read_query(data, tcp=False)
        name = query.name if isinstance(query, Query) else None
    return Packet(
        kind or _datagram(data, frame.target, target_port),
        "udp",
        frame.source,
        source_port,
        frame.target,
        target_port,
        length,
        name,
    )


def _datagram(data: bytes, target: Address, port: int) -> Kind:
    if port in _BY_PORT:
        return _BY_PORT[port]
    if port == _DOT_PORT:  # DNS over QUIC or DTLS (RFC 9250, RFC 8094)
        return Kind.DOT
    if _is_stun(data):
        return Kind.STUN
    if _is_quic(data, port):
        return Kind.DOH if is_known_resolver(target, port) else Kind.QUIC
    return Kind.UDP


def _is_stun(data: bytes) -> bool:
    """RFC 8489 section 5: two zero bits, a length in fours, the magic cookie."""
    return len(data) >= 20 and not data[0] & 0xC0 and int.from_bytes(data[4:8], "big") == _STUN_COOKIE


def _is_quic(data: bytes, port: int) -> bool:
    """A long header of a version that is in use, or anything with the fixed bit to a port where QUIC is spoken."""
    if len(data) < 5:
        return False
    if data[0] & _QUIC_LONG == _QUIC_LONG:
        version = int.from_bytes(data[1:5], "big")
        drafts = version >> 8 in (0xFF0000, 0xFACEB0)
        forced = version & 0x0F0F0F0F == 0x0A0A0A0A  # RFC 9000 section 15: to provoke version negotiation
        if version in _QUIC_VERSIONS or drafts or forced:
            return True
    return port in _QUIC_PORTS and bool(data[0] & _QUIC_FIXED)


def refusal(raw: bytes) -> bytes | None:
    """What a network without this destination would answer, so that nobody waits: RST, or port unreachable."""
    frame = read_frame(raw)
    if frame is None or not frame.first or frame.target.is_multicast:
        return None
    if frame.protocol == TCP and len(frame.payload) >= 14 and frame.payload[13] & (_SYN | _RST | _ACK) == _SYN:
        return _wrap(frame, TCP, _reset(frame))
    if frame.protocol == UDP and len(frame.payload) >= 8:
        return _wrap(frame, ICMP if frame.source.version == 4 else ICMP6, _unreachable(frame, raw))
    return None


def _reset(frame: Frame) -> bytes:
    """RFC 9293 section 3.10.7.1: RST and ACK of the SYN."""
    source_port, target_port, sequence = struct.unpack_from("!HHI", frame.payload)
    head = struct.pack(
        "!HHIIBBHHH", target_port, source_port, 0, (sequence + 1) & 0xFFFFFFFF, 5 << 4, _RST | _ACK, 0, 0, 0
    )
    checksum = _checksum(_pseudo_header(frame, TCP, len(head)) + head)
    return head[:16] + checksum.to_bytes(2, "big") + head[18:]


def _unreachable(frame: Frame, raw: bytes) -> bytes:
    """RFC 792 type 3 code 3, RFC 4443 type 1 code 4, with as much of the datagram as is always allowed."""
    if frame.source.version == 4:
        body = struct.pack("!BBHI", 3, 3, 0, 0) + raw[:548]
        return body[:2] + _checksum(body).to_bytes(2, "big") + body[4:]
    body = struct.pack("!BBHI", 1, 4, 0, 0) + raw[:1184]
    checksum = _checksum(_pseudo_header(frame, ICMP6, len(body)) + body)
    return body[:2] + checksum.to_bytes(2, "big") + body[4:]


def _pseudo_header(frame: Frame, protocol: int, length: int) -> bytes:
    ends = frame.target.packed + frame.source.packed
    return ends + (struct.pack("!BBH", 0, protocol, length) if len(ends) == 8 else struct.pack("!II", length, protocol))


def _wrap(frame: Frame, protocol: int, body: bytes) -> bytes:
    """The way back: source and target change places."""
    ends = frame.target.packed + frame.source.packed
    if frame.source.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + ends + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + ends
    return head[:10] + _checksum(head).to_bytes(2, "big") + head[12:] + body


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) & 1)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
