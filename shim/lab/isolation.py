"""New namespaces for this process: user, network and mount; loopback up, the resolver's files replaced, helpers hidden.

Changes nothing outside them. Who calls it should be a child that was forked for it: there is no way back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from shim.errors import ShimError
from shim.lab.netlink import RouteSocket

_NEW_MOUNTS: Final = 0x00020000
_NEW_USER: Final = 0x10000000
_NEW_NETWORK: Final = 0x40000000
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_NOSUID, _NODEV = 0x2, 0x4

HELPERS = ("/run/dbus", "/run/nscd", "/run/systemd/resolve", "/run/avahi-daemon", "/run/tor")
"""Where programs listen that would look names up, or reach Tor, for others."""

RESOLV_CONF = "nameserver 127.0.0.1\nnameserver ::1\n"
NSSWITCH_HOSTS = "hosts: files myhostname dns\n"
"""myhostname answers for the machine's own name only, from the kernel; without it that name would be asked of DNS."""

_KNOBS = (
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "userns_clone"),
    ("/proc/sys/user/max_user_namespaces", "0", "max_user_namespaces"),
    ("/proc/sys/user/max_net_namespaces", "0", "max_net_namespaces"),
)


class IsolationError(ShimError):
    """No namespace to be had: `step` is what failed, `knob` what stopped it, as far as that can be told."""

    def __init__(self, step: str, knob: str) -> None:
        super().__init__(f"{step}: {knob}")
        self.step = step
        self.knob = knob


def enter() -> bool:
    """Be in new namespaces, with `lo` up. True when a user namespace was needed for it. IsolationError."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    privileged = uid == 0 and not libc.unshare(_NEW_NETWORK | _NEW_MOUNTS)
    if not privileged:
        _check("unshare", libc.unshare(_NEW_USER | _NEW_NETWORK | _NEW_MOUNTS))
        _do("maps", lambda: _write_maps(uid, gid))
    # Without this, what is mounted here would be mounted for everybody.
    _check("mounts", libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None))
    with RouteSocket() as route:
        _do("loopback", lambda: route.up("lo"))
    return not privileged


def _write_maps(uid: int, gid: int) -> None:
    """Everybody stays who he is: the program keeps its files, and has no privileges once it is started."""
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")


def overlay(folder: Path, hidden: Sequence[str]) -> list[str]:
    """Replace the resolver's files by those in `folder`, and put empty folders over `hidden`: those that there were."""
    covered = [path for path in hidden if os.path.isdir(path) and not os.path.islink(path)]
    for path in covered:
        mode = "0700" if os.stat(path).st_mode & 0o077 == 0 else "0755"
        _mount("hide", "tmpfs", path, "tmpfs", _NOSUID | _NODEV, f"mode={mode},size=1m")
    for name in ("resolv.conf", "nsswitch.conf"):
        target = os.path.realpath(f"/etc/{name}")
        if not os.path.exists(target) and any(target.startswith(f"{path}/") for path in covered):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            Path(target).touch()
        if os.path.exists(target):  # where there is none, glibc asks 127.0.0.1, which is us
            _mount("overlay", str(folder / name), target, None, _BIND, None)
    return covered


def write_overlay(folder: Path) -> None:
    """The files that `overlay` needs."""
    (folder / "resolv.conf").write_text(RESOLV_CONF, encoding="ascii")
    try:
        before = Path("/etc/nsswitch.conf").read_bytes().splitlines(keepends=True)
    except OSError:
        before = []
    rest = b"".join(line for line in before if not line.lstrip().startswith(b"hosts:"))
    (folder / "nsswitch.conf").write_bytes(NSSWITCH_HOSTS.encode() + rest)


def probe() -> IsolationError | None:
    """Whether namespaces can be had at all, tried in a child; None if so."""
    if sys.platform != "linux":
        return IsolationError("unshare", "not_linux")
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        try:
            enter()
            theirs.sendall(b"ok")
        except IsolationError as error:
            theirs.sendall(f"{error.step} {error.knob}".encode())
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        answer = ours.recv(256).decode("ascii", "backslashreplace")
    os.waitpid(pid, 0)
    if answer == "ok":
        return None
    step, _, knob = answer.partition(" ")
    return IsolationError(step or "unshare", knob or "ended")


def blame(number: int) -> str:
    """What stopped us: the name of a kernel setting, `seccomp`, or the error itself."""
    for path, bad, knob in _KNOBS:
        try:
            if Path(path).read_text(encoding="ascii").strip() == bad:
                return knob
        except OSError:
            continue
    if number == errno.EPERM and "\nSeccomp:\t2" in Path("/proc/self/status").read_text(encoding="utf-8"):
        return "seccomp"
    return errno.errorcode.get(number, str(number))


def _do(step: str, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as error:
        raise IsolationError(step, blame(error.errno or 0)) from None


def _check(step: str, result: int) -> None:
    if result:
        raise IsolationError(step, blame(ctypes.get_errno()))


def _mount(step: str, source: str, target: str, kind: str | None, flags: int, data: str | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [None if text is None else text.encode() for text in (source, target, kind)]
    _check(step, libc.mount(*arguments, ctypes.c_ulong(flags), None if data is None else data.encode()))
