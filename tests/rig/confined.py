"""Run as a module: tries all that a worker of the shim may not do, from inside of one, and tells what came of it.

The whole of `shim.app.run` is real but for the service and its parts, in the place of which the attempts are made. One
JSON object goes to standard output: what was tried, and "ok" or the name of the error.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import importlib
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rig import roundabout
from shim import app
from shim.config import Flag, load
from shim.guardian import Guardian
from shim.sandbox import restrict_witness

FAST_OPEN = 0x20000000
TCP_FASTOPEN_CONNECT = 30
IPPROTO_MPTCP = 262
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
TIOCSTI = 0x5412
_LIBC = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {
    "x86_64": {"ptrace": 101, "unshare": 272, "setns": 308, "mount": 165, "bpf": 321, "perf": 298, "keyctl": 250,
               "userfaultfd": 323, "kexec": 246, "module": 175, "read_other": 310, "memfd": 319, "swapon": 167,
               "reboot": 169, "sethostname": 170, "shmget": 29, "execveat": 322, "clone": 56, "chroot": 161},
    "aarch64": {"ptrace": 117, "unshare": 97, "setns": 268, "mount": 40, "bpf": 280, "perf": 241, "keyctl": 219,
                "userfaultfd": 282, "kexec": 104, "module": 105, "read_other": 270, "memfd": 279, "swapon": 224,
                "reboot": 142, "sethostname": 161, "shmget": 194, "execveat": 281, "clone": 220, "chroot": 51},
}  # fmt: skip
_COMMON = {"clone3": 435, "io_uring": 425, "pidfd_open": 434, "pidfd_getfd": 438, "open_tree": 428, "fsopen": 430}


def outcome(attempt: Callable[[], object]) -> str:
    """What came of it."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?")
    return "ok"


def call(number: int, *arguments: int) -> None:
    """A system call by its number."""
    if _LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")


def connect(host: str, port: int, family: int = socket.AF_INET, option: tuple[int, int] | None = None) -> None:
    """By TCP."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        if option is not None:
            sock.setsockopt(*option, 1)
        sock.connect((host, port))
        sock.send(b"x")


def fast_open(port: int, *, message: bool) -> None:
    """By TCP, without connect(2)."""
    with socket.socket() as sock:
        if message:
            sock.sendmsg([b"x"], [], FAST_OPEN, ("127.0.0.1", port))
        else:
            sock.sendto(b"x", FAST_OPEN, ("127.0.0.1", port))


def bound(family: int = socket.AF_INET, host: str = "127.0.0.1") -> None:
    """A TCP socket of one's own."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind((host, 0))


def listening() -> None:
    """The same without bind(2): the kernel chooses a port."""
    with socket.socket() as sock:
        sock.listen()


def made(family: int, kind: int, protocol: int = 0) -> None:
    """A socket."""
    socket.socket(family, kind, protocol).close()


def abstract(name: str) -> None:
    """A connection to an abstract unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"\0{name}")


def connected_unix(path: str) -> None:
    """A connection to a unix socket that has a path."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)


def forked() -> None:
    """A child, which would end at once."""
    if os.fork() == 0:
        os._exit(0)


def in_thread() -> None:
    """A thread."""
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def replaced(path: Path) -> None:
    """As the state file is written: beside it, then in its place."""
    beside = path.with_name(".new")
    beside.write_text("x")
    os.replace(beside, path)


