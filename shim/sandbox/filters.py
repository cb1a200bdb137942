"""The two filters: that of a worker, which talks to clients and to Tor, and that of the witness, which looks around.

Holds values only. They name what is refused, not what is allowed: which calls the C library, Python and uvloop make
changes with every release, and a filter that breaks them would be switched off.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from shim.sandbox.seccomp import ALLOW, Case, Cases, Filter, Test, fail

_NO = fail(errno.EPERM)
_NO_SOCKET = fail(errno.EACCES)
_NOT_THERE = fail(errno.ENOSYS)
"""For what the C library has another way to do."""

_TYPE = 0xF  # what is left of a socket's type without SOCK_NONBLOCK and SOCK_CLOEXEC
_FAST_OPEN = 0x20000000  # MSG_FASTOPEN
_THREAD = 0x10000  # CLONE_THREAD
_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_TIOCSTI, _TIOCLINUX, _TIOCSETD = 0x5412, 0x541C, 0x5423
_OF_FILE_SYSTEMS = (0x6600, 0x5800, 0x9400)  # FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FICLONE and their like
_WRITING = 0o3 | 0o100 | 0o1000 | 0o20000000  # O_ACCMODE, O_CREAT, O_TRUNC, O_TMPFILE; 0 is O_RDONLY

_NEVER = {
    **dict.fromkeys(("execve", "execveat", "fork", "vfork", "uselib"), _NO),
    **dict.fromkeys(("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease"), _NO),
    **dict.fromkeys(("kcmp", "pidfd_open", "pidfd_getfd", "pidfd_send_signal"), _NO),
    **dict.fromkeys(("unshare", "setns", "mount", "umount2", "pivot_root", "chroot"), _NO),
    **dict.fromkeys(("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"), _NO),
    **dict.fromkeys(("bpf", "perf_event_open", "userfaultfd", "fanotify_init", "lookup_dcookie"), _NO),
    **dict.fromkeys(("keyctl", "add_key", "request_key"), _NO),
    **dict.fromkeys(("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"), _NO),
    **dict.fromkeys(("reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "vhangup"), _NO),
    **dict.fromkeys(("settimeofday", "clock_settime", "clock_adjtime", "adjtimex"), _NO),
    **dict.fromkeys(("sethostname", "setdomainname", "syslog", "personality"), _NO),
    **dict.fromkeys(("iopl", "ioperm", "modify_ldt", "nfsservctl"), _NO),
    **dict.fromkeys(("open_by_handle_at", "name_to_handle_at", "memfd_create", "memfd_secret"), _NO),
    **dict.fromkeys(("move_pages", "mbind", "set_mempolicy", "migrate_pages"), _NO),
    # Those that are there already need no name: their numbers stand in /proc/sysvipc, or can be guessed.
    **dict.fromkeys(("shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl"), _NO),
    **dict.fromkeys(("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink"), _NO),
    **dict.fromkeys(("setpriority", "ioprio_set", "sched_setparam", "sched_setscheduler"), _NO),
    **dict.fromkeys(("sched_setattr", "sched_setaffinity"), _NO),
    # Landlock knows writing; whose a file is, and who may read it, can be changed without.
    **dict.fromkeys(("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"), _NO),
    **dict.fromkeys(("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"), _NO),
    **dict.fromkeys(("utime", "utimes", "utimensat", "futimesat"), _NO),
    # A UDP socket that is bound to 127.0.0.1 reaches any machine by a control message, IP_PKTINFO (measured).
    **dict.fromkeys(("bind", "sendmsg", "sendmmsg"), _NO),
    **dict.fromkeys(("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"), _NOT_THERE),
}

_NO_PROCESS = Cases(
    (Case((Test(0, _THREAD, _THREAD), Test(0, 0, _NAMESPACES)), ALLOW),),
    _NO,
)
"""A thread, and no other kind of new process."""

_IOCTL = Cases(
    (
        *(Case((Test(1, number),), _NO) for number in (_TIOCSTI, _TIOCLINUX, _TIOCSETD)),
        *(Case((Test(1, kind, 0xFF00),), _NO) for kind in _OF_FILE_SYSTEMS),
    ),
    ALLOW,
)
"""Nothing is typed into the terminal on behalf of its user, and no file changed that is open for reading only."""

_OWN_LIMITS = Cases((Case((Test(0, 0),), ALLOW),), _NO)
"""Of oneself, which is process 0. A limit of CPU time ends whom it is set for, as a signal would."""


def _sockets(family: int, kind: int, *protocols: int) -> tuple[Case, ...]:
    """Sockets of one family and kind. Any other protocol, such as MPTCP, would go round Landlock's rules for TCP."""
    which = (Test(0, family), Test(1, kind, _TYPE))
    return tuple(Case((*which, Test(2, protocol)), ALLOW) for protocol in (0, *protocols))


_UNIX = Case((Test(0, socket.AF_UNIX),), ALLOW)
_STREAM_PAIR = Cases((Case((Test(0, socket.AF_UNIX), Test(1, socket.SOCK_STREAM, _TYPE)), ALLOW),), _NO_SOCKET)
"""One end of a pair of datagram sockets sends to any path."""

_EVERYWHERE = {
    "socketpair": _STREAM_PAIR,
    "prlimit64": _OWN_LIMITS,
    "ioctl": _IOCTL,
    "clone": _NO_PROCESS,
}
_FAMILIES = (socket.AF_INET, socket.AF_INET6)

_TCP = tuple(case for family in _FAMILIES for case in _sockets(family, socket.SOCK_STREAM, socket.IPPROTO_TCP))


def worker(*, unix: bool, listens: bool) -> Filter:
    """Of a worker. `unix`: its upstream may have a path; else it needs no such socket, and reaches no D-Bus by one.

    `listens`: uvloop calls listen(2) for the sensor's TCP sockets when it takes them over; all others listen already.
    """
    return Filter(
        {
            # A TCP socket that sends its first bytes with its SYN connects without connect(2), where Landlock looks
            # (measured).
            "sendto": Cases((Case((Test(3, _FAST_OPEN, _FAST_OPEN),), _NO),), ALLOW),
            "socket": Cases((_UNIX, *_TCP) if unix else _TCP, _NO_SOCKET),
            **_EVERYWHERE,
        },
        _NEVER if listens else {**_NEVER, "listen": _NO},
    )


_READ_ONLY = {
    argument: Cases((Case((Test(argument, 0, _WRITING),), ALLOW),), _NO)
    for argument in (1, 2)
}  # fmt: skip

WITNESS: Final = Filter(
    {
        # To the other end of a socket that is connected, and to nobody else.
        "sendto": Cases((Case((Test(4, 0), Test(4, 0, high=True)), ALLOW),), _NO),
        "socket": Cases(
            tuple(case for family in _FAMILIES for case in _sockets(family, socket.SOCK_DGRAM)), _NO_SOCKET
        ),
        "open": _READ_ONLY[1],
        "openat": _READ_ONLY[2],
        **_EVERYWHERE,
    },
    {
        **{name: action for name, action in _NEVER.items() if name != "bind"},
        **dict.fromkeys(("connect", "listen", "accept", "accept4"), _NO),
        **dict.fromkeys(("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"), _NO),
        **dict.fromkeys(("creat", "truncate", "ftruncate", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat"), _NO),
        **dict.fromkeys(("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"), _NO),
        **dict.fromkeys(("mknod", "mknodat"), _NO),
        "openat2": _NOT_THERE,
    },
)
"""Of the process that looks up programs. It binds datagram sockets, to learn which addresses are of this machine."""
