"""The files in requirements/, as `uv pip compile` writes them: what is pinned, by which hashes, and for whom.

Reads files only: asks no registry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
PROJECT = "leakshim"

_PINNED = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)(?: ; ([^\\]+?))?(?: \\)?")
_HASH = re.compile(r"    --hash=sha256:([0-9a-f]{64})(?: \\)?")
_FOR = re.compile(r"    #(?: via|  ) +([A-Za-z0-9._-]+)(?: \(pyproject\.toml\))?")
_ASIDE = re.compile(r"    # via|    #   -[cr] .*|    # via -[cr] .*")


@dataclass(frozen=True)
class Pin:
    """One release of a distribution, the files that may be it, and the pins that want it."""

    name: str
    version: str
    marker: str | None
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its name in the language of package URLs."""
        return f"pkg:pypi/{canonical(self.name)}@{self.version}"


def canonical(name: str) -> str:
    """One spelling for all of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(name: str) -> list[Pin]:
    """A lock file; ValueError for a line that is none of its kinds, such as an option or an address."""
    found: list[Pin] = []
    for number, (head, body) in enumerate(_entries((FOLDER / name).read_text(encoding="utf-8")), 1):
        pinned = _PINNED.fullmatch(head)
        if pinned is None:
            raise ValueError(f"{name}: entry {number} pins nothing")
        hashes = tuple(match[1] for line in body if (match := _HASH.fullmatch(line)))
        wanted = tuple(match[1] for line in body if not _ASIDE.fullmatch(line) and (match := _FOR.fullmatch(line)))
        if len(hashes) + len(wanted) + sum(bool(_ASIDE.fullmatch(line)) for line in body) != len(body):
            raise ValueError(f"{name}: {head}: a line that is no hash and no reason")
        found.append(Pin(pinned[1], pinned[2], pinned[3], hashes, wanted))
    return found


def _entries(text: str) -> Iterator[tuple[str, list[str]]]:
    """The line that pins, and the indented ones behind it."""
    head, body = "", []
    for line in text.splitlines():
        if line.startswith(" "):
            body.append(line)
            continue
        if head:
            yield head, body
        head, body = line, []
    if head:
        yield head, body
