"""What a process gives up besides: ever gaining rights again, its capabilities, and being looked into.

Leaves user and groups alone: they are the caller's choice.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from shim.sandbox import kernel

DAC_OVERRIDE: Final = 1
DAC_READ_SEARCH: Final = 2
SYS_PTRACE: Final = 19
NAMES: Final = {DAC_OVERRIDE: "dac_override", DAC_READ_SEARCH: "dac_read_search", SYS_PTRACE: "sys_ptrace"}

_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_HEADER = struct.Struct("=Ii")
_VERSION_3 = 0x20080522
_SETS = struct.Struct("=6I")  # effective, permitted, inheritable of the low half, then of the high one
_MOST = 64
_CAPSET = {"x86_64": 126, "aarch64": 91}


def limit_resources() -> None:
    """As many descriptors as we may have: a tunnel takes two. And no core dumps: they would hold destinations."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def no_new_privs() -> None:
    """No program that is started from here gets rights that we do not have. OSError."""
    kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def not_dumpable() -> None:
    """No core dump, wherever the system sends them, and no look into our memory by programs of our own user. OSError.

    RLIMIT_CORE alone does not keep a dump from a program that the kernel pipes it to (core(5)).
    """
    kernel.prctl(_PR_SET_DUMPABLE, 0)


def held() -> int:
    """The capabilities in force, as bits."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def keep_only(capabilities: Iterable[int]) -> None:
    """Drop all others for good: what is in force, what may be taken back, and what a program could get. OSError."""
    kept = sum(1 << each for each in capabilities) & held()
    for capability in range(_MOST):
        if not kept >> capability & 1:
            try:
                kernel.prctl(_PR_CAPBSET_DROP, capability)
            except OSError:  # not permitted, so there is nothing to be gained from it; or no such capability
                continue
    kernel.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    _set(kept, kept)


def needed_for(reading: Iterable[Path], connecting: Iterable[Path], writing: Iterable[Path]) -> set[int]:
    """Those without which these would be out of reach: a root's, whose files belong to somebody else."""
    had = held()
    if not had:
        return set()
    try:
        _set(0, had)
        missing = {DAC_READ_SEARCH for path in reading if _denied(path, os.R_OK)}
        missing |= {DAC_OVERRIDE for path in connecting if _denied(path, os.W_OK)}
        missing |= {DAC_OVERRIDE for path in writing if _denied(path, os.W_OK | os.X_OK)}
    finally:
        _set(had, had)
    return {each for each in missing if had >> each & 1}


def _denied(path: Path, mode: int) -> bool:
    """Whether it is there and not for us; where it cannot even be seen, it may be there."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return not os.access(path, mode, effective_ids=True)


def _set(effective: int, permitted: int) -> None:
    number = _CAPSET.get(os.uname().machine)
    if number is None:
        raise OSError("an unknown architecture")
    low, high = 0xFFFFFFFF, 32
    sets = _SETS.pack(effective & low, permitted & low, 0, effective >> high, permitted >> high, 0)
    buffer: Callable[[bytes], ctypes.Array[ctypes.c_char]] = ctypes.create_string_buffer
    kernel.call(number, buffer(_HEADER.pack(_VERSION_3, 0)), buffer(sets))
