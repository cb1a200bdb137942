"""What may be shown: names are scrubbed unless revealed, and nothing invisible reaches a reader.

Pure. Works on single values, before they are put into a line: a finished line cannot be scrubbed any more.
"""

from __future__ import annotations

import re
from functools import lru_cache

SCRUBBED = "[scrubbed]"

_CODE = re.compile(r"(?a:\w+)")
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
