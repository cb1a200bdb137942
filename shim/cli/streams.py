"""The standard streams: open, able to show any text, and their failures told apart from a verdict.

Shows nothing itself.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from errno import EBADF, EDQUOT, EFBIG, EIO, ENOSPC
from typing import Final, TypeGuard

_STANDARD: Final = (0, 1, 2)
_FAILURES: Final = frozenset((EBADF, EDQUOT, EFBIG, EIO, ENOSPC))
"""What write(2) says of a standard output that takes no more."""


def open_all() -> None:
    """Open what the caller has closed: else a socket opened next gets its number, and what is shown is sent there.

    And no encoding of a terminal ends a command: what it lacks is written as \\u4e00.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) in _STANDARD:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115 - they stay open
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115
    with suppress(AttributeError):  # whoever calls us in their own process may have put something else there
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def is_failure(error: Exception) -> TypeGuard[OSError]:
    """Whether this kept a result from being shown: an error of writing, which names no file."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _FAILURES


def give_up() -> None:
    """Nothing more is shown, not even what is still buffered when Python ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
