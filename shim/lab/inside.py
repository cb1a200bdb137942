"""The process inside the namespace: makes the network, hands it out, starts the program, says who holds a socket.

Judges nothing, and serves none of the sockets that it makes. It ends when the other end of its channel is closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time
from ipaddress import IPv4Interface, IPv6Interface
from itertools import chain
from typing import Final

from shim.address import Address
from shim.errors import ListenError
from shim.lab.isolation import IsolationError, blame, enter, overlay
from shim.lab.namespace import HTTP_PORT, MAX_MESSAGE, SOCKS_HOST, SOCKS_PORTS, Message, Setup, as_keys
from shim.lab.netlink import RouteSocket
from shim.proxy.listener import bind
from shim.sensor.sockets import bind_both
from shim.witness.clues import Endpoint, Flow
from shim.witness.looking import OFF, TIMEOUT, Sighting
from shim.witness.proc import Proc
from shim.witness.witness import Witness

INTERFACE: Final = "eth0"
"""What the way out is called: programs may look for one that they know."""
FAR_END: Final = "trap0"
ADDRESS4 = IPv4Interface("10.77.0.2/24")
ADDRESS6 = IPv6Interface("2001:db8:77::2/64")

DNS_HOSTS: Final = ("127.0.0.1", "127.0.0.53", "::1")
"""Where a resolver is looked for: in general, where systemd-resolved has its own, and by IPv6."""

LOOK_S = 0.05
SEARCH_S = 0.2
KILL_ROUNDS = 40

_TUN_SET: Final = 0x400454CA
_TUN_PLAIN: Final = 0x1001  # IFF_TUN without a header of its own before each packet
_SUBREAPER, _DEATH_SIGNAL = 36, 1
_EVERY_PROTOCOL: Final = 0x0003


def run(channel: socket.socket, setup: Setup) -> None:
    """All of it. IsolationError before anything has been handed out."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # the other end decides when we end
    user_namespace = enter()
    hidden = overlay(setup.folder, setup.hidden)
    kind, trap = _open_trap()
    families = _connect_to_nowhere()
    socks = [bind(Address(SOCKS_HOST, port)) for port in SOCKS_PORTS]
    http = bind(Address(SOCKS_HOST, HTTP_PORT))
    dns: list[socket.socket] = []
    for host in DNS_HOSTS:
        with contextlib.suppress(ListenError):
            dns += bind_both(Address(host, 53))
    if not dns:
        raise IsolationError("dns", "bind")
    about = {"user_namespace": user_namespace, "hidden": hidden, "trap": kind, "families": families}
    sockets = [*socks, http, *dns]
    socket.send_fds(channel, [json.dumps(about).encode()], [trap, *(sock.fileno() for sock in sockets)])
    for sock in sockets:
        sock.close()
    os.close(trap)
    Inside(channel, setup).run()


def _open_trap() -> tuple[str, int]:
    """The interface that everything leaves by, and the descriptor where it comes out."""
    try:
        trap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(trap, _TUN_SET, struct.pack("16sH22x", INTERFACE.encode(), _TUN_PLAIN))
    except OSError:
        return "veth", _open_pair()
    return "tun", trap


def _open_pair() -> int:
    """A pair of interfaces, and a raw socket at the far end. Needs no device file."""
    try:
        with RouteSocket() as route:
            route.veth(INTERFACE, FAR_END)
            route.up(FAR_END, arp=False)
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_EVERY_PROTOCOL))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        raw.bind((FAR_END, _EVERY_PROTOCOL))
    except OSError as error:
        raise IsolationError("trap", blame(error.errno or 0)) from None
    return raw.detach()


