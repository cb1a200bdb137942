"""The system calls that Python does not know: raw, by ctypes.

Decides nothing; every failure is an OSError.
"""

from __future__ import annotations

import ctypes
import os
import sys

LINUX = sys.platform == "linux"

_LIBC = ctypes.CDLL(None, use_errno=True) if LINUX else None


def call(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """syscall(2)."""
    if _LIBC is None:
        raise OSError("not Linux")
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(number), *given))


def prctl(option: int, *arguments: int | ctypes.Structure) -> int:
    """prctl(2). What is left out is 0, as the kernel wants it for most options."""
    if _LIBC is None:
        raise OSError("not Linux")
    given = [ctypes.byref(each) if isinstance(each, ctypes.Structure) else ctypes.c_ulong(each) for each in arguments]
    given += [ctypes.c_ulong(0)] * (4 - len(given))
    return _checked(_LIBC.prctl(option, *given))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
