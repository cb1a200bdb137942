"""The sandbox from inside: each thing that a worker may not do is tried by one, and what it needs still works."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rig.programs import missing
from rig.shim import ROOT, environment

from shim.sandbox import PARTS, landlock, offered
from shim.sandbox.filters import WITNESS, worker
from shim.sandbox.privileges import DAC_READ_SEARCH, SYS_PTRACE
from shim.sandbox.seccomp import ALLOW, Filter, assemble, fail
from shim.sandbox.syscalls import ARCHITECTURES, HIGHEST, NUMBERS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is of Linux")

TESTS = Path(__file__).parent
WORKER, SENSOR = worker(unix=False, listens=False), worker(unix=True, listens=True)
NO, NO_SOCKET, NOT_THERE = "EPERM", "EACCES", "ENOSYS"
EXPECTED = {
    "connect to the upstream": "ok",
    **dict.fromkeys(("connect elsewhere", "connect elsewhere by IPv6", "connect elsewhere, put off"), NO_SOCKET),
    **dict.fromkeys(("TCP Fast Open", "TCP Fast Open by sendmsg", "bind", "bind by IPv6", "listen"), NO),
    **dict.fromkeys(("MPTCP", "SCTP", "UDP", "UDP by IPv6", "ICMP", "raw", "packet", "netlink", "vsock"), NO_SOCKET),
    **dict.fromkeys(("unix socket with a path", "abstract unix socket", "a datagram to a path"), NO_SOCKET),
    "signal outside": NO,
    **dict.fromkeys(("signal oneself", "thread"), "ok"),
    **dict.fromkeys(("exec", "execveat", "fork", "clone", "clone with a namespace", "run a state"), NO),
    "clone3": NOT_THERE,  # then the C library makes its threads by clone
    **dict.fromkeys(("ptrace", "another's memory", "pidfd_open", "pidfd_getfd"), NO),
    "another's descriptors": NO_SOCKET,
    **dict.fromkeys(("unshare", "setns", "mount", "open_tree", "fsopen", "chroot"), NO),
    **dict.fromkeys(("bpf", "perf_event_open", "keyctl", "userfaultfd", "kexec_load", "init_module"), NO),
    **dict.fromkeys(("memfd_create", "swapon", "sethostname", "shmget", "type into the terminal"), NO),
    **dict.fromkeys(("io_uring", "a call that came later", "a call of x32"), NOT_THERE),
    **dict.fromkeys(("read", "import", "write the state", "write to what was open"), "ok"),
    **dict.fromkeys(("write", "append", "truncate", "make a file", "remove", "rename", "make a folder"), NO_SOCKET),
    **dict.fromkeys(("make a link", "make a hard link", "make a fifo", "link into the state's folder"), NO_SOCKET),
    "remove one's own socket": NO_SOCKET,  # the guardian does that
    "gain capabilities": NO,
    **dict.fromkeys(("change who may read a file", "the same of one that is open", "change whose a file is"), NO),
    **dict.fromkeys(("change a file's times", "change a file's attributes", "change a file's flags"), NO),
    **dict.fromkeys(("another's shared memory", "remove another's shared memory", "another's limits"), NO),
    **dict.fromkeys(("another's priority", "another's processors", "another's scheduling"), NO),
    **dict.fromkeys(("control messages", "change how a terminal reads"), NO),
    **dict.fromkeys(("a pair of other sockets", "a socket at a path", "an abstract socket"), NO_SOCKET),
    **dict.fromkeys(("one's own limits", "a pair of sockets"), "ok"),
}
HARMLESS = (
    *("connect elsewhere", "connect elsewhere, put off", "TCP Fast Open", "TCP Fast Open by sendmsg", "bind", "listen"),
    *("UDP", "netlink", "abstract unix socket", "signal outside", "fork", "thread"),
    *("write", "append", "make a file", "make a folder", "make a fifo", "link into the state's folder"),
    *("another's descriptors", "remove one's own socket", "unix socket with a path", "a datagram to a path"),
    *("change who may read a file", "the same of one that is open", "change whose a file is", "change a file's times"),
    *("another's shared memory", "another's limits", "another's priority", "another's processors"),
    *("another's scheduling", "a pair of other sockets", "control messages", "a socket at a path"),
    "an abstract socket",
)
"""What any machine permits, and what does no harm to the test when it is permitted."""


def require_all() -> None:
    """Skips the test where the kernel cannot give every part."""
    lacking = [part for part, had in offered().items() if not had]
    if lacking:
        missing(f"needs all of the sandbox: {', '.join(lacking)}")


@contextmanager
def somebody() -> Iterator[tuple[int, int]]:
    """Another process of this user, and shared memory that is not the shim's: their numbers."""
    libc = ctypes.CDLL(None)
    memory = libc.shmget(0, mmap.PAGESIZE, 0o1600)
    try:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            yield other.pid, memory
            other.communicate(b"\n")
    finally:
        libc.shmctl(memory, 0, None)


