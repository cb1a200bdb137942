"""What may be shown: names are scrubbed unless revealed, and nothing invisible reaches a reader.

Pure. Works on single values, before they are put into a line: a finished line cannot be scrubbed any more.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache, lru_cache

from shim.advice import table
from shim.model import Process

SCRUBBED = "[scrubbed]"

_CODE = re.compile(r"(?a:\w+)")
_OFFERS = re.compile(r"userid|[0-9a-f]{2}(?: [0-9a-f]{2})*(?: empty)?")
_WORD = re.compile(r"(?a:[a-zA-Z_][\w+-]*)")
_MANY_PROGRAMS = ("busybox", "toybox")
_KEPT_BYTES = 15
"""What Linux keeps of a process's name."""

_PORT = re.compile(r"[0-9]{1,5}")


def printable(text: str) -> str:
    r"""The text with everything that a terminal might obey, reorder or hide written out as \x1b or \u202e.

    That is all of Unicode's "Other" and "Separator" but the space: C0, DEL, C1, bidi and zero-width marks, line and
    paragraph separators, lone surrogates, unassigned code points. A printable text comes back as it is.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _visible(char) for char in text)


def _visible(char: str) -> str:
    point = ord(char)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def name(text: str, reveal: bool) -> str:
    """A host name or address without its port."""
    return printable(text) if reveal else SCRUBBED


def destination(text: str, reveal: bool) -> str:
    """HOST:PORT: the port stays. An empty text, where there is no destination, stays empty."""
    if reveal or not text:
        return printable(text)
    _, _, port = text.rpartition(":")
    return f"{SCRUBBED}:{port}" if _PORT.fullmatch(port) else SCRUBBED


@lru_cache(1024)
def code(text: str, reveal: bool) -> str:
    """A short code of our own (`client_closed`, `L03`): what is none may name something, so it is scrubbed."""
    if _CODE.fullmatch(text):
        return text
    return name(text, reveal)


def offers(text: str, reveal: bool) -> str:
    """What a program offers in a handshake: numbers of methods; anything else may name something."""
    return text if _OFFERS.fullmatch(text) else name(text, reveal)


def program(process: Process, reveal: bool) -> str:
    """A process's name, if that is its executable's or its script's; else it is a title that the process gave itself.

    npm puts the package that it is asked for there, others what they connect to. In place of a title stands the
    executable's name; without one, a title of one word is believed.
    """
    if reveal or _is_own(process):
        return printable(process.name)
    return SCRUBBED if process.exe is None else printable(_base(process.exe))


def _is_own(process: Process) -> bool:
    """A link to an executable gives its own name to the process, mostly a shorter one: python3 of python3.11."""
    name, exe, script = process.name, _base(process.exe or ""), process.script or ""
    if name and (exe.startswith(name) or name in (exe[:_KEPT_BYTES], script, script[:_KEPT_BYTES])):
        return True
    return _is_title(name) or ((not exe or exe in _MANY_PROGRAMS) and _WORD.fullmatch(name) is not None)


def _base(path: str) -> str:
    return path[max(path.rfind("/"), path.rfind("\\")) + 1 :]


def _is_title(name: str) -> bool:
    return any(fnmatchcase(name, title) for title in _titles())


@cache
def _titles() -> tuple[str, ...]:
    """What programs are known to call themselves: the table of advice recognises them by it."""
    return tuple(title for program in table().programs for title in program.titles)
