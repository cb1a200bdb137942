"""Packets that tried to leave: what each is taken for, what the kernel's own are, and how they are answered."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from shim.lab.packets import ICMP, ICMP6, IGMP, TCP, UDP, Kind, Packet, read, read_frame, refusal

HERE4, HERE6 = ip_address("10.77.0.2"), ip_address("2001:db8:77::2")
QUERY = DNSRecord.question("www.example.org").pack()
STUN = struct.pack("!HHI", 1, 0, 0x2112A442) + bytes(12)
QUIC = b"\xc3\0\0\0\x01" + bytes(1195)


def ip(protocol: int, payload: bytes, target: str = "192.0.2.1") -> bytes:
    there = ip_address(target)
    if there.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + HERE6.packed + there.packed + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    return head + HERE4.packed + there.packed + payload


def udp(port: int, data: bytes, target: str = "192.0.2.1") -> bytes:
    return ip(UDP, struct.pack("!HHHH", 4001, port, 8 + len(data), 0) + data, target)


def tcp(port: int, flags: int = 0x02, target: str = "192.0.2.1") -> bytes:
    return ip(TCP, struct.pack("!HHIIBBHHH", 4001, port, 7, 0, 5 << 4, flags, 0, 0, 0), target)


@pytest.mark.parametrize(
    ("raw", "kind", "transport", "port", "name"),
    [
        (tcp(80), Kind.TCP, "tcp", 80, None),
        (tcp(80, target="2001:db8::1"), Kind.TCP, "tcp", 80, None),
        (tcp(53), Kind.DNS, "tcp", 53, None),
        (tcp(853), Kind.DOT, "tcp", 853, None),
        (tcp(443, target="1.1.1.1"), Kind.DOH, "tcp", 443, None),
        (tcp(443), Kind.TCP, "tcp", 443, None),
        (udp(53, QUERY, "8.8.8.8"), Kind.DNS, "udp", 53, "www.example.org"),
        (udp(53, b"no query"), Kind.DNS, "udp", 53, None),
        (udp(5353, QUERY, "224.0.0.251"), Kind.MDNS, "udp", 5353, "www.example.org"),
        (udp(5353, QUERY, "ff02::fb"), Kind.MDNS, "udp", 5353, "www.example.org"),
        (udp(5355, QUERY, "224.0.0.252"), Kind.LLMNR, "udp", 5355, "www.example.org"),
        (udp(137, bytes(50), "10.77.0.255"), Kind.NETBIOS, "udp", 137, None),
        (udp(1900, b"M-SEARCH"), Kind.SSDP, "udp", 1900, None),
        (udp(123, bytes(48)), Kind.NTP, "udp", 123, None),
        (udp(853, bytes(20)), Kind.DOT, "udp", 853, None),
        (udp(3478, STUN), Kind.STUN, "udp", 3478, None),
        (udp(443, STUN), Kind.STUN, "udp", 443, None),
        (udp(443, QUIC), Kind.QUIC, "udp", 443, None),
        (udp(4433, QUIC), Kind.QUIC, "udp", 4433, None),
        (udp(443, b"\x40" + bytes(30)), Kind.QUIC, "udp", 443, None),
        (udp(4433, b"\xca\x1a\x2a\x3a\x4a" + bytes(30)), Kind.QUIC, "udp", 4433, None),
        (udp(443, QUIC, "8.8.8.8"), Kind.DOH, "udp", 443, None),
        (udp(9999, b"hello"), Kind.UDP, "udp", 9999, None),
        (udp(9999, b""), Kind.UDP, "udp", 9999, None),
        (ip(ICMP, b"\x08\x00" + bytes(6)), Kind.ICMP, "icmp", 0, None),
        (ip(ICMP6, b"\x80\x00" + bytes(6), "2001:db8::1"), Kind.ICMP, "icmp", 0, None),
        (ip(47, bytes(8)), Kind.OTHER, "ip", 0, None),
        (ip(TCP, b"short"), Kind.OTHER, "tcp", 0, None),
    ],
)
def test_what_a_packet_is(raw: bytes, kind: Kind, transport: str, port: int, name: str | None) -> None:
    packet = read(raw)
    assert packet is not None
    assert (packet.kind, packet.transport, packet.target_port, packet.name) == (kind, transport, port, name)
    assert packet.length == len(raw)
    assert packet.source in (HERE4, HERE6)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x45",
        b"\x60" + bytes(20),
        b"\x00" * 60,
        tcp(80, 0x04),
        tcp(80, 0x10),
        tcp(80, 0x11),
        ip(IGMP, bytes(8), "224.0.0.22"),
        ip(ICMP, b"\x03\x03" + bytes(6)),
        *(ip(ICMP6, bytes((kind, 0)) + bytes(22), "ff02::2") for kind in (133, 135, 143)),
    ],
)
def test_what_is_nobodys_doing(raw: bytes) -> None:
    assert read(raw) is None


def test_extension_headers_are_stepped_over() -> None:
    inner = struct.pack("!HHIIBBHHH", 4001, 443, 7, 0, 5 << 4, 2, 0, 0, 0)
    options = bytes((TCP, 0)) + bytes(6)
    packet = read(ip(0, options + inner, "2001:db8::1"))
    assert packet is not None
    assert (packet.kind, packet.target_port) == (Kind.TCP, 443)


def test_a_later_fragment_is_part_of_the_first() -> None:
    raw = bytearray(udp(9999, b"x" * 40))
    raw[6:8] = b"\x00\xb9"
    assert read(bytes(raw)) is None
    assert refusal(bytes(raw)) is None


def test_a_syn_that_is_sent_again_is_the_same_flow() -> None:
    first, again, other = read(tcp(80)), read(tcp(80)), read(tcp(81))
    assert first is not None and again is not None and other is not None
    assert first.flow == again.flow != other.flow


def test_destinations_read_as_usual() -> None:
    packet = Packet(Kind.TCP, "tcp", HERE6, 1, ip_address("2001:db8::1"), 443, 60)
    assert packet.destination == "[2001:db8::1]:443"
    assert Packet(Kind.ICMP, "icmp", HERE4, 0, ip_address("192.0.2.1"), 0, 60).destination == "192.0.2.1"


def checksum(data: bytes) -> int:
    data += bytes(len(data) & 1)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("target", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("make", [tcp, lambda port, target: udp(port, b"odd", target)], ids=["tcp", "udp"])
def test_a_refusal_goes_back_with_good_checksums(make: object, target: str) -> None:
    raw = make(80, target=target)  # type: ignore[operator]
    answer = refusal(raw)
    assert answer is not None
    frame = read_frame(answer)
    assert frame is not None
    assert (frame.source, frame.target) == (ip_address(target), HERE4 if "." in target else HERE6)
    if frame.source.version == 4:
        assert checksum(answer[:20]) == 0xFFFF
    if frame.protocol == ICMP:
        assert checksum(frame.payload) == 0xFFFF
    else:
        pseudo = frame.source.packed + frame.target.packed + struct.pack("!II", len(frame.payload), frame.protocol)
        assert checksum(pseudo + frame.payload) == 0xFFFF
    if frame.protocol == TCP:
        ports, sequence = struct.unpack_from("!HH", frame.payload), struct.unpack_from("!II", frame.payload, 4)
        assert (ports, sequence, frame.payload[13]) == ((80, 4001), (0, 8), 0x14)


@pytest.mark.parametrize("raw", [udp(5353, QUERY, "224.0.0.251"), tcp(80, 0x04), ip(ICMP, bytes(8)), b"", b"\x45"])
def test_what_gets_no_refusal(raw: bytes) -> None:
    assert refusal(raw) is None


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x45", b"\x4f", b"\x60", b"\x45\0\0\x14\0\0\0\0\x40\x06"]))
def test_any_bytes_are_a_packet_or_none(data: bytes, head: bytes) -> None:
    read(head + data)
    refusal(head + data)