@pytest.fixture
def about(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What there is to be tried with."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("x")
    (tmp_path / "free").mkdir()
    (tmp_path / "free" / "state").touch(mode=0o755)
    abstract = f"shim-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as upstream,
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as nameless,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
        somebody() as (other, memory),
    ):
        named.bind(str(tmp_path / "named"))
        datagram.bind(str(tmp_path / "datagram"))
        nameless.bind(f"\0{abstract}")
        for sock in (named, nameless):
            sock.listen()
        yield {
            "upstream": upstream.getsockname()[1],
            "elsewhere": elsewhere.getsockname()[1],
            "unix": str(tmp_path / "named"),
            "abstract": abstract,
            "datagram": str(tmp_path / "datagram"),
            "other": other,
            "memory": memory,
            "listener": str(tmp_path / "listener"),
            "taken": str(tmp_path / "taken"),
            "free": str(tmp_path / "free"),
        }


def confined(about: dict[str, Any], mode: str, *more: str) -> dict[str, Any]:
    """What came of all attempts."""
    settings = {
        "sandbox.mode": mode,
        "listen.socks": [f"unix:{about['listener']}"],
        "upstream.address": f"127.0.0.1:{about['upstream']}",
        "dns.state": f"{about['free']}/state",
    }
    words = [json.dumps(about), *(f"{key}={json.dumps(value)}" for key, value in settings.items()), *more]
    done = inside(*words)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def inside(*words: str) -> subprocess.CompletedProcess[str]:
    """A process that tries things out."""
    return subprocess.run(
        [sys.executable, "-m", "rig.confined", *words],
        cwd=ROOT,
        env=environment() | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(TESTS)))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_a_worker_may_not_do_is_refused_and_what_it_needs_works(about: dict[str, Any]) -> None:
    require_all()
    said = confined(about, "require")
    assert said["found"] == EXPECTED
    assert [part.partition(":")[0] for part in said["sandbox"]] == list(PARTS)
    status = said["status"]
    assert {status[f"Cap{each}"] for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16} or os.geteuid()
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapAmb"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert said["core"] == [0, 0]
    assert not Path(about["listener"]).exists(), "the guardian has removed it"
    assert (Path(about["taken"]) / "file").read_text() == "x"


def test_without_the_sandbox_they_are_not(about: dict[str, Any]) -> None:
    """Else the test above would prove nothing: only what this machine refuses anyway may be refused here."""
    said = confined({**about, "only": HARMLESS}, "off")
    assert said["sandbox"] == []
    assert said["found"] == dict.fromkeys(HARMLESS, "ok")
    assert said["status"]["Seccomp"] == "0"


def test_a_sensor_may_listen_and_nothing_more(about: dict[str, Any]) -> None:
    require_all()
    found = confined(about, "auto", 'listen.dns=["127.0.0.1:0"]')["found"]
    assert {name: found[name] for name in found if found[name] != EXPECTED[name]} == {"listen": "ok"}


def test_an_upstream_with_a_path_needs_paths_and_nothing_more(about: dict[str, Any]) -> None:
    """Landlock does not limit these, as the documentation says."""
    require_all()
    found = confined(about, "require", f'upstream.address="unix:{about["unix"]}"')["found"]
    differs = {name: found[name] for name in found if found[name] != EXPECTED[name]}
    assert differs == {
        "unix socket with a path": "ok",
        **dict.fromkeys(("abstract unix socket", "a socket at a path", "an abstract socket"), NO),
        "connect to the upstream": NO_SOCKET,
    }