def _connect_to_nowhere() -> list[int]:
    """Addresses and default routes; the IP versions that have them."""
    families: list[int] = []
    with RouteSocket() as route:
        route.up(INTERFACE, arp=False)
        for family, interface in ((socket.AF_INET, ADDRESS4), (socket.AF_INET6, ADDRESS6)):
            try:
                route.address(INTERFACE, interface)
                route.default_route(INTERFACE, family)
            except OSError as error:
                if interface.version == 4:
                    raise IsolationError("routes", blame(error.errno or 0)) from None
                continue  # a kernel without IPv6: then nothing can leave by it
            families.append(interface.version)
    return families


class Inside:
    """From the first order to the last process."""

    def __init__(self, channel: socket.socket, setup: Setup) -> None:
        self._channel = channel
        self._setup = setup
        self._proc = Proc()
        self._witness: Witness | None = None
        self._program: subprocess.Popen[bytes] | None = None
        self._ended = False
        with contextlib.suppress(OSError, AttributeError):
            self._witness = Witness()
        # Whatever the program leaves behind becomes a child of ours.
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)

    def run(self) -> None:
        """Obey until the channel is closed; then end whatever still runs."""
        try:
            while True:
                ready, _, _ = select.select([self._channel], [], [], None if self._program is None else LOOK_S)
                if ready:
                    data = self._channel.recv(MAX_MESSAGE)
                    if not data:
                        break
                    self._obey(json.loads(data))
                self._reap()
        finally:
            self._kill_all()

    def _say(self, message: Message) -> None:
        self._channel.send(json.dumps(message).encode())

    def _obey(self, order: Message) -> None:
        match order["do"]:
            case "start":
                self._start()
            case "signal":
                self._signal(order["signal"])
            case "who":
                self._say({"say": "who", "id": order["id"], **self._who(order)})

    def _start(self) -> None:
        setup = self._setup
        try:
            self._program = subprocess.Popen(  # noqa: S603 - to run what the user names is what this is for
                setup.argv,
                env=dict(setup.env),
                stdout=None if setup.own_stdout else 2,
                preexec_fn=_end_with_us,
            )
        except OSError as error:
            self._say({"say": "failed", "errno": error.errno})
            return
        except ValueError:  # a NUL in an argument
            self._say({"say": "failed", "errno": errno.EINVAL})
            return
        self._say({"say": "started", "pid": self._program.pid})

    def _reap(self) -> None:
        """Tell of the program's end, and of the moment when none is left of those it started."""
        if self._program is None:
            return
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._program.pid:
                    code = os.waitstatus_to_exitcode(status)
                    self._program.returncode = code
                    self._ended = True
                    self._say({"say": "ended", "status": code})
        if self._ended:
            self._ended = False
            self._say({"say": "alone"})

    def _who(self, order: Message) -> Message:
        sighting = self._look(order)
        return {"process": as_keys(sighting.process), "reason": sighting.reason, "uid": sighting.uid}

    def _look(self, order: Message) -> Sighting:
        if self._witness is None:
            return Sighting(None, OFF)
        flow = Flow(order["transport"], Endpoint(*order["client"]), Endpoint(*order["server"]), order["query"])
        found = self._witness.glance(flow)
        if isinstance(found, Sighting):
            return found
        until = time.monotonic() + SEARCH_S
        for hit in chain(self._witness.skim([found]), self._witness.search([found], until)):
            if hit is not None:
                return hit.sighting
        return Sighting(None, TIMEOUT)

    def _descendants(self) -> list[int]:
        """Below us, the nearest first."""
        children: dict[int, list[int]] = {}
        for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
            if (stat := self._proc.stat(pid)) is not None:
                children.setdefault(stat.parent, []).append(pid)
        found = list(children.get(os.getpid(), ()))
        for pid in found:  # grows while it is walked
            found += children.get(pid, ())
        return found

    def _signal(self, signum: int) -> None:
        for pid in self._descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signum)

    def _kill_all(self) -> None:
        for _ in range(KILL_ROUNDS):
            self._signal(signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(LOOK_S)


def _end_with_us() -> None:
    """Between fork and exec: signals as they were, and no life without us."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
