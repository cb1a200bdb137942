"""What each program must have set so that it leaks no more: the rows of programs.toml.

Reads nothing but its own package file, and chooses no advice itself: shim.judge.remedies does.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

FORMAT = 1
"""The version of the file's form that is understood here."""


@dataclass(frozen=True, slots=True)
class Row:
    """One change: `found` are ids of general advice (less "advice."), `advice` is the exact one (less "advice.for.").

    `versions` says where it holds, `tried` with what it was tried; empty means all of them, and nothing.
    """

    found: tuple[str, ...]
    advice: str
    source: str
    versions: str = ""
    tried: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """Programs that are set alike, and how they are recognised: patterns with `*`, as in a shell.

    `names` are those of executables, `paths` whole paths of such, `scripts` what an interpreter runs, `titles` what a
    process calls itself, `wrappers` what was preloaded into it, `reasons` why the program is unknown. None of them: a
    library inside other programs; for readers only.

    `typed` is how they send a typed address: shim.judge.customs. `offers` is for programs that are not known: what
    whatever is `like` these offers in the handshake (ServerCodec.offers).
    """

    title: str
    rows: tuple[Row, ...]
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    like: str = ""
    typed: Literal["", "text", "alike"] = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The whole file. The first program that fits counts, and of its rows the first that fits."""

    date: str
    programs: tuple[Program, ...]


@cache
def table() -> Table:
    """The table that this release brings along."""
    return read(resources.files(__package__).joinpath("programs.toml").read_text(encoding="utf-8"))


def read(text: str) -> Table:
    """A table from its TOML. ValueError for another version of the form, TypeError for keys that do not belong."""
    keys = tomllib.loads(text)
    if keys["format"] != FORMAT:
        raise ValueError("another format")
    return Table(keys["date"].isoformat(), tuple(_program(entry) for entry in keys["program"]))


def _program(entry: dict[str, Any]) -> Program:
    rows = tuple(Row(**_frozen(row)) for row in entry.pop("row"))
    return Program(rows=rows, **_frozen(entry))


def _frozen(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