def test_who_looks_up_programs_can_look_and_do_nothing(about: dict[str, Any]) -> None:
    require_all()
    done = inside(json.dumps(about), "witness")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    differs = {
        **dict.fromkeys(("another's descriptors", "answer", "UDP", "UDP by IPv6"), "ok"),
        **dict.fromkeys(("connect to the upstream", "connect elsewhere", "TCP Fast Open", "bind", "listen"), NO_SOCKET),
        **dict.fromkeys(("connect elsewhere by IPv6", "connect elsewhere, put off", "bind by IPv6"), NO_SOCKET),
        "TCP Fast Open by sendmsg": NO_SOCKET,
        **dict.fromkeys(("signal outside", "signal oneself"), NO),
        "UDP to somebody": NO,
        **dict.fromkeys(("write", "append", "truncate", "make a file", "remove", "rename", "make a folder"), NO),
        **dict.fromkeys(("make a link", "make a hard link", "make a fifo", "link into the state's folder"), NO),
        **dict.fromkeys(("write the state", "remove one's own socket"), NO),
    }
    assert said["found"] == EXPECTED | differs
    assert (said["status"]["NoNewPrivs"], said["status"]["Seccomp"]) == ("1", "2")
    assert int(said["status"]["CapEff"], 16) in (0, 1 << SYS_PTRACE | 1 << DAC_READ_SEARCH)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86-64 has a second architecture")
def test_a_call_of_another_architecture_ends_the_process() -> None:
    require_all()
    if inside("0", "architecture").stdout != "True\n":
        pytest.skip("this kernel runs no 32-bit programs")
    done = inside("1", "architecture")
    assert (done.returncode, done.stdout) == (-signal.SIGSYS, "")


# --- the program for the kernel ---------------------------------------------------------------------------------------


def run_filter(wanted: Filter, machine: str, call: str | int, *arguments: int) -> int:
    """What the kernel would make of a call: the program run by hand."""
    here = ARCHITECTURES[machine]
    number = call if isinstance(call, int) else NUMBERS[call][here.column]
    assert number is not None
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, here.audit, 0, *(each & (1 << 64) - 1 for each in given))
    program, at, value = assemble(wanted, here), 0, 0
    while True:
        code, yes, no, operand = program[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == 0x54:
            value &= operand
        elif code == 0x15:
            at += yes if value == operand else no
        elif code == 0x25:
            at += yes if value > operand else no
        else:
            assert code == 0x06
            return operand


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("wanted", [WORKER, SENSOR, WITNESS], ids=["worker", "sensor", "witness"])
def test_the_program_says_what_the_filter_says(wanted: Filter, machine: str) -> None:
    column = ARCHITECTURES[machine].column
    for name, numbers in NUMBERS.items():
        if numbers[column] is not None and name not in wanted.by_argument:
            assert run_filter(wanted, machine, name) == wanted.by_number.get(name, ALLOW), name
    assert len(assemble(wanted, ARCHITECTURES[machine])) <= 4096  # BPF_MAXINSNS
    assert run_filter(wanted, machine, HIGHEST) == ALLOW
    assert run_filter(wanted, machine, HIGHEST + 1) == run_filter(wanted, machine, 0x40000000) == fail(errno.ENOSYS)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_arguments_decide(machine: str) -> None:
    inet, inet6, unix, stream = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.SOCK_STREAM
    flagged = stream | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    for allowed in ((inet, flagged, 0), (inet6, stream, 6), (inet, stream, 6)):
        assert run_filter(WORKER, machine, "socket", *allowed) == ALLOW
        assert run_filter(SENSOR, machine, "socket", *allowed) == ALLOW
    assert run_filter(WORKER, machine, "socket", unix, socket.SOCK_DGRAM, 0) == fail(errno.EACCES)
    assert run_filter(SENSOR, machine, "socket", unix, socket.SOCK_DGRAM, 0) == ALLOW
    for refused in ((inet, stream, 262), (inet, 2, 17), (inet6, 3, 0), (16, 3, 4), (17, 3, 0), (2 | 1 << 31, 1, 0)):
        assert run_filter(WORKER, machine, "socket", *refused) == fail(errno.EACCES)
    assert run_filter(WORKER, machine, "socketpair", unix, flagged) == ALLOW
    for refused in ((unix, socket.SOCK_DGRAM), (unix, socket.SOCK_SEQPACKET), (30, stream)):
        assert run_filter(WORKER, machine, "socketpair", *refused) == fail(errno.EACCES)
    assert run_filter(WORKER, machine, "prlimit64", 0) == ALLOW
    for pid in (1, 1 << 31):
        assert run_filter(WORKER, machine, "prlimit64", pid) == fail(errno.EPERM)
    thread = 0x003D0F00  # what the C library asks for
    assert run_filter(WORKER, machine, "clone", thread) == ALLOW
    for refused_flags in (signal.SIGCHLD, thread | 0x10000000, thread | 0x00020000, 0):
        assert run_filter(WORKER, machine, "clone", refused_flags) == fail(errno.EPERM)
    assert run_filter(WITNESS, machine, "sendto", 3, 0, 1, 0, 0, 0) == ALLOW
    for pointer in (1, 1 << 32, 0x7FFF00000000):
        assert run_filter(WITNESS, machine, "sendto", 3, 0, 1, 0, pointer, 16) == fail(errno.EPERM)
    assert run_filter(WITNESS, machine, "openat", 0, 0, os.O_CLOEXEC | os.O_NOFOLLOW) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, 0o20000000):
        assert run_filter(WITNESS, machine, "openat", 0, 0, flags) == fail(errno.EPERM)


