"""Landlock: which files a process may touch, and which TCP ports it may use (landlock(7)).

Limits ports, not addresses; neither UDP nor unix sockets that have a path. Three ways round it were measured on Linux
6.18, and are closed by the seccomp filter: TCP Fast Open, MPTCP, and listen(2) without bind(2).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from typing import Final

from shim.sandbox import kernel

TCP_ABI: Final = 4
"""From this version on it knows TCP ports (Linux 6.7)."""

SCOPES_ABI: Final = 6
"""From this version on it keeps abstract unix sockets and signals within the domain (Linux 6.12)."""

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on all architectures
_VERSION_FLAG = 1
_RULE_PATH, _RULE_PORT = 1, 2

_FILE_RIGHTS = {1: 1 << 13, 2: 1 << 14, 3: 1 << 15, 5: 1 << 16}
"""The first right about files that a version does not know yet."""
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = (1 << bit for bit in (1, 2, 3, 5, 8, 14))
_READING = _READ_FILE | _READ_DIR
_REPLACING = _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT, _SCOPE_SIGNAL = 1, 2

_RULESET = struct.Struct("=QQQ")  # landlock_ruleset_attr: files, net, scoped
_PATH = struct.Struct("=Qi")  # landlock_path_beneath_attr, packed
_PORT = struct.Struct("=QQ")  # landlock_net_port_attr


def version() -> int:
    """The kernel's version of it; 0 where there is none, or it is switched off."""
    try:
        return kernel.call(_CREATE, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def restrict(abi: int, writable: Iterable[str], ports: Iterable[int]) -> None:
    """From now on: read files, execute none, write below `writable` alone, connect by TCP to `ports`, bind to none.

    Needs no_new_privs. Holds for this thread and all that it starts. OSError.
    """
    known = _known(abi)
    ruleset = kernel.call(_CREATE, _buffer(_attributes(abi, known)), len(_attributes(abi, known)), 0)
    try:
        _allow_path(ruleset, "/", _READING)
        for path in writable:
            _allow_path(ruleset, path, (_READING | _REPLACING) & known)
        for port in ports if abi >= TCP_ABI else ():
            kernel.call(_ADD, ruleset, _RULE_PORT, _buffer(_PORT.pack(_CONNECT_TCP, port)), 0)
        kernel.call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _known(abi: int) -> int:
    """All rights about files that this version knows: what is not handled would be allowed."""
    return max(limit for since, limit in _FILE_RIGHTS.items() if since <= abi) - 1


def _attributes(abi: int, files: int) -> bytes:
    """As long as this version knows it."""
    whole = _RULESET.pack(files, _BIND_TCP | _CONNECT_TCP, _SCOPE_ABSTRACT | _SCOPE_SIGNAL)
    return whole[: 24 if abi >= SCOPES_ABI else 16 if abi >= TCP_ABI else 8]


def _allow_path(ruleset: int, path: str, rights: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        kernel.call(_ADD, ruleset, _RULE_PATH, _buffer(_PATH.pack(rights, folder)), 0)
    finally:
        os.close(folder)


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, len(data))
