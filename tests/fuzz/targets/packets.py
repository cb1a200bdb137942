"""Any bytes: a Packet or None; what they are refused with is a packet that goes back the way they came."""

from __future__ import annotations

from random import Random

from fuzz import grammar
from shim.lab import packets
from shim.lab.packets import ICMP, ICMP6, TCP, Frame

COVERS = ("shim.lab.packets",)


def one_input(data: bytes) -> None:
    packet = packets.read(data)
    if packet is not None:
        assert packet.length == len(data)
        assert str(packet.target) in packet.destination
        assert packet.name is None or packet.name.isascii()
        assert hash(packet.flow) == hash(packets.read(data).flow)  # type: ignore[union-attr]
    back = packets.refusal(data)
    if back is not None:
        _check(packets.read_frame(data), packets.read_frame(back), back)


def generate(rng: Random) -> bytes:
    return grammar.packet(rng)


def _check(there: Frame | None, back: Frame | None, raw: bytes) -> None:
    assert there is not None
    assert back is not None
    assert (back.source, back.target) == (there.target, there.source)
    assert back.protocol in (TCP, ICMP, ICMP6)
    assert not packets._checksum(raw[:20]) or back.source.version == 6
    body = back.payload
    before = b"" if back.protocol == ICMP else packets._pseudo_header(there, back.protocol, len(body))
    assert packets._checksum(before + body) == 0, "a checksum over itself is naught"
    if back.protocol == TCP:
        assert body[:4] == there.payload[2:4] + there.payload[:2]
        assert packets.read(raw) is None, "a reset is nobody's attempt to connect"
