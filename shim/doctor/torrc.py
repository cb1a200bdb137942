"""What a torrc and a version of tor mean for whoever relies on Tor's own warning.

Parses only: opens no file and starts nothing. Sources: tor(1), TROVE-2022-002, bug 41290.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shim.doctor.remark import Remark, Status

_INVERTED = ((0, 3, 5, 1), (0, 4, 7, 12))
"""SafeSocks refused SOCKS4a and let SOCKS4 pass (TROVE-2022-002)."""

_MENDED_EARLY = ((0, 4, 5, 16), (0, 4, 6, 0))
"""The long-term branch was mended, too."""

_SILENT = ((0, 2, 4, 11), (0, 4, 9, 9))
"""Without SafeSocks no warning was written (bug 41290)."""

Version = tuple[int, int, int, int]


def options(text: str) -> dict[str, list[str]]:
    """Every value of every option; names are lower case, for tor takes them in any."""
    found: dict[str, list[str]] = {}
    for line in map(str.strip, text.splitlines()):
        name, _, value = line.partition(" ")
        if name and not name.startswith("#"):
            found.setdefault(name.lower().lstrip("+/"), []).append(value.partition("#")[0].strip())
    return found


def version(text: str) -> Version | None:
    """Of what `tor --version` or a package says."""
    match = re.search(r"(\d+)\.(\d+)\.(\d+)\.(\d+)", text)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]), int(match[4]))


def look(file: str, text: str, which: Version | None) -> Iterator[Remark]:
    """What to know of this file; `which` is the tor that reads it, if that is known."""
    found = options(text)
    last = {name: values[-1] for name, values in found.items()}
    safe = last.get("safesocks") == "1"
    yield from _relay(file, last)
    if safe:
        yield Remark("tor_safe_socks", Status.NOTE, (("file", file),))
        if last.get("testsocks") == "1":
            yield Remark("tor_test_socks", Status.NOTE, (("file", file),))
    if which is None:
        return
    told = (("version", ".".join(map(str, which))),)
    if _within(which, _INVERTED) and not _within(which, _MENDED_EARLY):
        yield Remark("tor_inverted", Status.LEAK if safe else Status.NOTE, told, "tor_update")
    if _within(which, _SILENT) and not safe:
        yield Remark("tor_silent", Status.NOTE, told, "tor_update")


def _relay(file: str, last: dict[str, str]) -> Iterator[Remark]:
    if last.get("orport", "0").split()[0:1] in ([], ["0"]):
        return
    exits = any(name in last for name in ("exitpolicy", "reducedexitpolicy", "ipv6exit"))
    choice = last.get("exitrelay", "auto")
    if choice == "1" or (choice == "auto" and exits):
        yield Remark("tor_exit", Status.NOTE, (("file", file),), "tor_exit")
    elif last.get("bridgerelay") != "1":
        yield Remark("tor_relay", Status.NOTE, (("file", file),))


def _within(which: Version, span: tuple[Version, Version]) -> bool:
    return span[0] <= which <= span[1]
