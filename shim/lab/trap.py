"""Where packets come out that tried to leave: each is read, named, and answered as a network without a way would do.

Sends nothing anywhere: what is written goes back into the namespace.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import BinaryIO, Literal

from shim.lab import packets
from shim.lab.canary import Canaries
from shim.lab.namespace import Ask
from shim.lab.packets import Packet
from shim.model import Process
from shim.value import value
from shim.witness.clues import Endpoint, Flow
from shim.witness.looking import BUSY, GONE

MAX_PACKET = 65_600
ROUNDS = 256
"""Packets in a row before the loop serves others."""

MAX_SIGHTINGS = 5000
"""Conversations kept. Above it they are only counted."""

MAX_LOOKED_UP = 500
"""Conversations whose sender is looked up: each may take a fifth of a second, in which nothing else is served."""

_ETHERNET = struct.Struct("!6s6sH")
_IP_TYPES = {4: 0x0800, 6: 0x86DD}

_PCAP_HEAD = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0x40000, 101)  # LINKTYPE_RAW: bare IPv4 or IPv6
_PCAP_RECORD = struct.Struct("=IIII")


@value
class Sighting:
    """One conversation that tried to leave: its first packet, when and how often, and who sent it."""

    at: float
    packet: Packet
    process: Process | None
    process_reason: str | None


class Trap:
    """Reads `descriptor`, of a TUN device or (`kind` veth) of a raw socket.

    `who` names senders; the names of `canaries` are looked for in every packet.
    """

    def __init__(
        self,
        descriptor: int,
        kind: str,
        who: Ask,
        pcap: BinaryIO | None = None,
        canaries: Canaries = Canaries(),  # noqa: B008 - a value that nobody changes
    ) -> None:
        self._fd = descriptor
        self._raw = None if kind == "tun" else socket.socket(fileno=os.dup(descriptor))
        self._who = who
        self._pcap = pcap
        self._canaries = canaries
        self._found: dict[tuple[object, ...], str] = {}
        self._counts: dict[tuple[object, ...], int] = {}
        self._seen: list[Sighting] = []
        self.uncounted = 0
        """Packets of conversations beyond MAX_SIGHTINGS."""
        if pcap is not None:
            pcap.write(_PCAP_HEAD)

    def sightings(self) -> list[tuple[Sighting, int, str | None]]:
        """Each conversation with the number of its packets and the canary in them, in the order of their first."""
        flows = ((seen, seen.packet.flow) for seen in self._seen)
        return [(seen, self._counts[flow], self._found.get(flow)) for seen, flow in flows]

    def on_readable(self) -> bool:
        """Take what is there; True when there may be more."""
        for _ in range(ROUNDS):
            try:
                raw, way_back = self._read()
            except OSError:
                return False
            if raw:
                self._take(raw, way_back)
        return True

    def close(self) -> None:
        """Give up what is ours; the descriptor belongs to who opened it."""
        if self._raw is not None:
            self._raw.close()

    def _read(self) -> tuple[bytes, bytes]:
        """One packet, and the Ethernet addresses to answer with."""
        if self._raw is None:
            return os.read(self._fd, MAX_PACKET), b""
        frame, about = self._raw.recvfrom(MAX_PACKET)
        if about[2] == socket.PACKET_OUTGOING or len(frame) < _ETHERNET.size:
            return b"", b""
        target, source, _ = _ETHERNET.unpack_from(frame)
        return frame[_ETHERNET.size :], source + target

    def _take(self, raw: bytes, way_back: bytes) -> None:
        at = time.time()
        packet = packets.read(raw)
        if packet is None:
            return
        if self._pcap is not None:
            self._pcap.write(_PCAP_RECORD.pack(int(at), int(at % 1 * 1e6), len(raw), len(raw)) + raw)
        self._count(packet, at)
        if packet.flow in self._counts and (canary := self._canaries.role_in(raw)) is not None:
            self._found.setdefault(packet.flow, canary)
        answer = packets.refusal(raw)
        if answer is not None:
            self._answer(answer, way_back)

    def _count(self, packet: Packet, at: float) -> None:
        if packet.flow in self._counts:
            self._counts[packet.flow] += 1
        elif len(self._seen) >= MAX_SIGHTINGS:
            self.uncounted += 1
        else:
            self._counts[packet.flow] = 1
            process, reason = self._sender(packet)
            self._seen.append(Sighting(at, packet, process, reason))

    def _sender(self, packet: Packet) -> tuple[Process | None, str | None]:
        if packet.transport not in ("tcp", "udp") or not packet.source_port:
            return None, "no_port"
        if len(self._seen) >= MAX_LOOKED_UP:
            return None, BUSY
        client, server = (
            Endpoint(str(packet.source), packet.source_port),
            Endpoint(str(packet.target), packet.target_port),
        )
        transport: Literal["tcp", "udp"] = "tcp" if packet.transport == "tcp" else "udp"
        sighting = self._who(Flow(transport, client, server))
        if sighting.reason == GONE and packet.target.is_multicast:
            # Who listens to a group may have bound the group's address, which is never the one it sends from.
            sighting = self._who(Flow(transport, Endpoint(server.host, client.port), server))
        return sighting.process, sighting.reason

    def _answer(self, answer: bytes, way_back: bytes) -> None:
        with contextlib.suppress(OSError):  # full: the sender has to wait, as in any network
            if self._raw is None:
                os.write(self._fd, answer)
            else:
                self._raw.send(way_back + _IP_TYPES[answer[0] >> 4].to_bytes(2, "big") + answer)
