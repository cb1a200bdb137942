"""Which parts of the sandbox this kernel has, and putting them in force, each as far as it goes.

What cannot be had is left out and told: whether that is good enough, the caller decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shim.sandbox import kernel, landlock, privileges, seccomp
from shim.sandbox.filters import WITNESS, worker

PARTS: Final = ("no_new_privs", "capabilities", "not_dumpable", "landlock", "seccomp")
"""All that is promised. Landlock counts from the version on that knows TCP ports, abstract sockets and signals."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a process goes on needing: TCP ports to connect to, and paths that it reads, connects to, writes below."""

    ports: frozenset[int] = frozenset()
    reading: tuple[Path, ...] = ()
    connecting: tuple[Path, ...] = ()
    writing: tuple[Path, ...] = ()
    any_file: bool = False
    """Somebody else will name a file to read: Tor its cookie."""
    own_tor: bool = False
    """It is to connect to a path that is not there yet."""
    listens: bool = False
    """Sockets that are bound are yet to listen."""


def offered() -> dict[str, bool]:
    """Each part, and whether it can be had in full here."""
    have = dict.fromkeys(PARTS, kernel.LINUX)
    have["landlock"] = landlock.version() >= landlock.SCOPES_ABI
    have["seccomp"] = seccomp.available()
    return have


def confine(needs: Needs) -> tuple[str, ...]:
    """Everything but the filter of system calls, before other workers are forked: what is in force now.

    Not to be called twice, nor once there are threads.
    """
    if not kernel.LINUX:
        return ()
    done = []
    try:
        privileges.no_new_privs()
        done.append("no_new_privs")
    except OSError:
        return ()  # a kernel from before 3.5: the rest needs it
    done += _without_capabilities(needs)
    try:
        privileges.not_dumpable()
        done.append("not_dumpable")
    except OSError:
        pass
    return (*done, *_landlocked(needs))


def restrict(needs: Needs) -> tuple[str, ...]:
    """The filter of system calls, once all processes are there that are to be: what is in force besides."""
    return _filtered(worker(unix=bool(needs.connecting) or needs.own_tor, listens=needs.listens))


def restrict_witness() -> None:
    """All that the process can bear which looks up programs: it must see what other processes have open.

    Any Landlock domain forbids that (measured), and so does giving up CAP_SYS_PTRACE where there is one.
    """
    try:
        privileges.no_new_privs()
        privileges.keep_only((privileges.SYS_PTRACE, privileges.DAC_READ_SEARCH))
        privileges.not_dumpable()
    except OSError:
        pass
    _filtered(WITNESS)


def _without_capabilities(needs: Needs) -> Iterable[str]:
    try:
        kept = privileges.needed_for(needs.reading, needs.connecting, needs.writing)
        kept |= {privileges.DAC_READ_SEARCH} if needs.any_file else set()
        privileges.keep_only(kept)
    except OSError:
        return []
    rest = [privileges.NAMES[each] for each in sorted(kept) if privileges.held() >> each & 1]
    return ["capabilities" + "".join(f":{name}" for name in rest)]


def _landlocked(needs: Needs) -> Iterable[str]:
    abi = landlock.version()
    if not abi:
        return []
    try:
        landlock.restrict(abi, [str(path) for path in needs.writing if path.is_dir()], needs.ports)
    except OSError:
        return []
    return [f"landlock:{abi}"]


def _filtered(wanted: seccomp.Filter) -> tuple[str, ...]:
    try:
        seccomp.restrict(wanted)
    except OSError:
        return ()
    return ("seccomp",)
