"""A program of its own, `python -m rig.sniff [DEVICE]`: prints each packet on `lo`, or another device of its network
namespace, once a kind.

Runs until its standard input ends. Needs CAP_NET_RAW, which root of a user namespace has.
"""

from __future__ import annotations

import select
import socket
import struct
import sys

ETH_P_IP, ETH_P_IPV6, ETH_P_ALL = 0x0800, 0x86DD, 0x0003
PORTS = {6: "tcp", 17: "udp"}


def described(protocol: int, packet: bytes) -> str:
    """PROTOCOL SOURCE SPORT DESTINATION DPORT."""
    if protocol == ETH_P_IP:
        kind, start = packet[9], (packet[0] & 15) * 4
        ends = [socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])]
    elif protocol == ETH_P_IPV6:
        kind, start = packet[6], 40
        ends = [socket.inet_ntop(socket.AF_INET6, packet[i : i + 16]) for i in (8, 24)]
    else:
        return f"ethertype-{protocol:04x} - 0 - 0"
    ports = struct.unpack_from(">HH", packet, start) if kind in PORTS else (0, 0)
    return f"{PORTS.get(kind, f'ip-{kind}')} {ends[0]} {ports[0]} {ends[1]} {ports[1]}"


def main() -> None:
    """Say `ready`, then every new kind of packet, until told to end; what is still queued then is said as well."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as sniffer:
        sniffer.bind((sys.argv[1] if len(sys.argv) > 1 else "lo", 0))
        print("ready", flush=True)
        seen, ended = set(), False
        while not ended or select.select([sniffer], [], [], 0)[0]:
            readable = select.select([sniffer, sys.stdin], [], [])[0]
            if sniffer in readable:
                packet, origin = sniffer.recvfrom(65535)
                text = described(origin[1], packet)
                if text not in seen:
                    seen.add(text)
                    print(text, flush=True)
            elif sys.stdin in readable:
                ended = True


if __name__ == "__main__":
    main()
