"""A seccomp filter: which system calls a process may make, put together as a program for the kernel (seccomp(2)).

Looks at numbers and arguments, never at what an argument points to. The kernel keeps in a bitmap which numbers a filter
allows whatever their arguments are (since 5.11), so that those cost nothing; only the calls with `Case`s are run
through it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shim.sandbox import kernel
from shim.sandbox.syscalls import ARCHITECTURES, HIGHEST, NUMBERS, Architecture

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
_ERRNO = 0x00050000

_PR_GET_SECCOMP = 21
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_RET|K
_IF_EQUAL, _IF_GREATER = 0x15, 0x25  # BPF_JMP|JEQ|K, BPF_JMP|JGT|K
_INSTRUCTION = struct.Struct("=HBBI")
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in seccomp_data
_WORD = 0xFFFFFFFF

Instruction = tuple[int, int, int, int]


def fail(code: int) -> int:
    """The call returns this error."""
    return _ERRNO | code


@dataclass(frozen=True, slots=True)
class Test:
    """That some bits of an argument have a value. `high` looks at its upper half."""

    argument: int
    value: int
    mask: int = _WORD
    high: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """What becomes of a call for which all of the tests hold."""

    tests: tuple[Test, ...]
    action: int


@dataclass(frozen=True, slots=True)
class Cases:
    """What becomes of one call: the first case that fits, or `otherwise`."""

    cases: tuple[Case, ...]
    otherwise: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Calls with an action of their own; all others are allowed."""

    by_argument: Mapping[str, Cases]
    by_number: Mapping[str, int]


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def architecture() -> Architecture | None:
    """This machine's, if the table of numbers has it."""
    sixty_four = struct.calcsize("P") == 8
    return ARCHITECTURES.get(os.uname().machine) if kernel.LINUX and sixty_four else None


def available() -> bool:
    """Whether a filter could be put in force here."""
    try:
        return architecture() is not None and kernel.prctl(_PR_GET_SECCOMP) >= 0
    except OSError:
        return False


def restrict(wanted: Filter) -> None:
    """Put it in force for this thread and all that it starts. Needs no_new_privs. OSError."""
    here = architecture()
    if here is None:
        raise OSError(errno.ENOSYS, "an unknown architecture")
    program = b"".join(_INSTRUCTION.pack(*each) for each in assemble(wanted, here))
    buffer = ctypes.create_string_buffer(program, len(program))
    whole = _FilterProgram(len(program) // _INSTRUCTION.size, ctypes.cast(buffer, ctypes.c_void_p).value)
    kernel.prctl(_PR_SET_SECCOMP, _MODE_FILTER, whole)


def assemble(wanted: Filter, on: Architecture) -> list[Instruction]:
    """The whole program. Calls of another architecture end the process; later ones than we know do not exist."""
    program = [_load(_ARCH), (_IF_EQUAL, 1, 0, on.audit), _return(KILL)]
    program += [_load(_NUMBER), (_IF_GREATER, 0, 1, HIGHEST), _return(fail(errno.ENOSYS))]
    for name, cases in wanted.by_argument.items():
        if (number := NUMBERS[name][on.column]) is not None:
            body = [*_body(cases)]
            program += [(_IF_EQUAL, 0, len(body), number), *body]
    for name, action in wanted.by_number.items():
        if (number := NUMBERS[name][on.column]) is not None:
            program += [(_IF_EQUAL, 0, 1, number), _return(action)]
    return [*program, _return(ALLOW)]


def _body(cases: Cases) -> Iterator[Instruction]:
    for case in cases.cases:
        yield from _case(case)
    yield _return(cases.otherwise)


def _case(case: Case) -> Sequence[Instruction]:
    """Each test that does not hold jumps behind the case."""
    code: list[Instruction] = [_return(case.action)]
    for test in reversed(case.tests):
        masked = [] if test.mask == _WORD else [(_AND, 0, 0, test.mask)]
        place = _ARGUMENTS + 8 * test.argument + 4 * test.high
        code = [_load(place), *masked, (_IF_EQUAL, 0, len(code), test.value), *code]
    return code


def _load(place: int) -> Instruction:
    return (_LOAD, 0, 0, place)


def _return(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)