def attempts(about: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """All that is tried, by name."""
    free, taken = Path(about["free"]), Path(about["taken"])
    upstream, elsewhere, parent = about["upstream"], about["elsewhere"], os.getppid()
    numbers = _NUMBERS[os.uname().machine] | _COMMON
    flagged = (socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT)
    return {
        "connect to the upstream": lambda: connect("127.0.0.1", upstream),
        "connect elsewhere": lambda: connect("127.0.0.1", elsewhere),
        "connect elsewhere by IPv6": lambda: connect("::1", elsewhere, socket.AF_INET6),
        "connect elsewhere, put off": lambda: connect("127.0.0.1", elsewhere, option=flagged),
        "TCP Fast Open": lambda: fast_open(elsewhere, message=False),
        "TCP Fast Open by sendmsg": lambda: fast_open(elsewhere, message=True),
        "MPTCP": lambda: made(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP),
        "SCTP": lambda: made(socket.AF_INET, socket.SOCK_STREAM, 132),
        "bind": bound,
        "bind by IPv6": lambda: bound(socket.AF_INET6, "::1"),
        "listen": listening,
        "UDP": lambda: made(socket.AF_INET, socket.SOCK_DGRAM),
        "UDP by IPv6": lambda: made(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC),
        "ICMP": lambda: made(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
        "raw": lambda: made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
        "packet": lambda: made(socket.AF_PACKET, socket.SOCK_RAW),
        "netlink": lambda: made(socket.AF_NETLINK, socket.SOCK_RAW),
        "vsock": lambda: made(40, socket.SOCK_STREAM),
        "unix socket with a path": lambda: connected_unix(about["unix"]),
        "abstract unix socket": lambda: abstract(about["abstract"]),
        "signal outside": lambda: os.kill(parent, 0),
        "signal oneself": lambda: os.kill(os.getpid(), 0),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "execveat": lambda: call(numbers["execveat"], -100, 0, 0, 0, 0),
        "fork": forked,
        "thread": in_thread,
        "clone": lambda: call(numbers["clone"], signal.SIGCHLD, 0, 0, 0, 0),
        "clone with a namespace": lambda: call(numbers["clone"], signal.SIGCHLD | CLONE_NEWUSER, 0, 0, 0, 0),
        "clone3": lambda: call(numbers["clone3"], 0, 0),
        "ptrace": lambda: call(numbers["ptrace"], 16, parent, 0, 0),
        "another's memory": lambda: call(numbers["read_other"], parent, 0, 0, 0, 0, 0),
        "another's descriptors": lambda: os.listdir(f"/proc/{parent}/fd") and os.readlink(f"/proc/{parent}/fd/0"),
        "pidfd_open": lambda: call(numbers["pidfd_open"], parent, 0),
        "pidfd_getfd": lambda: call(numbers["pidfd_getfd"], 0, 0, 0),
        "unshare": lambda: call(numbers["unshare"], CLONE_NEWUSER | CLONE_NEWNET),
        "setns": lambda: call(numbers["setns"], 0, 0),
        "mount": lambda: call(numbers["mount"], 0, 0, 0, 0, 0),
        "open_tree": lambda: call(numbers["open_tree"], -1, 0, 0),
        "fsopen": lambda: call(numbers["fsopen"], 0, 0),
        "chroot": lambda: os.chroot("/"),
        "bpf": lambda: call(numbers["bpf"], 0, 0, 0),
        "perf_event_open": lambda: call(numbers["perf"], 0, 0, 0, 0, 0),
        "keyctl": lambda: call(numbers["keyctl"], 0, -3, 0, 0, 0),
        "userfaultfd": lambda: call(numbers["userfaultfd"], 1),
        "io_uring": lambda: call(numbers["io_uring"], 1, 0),
        "kexec_load": lambda: call(numbers["kexec"], 0, 0, 0, 0),
        "init_module": lambda: call(numbers["module"], 0, 0, 0),
        "memfd_create": lambda: call(numbers["memfd"], 0, 0),
        "swapon": lambda: call(numbers["swapon"], 0, 0),
        "sethostname": lambda: call(numbers["sethostname"], 0, 0),
        "shmget": lambda: call(numbers["shmget"], 0, 4096, 0o1600),
        "a call that came later": lambda: call(100_000),
        "a call of x32": lambda: call(0x40000000 | 39),
        "type into the terminal": lambda: fcntl.ioctl(2, TIOCSTI, b"x"),
        "read": lambda: (taken / "file").read_bytes(),
        "import": lambda: importlib.import_module("colorsys"),
        "write": lambda: (taken / "file").write_text("x"),
        "append": lambda: (taken / "file").open("a"),
        "truncate": lambda: os.truncate(taken / "file", 0),
        "make a file": lambda: (taken / "new").touch(),
        "remove": lambda: (taken / "file").unlink(),
        "rename": lambda: os.rename(taken / "file", taken / "other"),
        "make a folder": lambda: (taken / "folder").mkdir(),
        "make a link": lambda: os.symlink("/", taken / "link"),
        "make a hard link": lambda: os.link(taken / "file", taken / "link"),
        "make a fifo": lambda: os.mkfifo(taken / "fifo"),
        "remove one's own socket": lambda: Path(about["listener"]).unlink(),
        "write the state": lambda: replaced(free / "state"),
        "run a state": lambda: os.execv(free / "state", ["state"]),
        "link into the state's folder": lambda: os.symlink("/", free / "link"),
        "write to what was open": lambda: os.write(2, b""),
        "gain capabilities": lambda: call({"x86_64": 126, "aarch64": 91}[os.uname().machine], *capabilities()),
    } | roundabout.attempts(about)


_KEPT: list[object] = []


def capabilities() -> tuple[int, int]:
    """The arguments of capset(2) that ask for them all."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", *[0xFFFFFFFF] * 6))
    _KEPT.extend((header, sets))
    return ctypes.addressof(header), ctypes.addressof(sets)


def status() -> dict[str, str]:
    """What the kernel says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


class Prober:
    """In the place of the service."""

    about: dict[str, Any] = {}  # noqa: RUF012 - one of it, set before it is used

    def __init__(self, *_: object, sandbox: tuple[str, ...], **__: object) -> None:
        self.sandbox = sandbox

    async def run(self, _socks: object, _http: object, dns: list[roundabout.Pair], _child: object) -> int:
        """Try it all."""
        await asyncio.sleep(0)
        if self.about.get("leave"):
            print(roundabout.leave(dns), flush=True)
            return 0
        only = self.about.get("only")
        found = {
            name: outcome(attempt) for name, attempt in attempts(self.about).items() if only is None or name in only
        }
        core = resource.getrlimit(resource.RLIMIT_CORE)
        print(json.dumps({"sandbox": self.sandbox, "found": found, "status": status(), "core": core}), flush=True)
        return 0


def sent(host: str, port: int) -> None:
    """A datagram to somebody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (host, port))


def answered() -> None:
    """What the process that looks up programs needs of sockets: its own, and to see which addresses are of here."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        ours.sendall(b"x")
        theirs.recv(1)


def look_around(about: dict[str, Any]) -> None:
    """The same from inside of the process that looks up programs."""
    restrict_witness()
    tried = attempts(about) | {"UDP to somebody": lambda: sent("127.0.0.1", 9), "answer": answered}
    print(json.dumps({"found": {name: outcome(attempt) for name, attempt in tried.items()}, "status": status()}))


def call_by_another_architecture() -> None:
    """getpid(2) by the interrupt of 32-bit programs."""
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    code = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    print(code() > 0, flush=True)


def main() -> None:
    """Words: what to try it with as JSON, then options of the configuration as KEY=JSON."""
    Prober.about = json.loads(sys.argv[1])
    if sys.argv[2:] == ["witness"]:
        look_around(Prober.about)
        return
    if sys.argv[2:] == ["architecture"]:
        if Prober.about:
            restrict_witness()
        call_by_another_architecture()
        return
    app.Parts = lambda *_: None  # type: ignore[assignment,misc]
    app.Service = Prober  # type: ignore[assignment,misc]
    pairs = [word.partition("=") for word in sys.argv[2:]]
    with Guardian.fork(1) as guardian:
        sys.exit(app.run(load(None, [Flag("--flag", key, json.loads(text)) for key, _, text in pairs]), guardian))


if __name__ == "__main__":
    main()
