"""Ways round the sandbox that use no call which is made for it: what belongs to other processes, and sockets that are
there already.

Harms only what it is given: the process, the memory and the file named in `about`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Attempts = dict[str, Callable[[], object]]
Pair = tuple[socket.socket, socket.socket]

FS_IOC_SETFLAGS, TIOCSETD = 0x40086602, 0x5423
IP_PKTINFO, IP_UNICAST_IF, IP_OPTIONS = 8, 50, 4
IPV6_UNICAST_IF = 76
OUTSIDE, OUTSIDE_6 = ("192.0.2.99", 53), ("2001:db8:ffff::99", 53)
_LIBC = ctypes.CDLL(None, use_errno=True)
_NICE = 1
_FAILED = ctypes.c_void_p(-1).value


def attempts(about: dict[str, Any]) -> Attempts:
    """All that is tried, by name."""
    file, other = Path(about["taken"]) / "file", about["other"]
    return {
        "change who may read a file": lambda: file.chmod(0o644),
        "the same of one that is open": lambda: _with(file, lambda number: os.fchmod(number, 0o644)),
        "change whose a file is": lambda: os.chown(file, os.getuid(), os.getgid()),
        "change a file's times": lambda: os.utime(file, (1, 1)),
        "change a file's attributes": lambda: os.setxattr(file, "user.x", b"1"),
        "change a file's flags": lambda: _with(file, lambda number: fcntl.ioctl(number, FS_IOC_SETFLAGS, bytes(8))),
        "another's shared memory": lambda: _written(about["memory"]),
        "remove another's shared memory": lambda: _called(_LIBC.shmctl(about["memory"], 0, None)),
        "another's limits": lambda: resource.prlimit(other, resource.RLIMIT_CORE, (0, 0)),
        "one's own limits": lambda: resource.prlimit(0, resource.RLIMIT_CORE, (0, 0)),
        "another's priority": lambda: os.setpriority(os.PRIO_PROCESS, other, _NICE),
        "another's processors": lambda: os.sched_setaffinity(other, os.sched_getaffinity(0)),
        "another's scheduling": lambda: os.sched_setscheduler(other, os.SCHED_BATCH, os.sched_param(0)),
        "a datagram to a path": lambda: _datagram(about["datagram"]),
        "a socket at a path": lambda: _bound(f"{about['taken']}/socket"),
        "an abstract socket": lambda: _bound(f"\0{about['abstract']}-2"),
        "a pair of other sockets": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
        "a pair of sockets": socket.socketpair,
        "control messages": _descriptor_sent,
        "change how a terminal reads": lambda: fcntl.ioctl(2, TIOCSETD, struct.pack("i", 0)),
    }


def ways_out(udp: socket.socket) -> Iterator[Callable[[], object]]:
    """All that could have a datagram leave by a socket that is bound to loopback; the last change it for good."""
    wan = _index("wan")
    if udp.family == socket.AF_INET6:
        yield from _ways_out_6(udp, wan)
        return
    source = socket.inet_aton("198.18.0.2")
    yield lambda: udp.sendto(b"x", OUTSIDE)
    for index, by in ((0, source), (wan, source), (wan, bytes(4))):
        info = struct.pack("=I4s4s", index, by, bytes(4))
        yield lambda info=info: udp.sendmsg([b"x"], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, OUTSIDE)
    multicast = struct.pack("=4s4si", bytes(4), source, wan)
    yield lambda: udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, multicast)
    yield lambda: udp.sendto(b"x", ("224.0.0.251", 5353))
    yield lambda: udp.setsockopt(socket.IPPROTO_IP, IP_UNICAST_IF, struct.pack("!I", wan))
    yield lambda: udp.sendto(b"x", OUTSIDE)
    yield lambda: udp.setsockopt(socket.IPPROTO_IP, IP_OPTIONS, b"\x83\7\4" + socket.inet_aton(OUTSIDE[0]) + b"\0")
    yield from _last_ways_out(udp, OUTSIDE)


def _ways_out_6(udp: socket.socket, wan: int) -> Iterator[Callable[[], object]]:
    info = socket.inet_pton(socket.AF_INET6, "2001:db8:ffff::2") + struct.pack("=I", wan)
    yield lambda: udp.sendto(b"x", OUTSIDE_6)
    yield lambda: udp.sendto(b"x", ("fe80::99", 53, 0, wan))
    yield lambda: udp.sendto(b"x", ("ff02::99", 53, 0, wan))
    yield lambda: udp.sendmsg([b"x"], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)], 0, OUTSIDE_6)
    yield lambda: udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, wan)
    yield lambda: udp.sendto(b"x", ("ff02::fb", 5353))
    yield lambda: udp.setsockopt(socket.IPPROTO_IPV6, IPV6_UNICAST_IF, struct.pack("!I", wan))
    yield lambda: udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    yield lambda: udp.sendto(b"x", (f"::ffff:{OUTSIDE[0]}", 53))
    yield lambda: udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)
    yield from _last_ways_out(udp, OUTSIDE_6)


def _last_ways_out(udp: socket.socket, outside: tuple[str, int]) -> Iterator[Callable[[], object]]:
    yield lambda: udp.sendto(b"x", outside)
    yield lambda: udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"wan\0")
    yield lambda: udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"\0")
    yield lambda: udp.sendto(b"x", outside)
    yield lambda: udp.connect(outside)
    yield lambda: udp.send(b"x")


def leave(pairs: list[Pair]) -> int:
    """Try them all, by the sensor's own sockets; how many there were."""
    tried = 0
    for udp, _ in pairs:
        for way in ways_out(udp):
            tried += 1
            with contextlib.suppress(OSError):
                way()
    return tried


def _index(device: str) -> int:
    """Its number; if_nametoindex(3) makes a socket to ask, which is refused."""
    lines = map(str.split, Path("/proc/self/net/if_inet6").read_text().splitlines())
    return next(int(index, 16) for _, index, *_, name in lines if name == device)


def _with(file: Path, use: Callable[[int], object]) -> None:
    """Use a file that is open for reading."""
    number = os.open(file, os.O_RDONLY)
    try:
        use(number)
    finally:
        os.close(number)


def _called(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def _written(memory: int) -> None:
    _LIBC.shmat.restype = ctypes.c_void_p
    place = _LIBC.shmat(memory, None, 0)
    if place == _FAILED:
        raise OSError(ctypes.get_errno(), "")
    ctypes.memmove(place, b"x", 1)


def _bound(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)


def _datagram(path: str) -> None:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, two:
        one.sendto(b"x", path)


def _descriptor_sent() -> None:
    one, two = socket.socketpair()
    with one, two:
        socket.send_fds(one, [b"x"], [2])
