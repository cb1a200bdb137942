"""A namespace with a way out that leads nowhere, and a record of every packet that takes it.

Says nothing of who has sent a packet: whoever runs inside must send none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rig.namespace import Namespace
from rig.shim import ROOT

IN_TESTS = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
CANARY = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('192.0.2.53', 53))"

_WAN = """
ip link add wan type veth peer name beyond &&
ip link set wan addrgenmode none arp off && ip link set beyond addrgenmode none arp off &&
ip link set wan up && ip link set beyond up &&
ip address add 198.18.0.2/30 dev wan && ip -6 address add 2001:db8:ffff::2/64 dev wan nodad &&
ip route add default via 198.18.0.1 dev wan && ip -6 route add default dev wan
"""


@contextmanager
def border(folder: Path, hosts: Mapping[str, str], resolver: str) -> Iterator[Namespace]:
    """A namespace whose default routes lead to the device `wan`, behind which nobody is."""
    with Namespace(folder, hosts, resolver) as space:
        made = space.run(["sh", "-c", _WAN])
        assert made.returncode == 0, made.stderr
        yield space


@contextmanager
def leaving(space: Namespace) -> Iterator[list[str]]:
    """What has left by `wan`, PROTOCOL SOURCE SPORT DESTINATION DPORT, once the context ends.

    A packet that is sent on purpose at the end shows that one would have been seen.
    """
    gone: list[str] = []
    with sniffing(space, "wan") as packets:
        yield gone
        space.run([sys.executable, "-c", CANARY])
    seen = [packet for packet in packets if not packet.startswith("ip-0 ")]  # the kernel's multicast reports
    canary = [packet for packet in seen if packet.split()[3:] == ["192.0.2.53", "53"]]
    assert canary, "a packet that leaves would have been seen"
    gone += [packet for packet in seen if packet not in canary]


@contextmanager
def sniffing(space: Namespace, device: str = "lo") -> Iterator[list[str]]:
    """All kinds of packets of a device of the namespace, complete once the context ends."""
    packets: list[str] = []
    argv = [*space.prefix, sys.executable, "-m", "rig.sniff", device]
    with subprocess.Popen(argv, env=IN_TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sniffer:
        assert sniffer.stdout and sniffer.stdout.readline() == "ready\n"
        try:
            yield packets
        finally:
            packets += sniffer.communicate("", timeout=10)[0].splitlines()