@pytest.mark.skipif(os.uname().machine not in ARCHITECTURES, reason="the table has no such column")
def test_the_hot_calls_are_decided_by_their_number() -> None:
    """The kernel's bitmap answers for these; what is left to the program is one call of a connection, or cheap."""
    hot = {"accept4", "connect", "recvfrom", "epoll_ctl", "epoll_wait", "splice", "close", "shutdown", "setsockopt"}
    assert not hot & (WORKER.by_argument.keys() | WORKER.by_number.keys())


# --- older kernels ----------------------------------------------------------------------------------------------------

OLDER = """
import json, os, socket, sys
from shim.sandbox import landlock, privileges
abi, writable, taken, port = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
privileges.no_new_privs()
landlock.restrict(abi, [writable], [port])
def may(attempt):
    try:
        attempt()
    except OSError as error:
        return type(error).__name__ not in ("PermissionError",)
    return True
def connect(to):
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", to))
with socket.create_server(("127.0.0.1", 0)) if abi < 4 else socket.socket() as other:
    elsewhere = other.getsockname()[1] if abi < 4 else port + 1
    print(json.dumps([
        may(lambda: open(taken).read()), may(lambda: open(taken, "w")), may(lambda: open(writable + "/new", "w")),
        may(lambda: os.replace(writable + "/new", writable + "/state")), may(lambda: os.execv(taken, [taken])),
        may(lambda: connect(port)), may(lambda: connect(elsewhere)), may(lambda: os.kill(os.getppid(), 0)),
    ]))
"""


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6, 7])
def test_each_version_of_landlock_gives_what_it_knows(abi: int, tmp_path: Path) -> None:
    if landlock.version() < abi:
        missing(f"needs Landlock of version {abi}")
    (tmp_path / "free").mkdir()
    taken = tmp_path / "taken"
    taken.touch(mode=0o755)
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        words = [str(abi), str(tmp_path / "free"), str(taken), str(upstream.getsockname()[1])]
        done = subprocess.run(
            [sys.executable, "-c", OLDER, *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
        )
    files, ports, scopes = [True, False, True, True, False], [True, abi < 4], [abi < 6]
    assert done.stdout and json.loads(done.stdout) == files + ports + scopes, done.stderr


# --- capabilities -----------------------------------------------------------------------------------------------------

ROOTS = """
import sys
from pathlib import Path
from shim.sandbox.privileges import held, keep_only, needed_for
needed = needed_for([Path(sys.argv[1])], [Path(sys.argv[2])], [Path(sys.argv[3])])
assert held(), "nothing is given up by asking"
keep_only(needed)
print(sorted(needed), held() == sum(1 << each for each in needed))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has any")
@pytest.mark.parametrize(
    ("others", "needed"),
    [((), "[]"), ((0,), "[2]"), ((1,), "[1]"), ((2,), "[1]"), ((0, 1, 2), "[1, 2]")],
    ids=["none", "to read", "to connect", "to write", "all"],
)
def test_root_keeps_what_it_takes_to_reach_files_of_others(
    others: tuple[int, ...], needed: str, tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in ("file", "socket", "folder")]
    paths[0].touch(mode=0o600)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(paths[1]))
    paths[1].chmod(0o600)
    paths[2].mkdir(mode=0o700)
    for place in others:
        os.chown(paths[place], 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", ROOTS, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if "nothing is given up" in done.stderr:
        pytest.skip("this root has none")
    assert done.stdout == f"{needed} True\n", done.stderr
