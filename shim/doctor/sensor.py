"""Whether the sensor answers where it should, and whether the system's resolver reaches it.

Asks the sensor, and the system's resolver only when told to: where that is not the sensor, the question leaves the
machine.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address

from shim.address import Address
from shim.doctor.question import TYPE_A, TYPE_NS, Reply, question, read_reply
from shim.doctor.remark import Remark, Status

ASK_TIMEOUT_S = 2.0
SYSTEM_TIMEOUT_S = 15.0
"""glibc asks three servers twice, and waits five seconds each time: half of that is answer enough."""

_ISSUED_TTL_S = 1
"""What tells an issued address from one that Tor found, which lives for a minute."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LABEL_LENGTH = 14
_UDP_BYTES = 4096


def look(sensor: Address) -> Iterator[Remark]:
    """Whether a sensor answers there. Asked for the root's servers: that names nothing, and no sensor knows them."""
    replies = {transport: _ask(sensor, "", TYPE_NS, transport) for transport in ("udp", "tcp")}
    about = (("address", str(sensor)),)
    if all(reply is None for reply in replies.values()):
        yield Remark("sensor_silent", Status.UNKNOWN, about, "start")
    elif any(reply is not None and reply.answers for reply in replies.values()):
        yield Remark("sensor_is_another", Status.LEAK, about, "start")
    elif missing := [transport.upper() for transport, reply in replies.items() if reply is None]:
        yield Remark("sensor_half", Status.UNKNOWN, (*about, ("transport", missing[0])))
    else:
        yield Remark("sensor_answers", Status.OK, about)


def canary(sensor: Address, zone: str) -> Remark:
    """Look a new name below `zone` up as programs do, then ask the sensor: did the answer come from there?

    Only an issued address proves it. For any other answer nobody can tell whose it was.
    """
    name = f"{''.join(secrets.choice(_LETTERS) for _ in range(_LABEL_LENGTH))}.{zone}"
    about = (("name", name),)
    system = _ask_system(name)
    reply = _ask(sensor, name, TYPE_A, "udp")
    ttls = dict(reply.addresses) if reply else {}
    issued = _ISSUED_TTL_S in ttls.values()
    if isinstance(system, IPv4Address) and ttls.get(system) == _ISSUED_TTL_S:
        return Remark("canary_reached", Status.OK, about)
    if (isinstance(system, IPv4Address) and system not in ttls) or (system == socket.EAI_NONAME and issued):
        return Remark("canary_elsewhere", Status.LEAK, about, "sensor")
    if issued:
        return Remark("canary_unanswered", Status.UNKNOWN, about, "sensor")
    return Remark("canary_needs_issue", Status.UNKNOWN, about, "issue")


def _ask(server: Address, name: str, qtype: int, transport: str) -> Reply | None:
    asked = question(secrets.randbits(16), name, qtype)
    with contextlib.suppress(OSError):
        kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET, kind) as sock:
            sock.settimeout(ASK_TIMEOUT_S)
            sock.connect((server.host, server.port))
            return read_reply(asked, _by_tcp(sock, asked) if transport == "tcp" else _by_udp(sock, asked))
    return None


def _by_udp(sock: socket.socket, asked: bytes) -> bytes:
    sock.send(asked)
    return sock.recv(_UDP_BYTES)


def _by_tcp(sock: socket.socket, asked: bytes) -> bytes:
    sock.sendall(len(asked).to_bytes(2) + asked)
    with sock.makefile("rb") as stream:
        return stream.read(int.from_bytes(stream.read(2)))


def _ask_system(name: str) -> IPv4Address | int | None:
    """What programs are told: an address, an error of getaddrinfo's, or None when that takes too long."""
    found: list[IPv4Address | int] = []

    def ask() -> None:
        try:
            # The one name that is ever looked up, because it stands for nothing and the user has asked for it.
            infos = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)  # noqa: TID251
            found.append(IPv4Address(infos[0][4][0]))
        except socket.gaierror as error:
            found.append(error.errno or 0)

    thread = threading.Thread(target=ask, daemon=True)  # it cannot be interrupted
    thread.start()
    thread.join(SYSTEM_TIMEOUT_S)
    return found[0] if found else None
