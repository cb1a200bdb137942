"""The catalogue of clients and settings, ours and the user's.

Parses and checks only; runs nothing. A mistake is named with file, row and key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from shim.value import value

_KEYS: dict[str, type] = {"id": str, "client": str, "program": str, "setting": str, "setting_ja": str, "command": list}
_OPTIONAL: dict[str, type] = {"version": list, "files": dict, "timeout": int, "proxy_env": bool}


class CatalogueError(ValueError):
    """What is wrong, and where."""


@value
class Row:
    """One client with one setting. `command` and `files` may hold `{home}`, `{url}` and the places of `shim check`."""

    id: str
    client: str
    program: str
    setting: str
    setting_ja: str
    command: tuple[str, ...]
    version: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    timeout: int = 30
    proxy_env: bool = False

    def setting_in(self, lang: str) -> str:
        """The setting in the reader's language."""
        return self.setting_ja if lang == "ja" else self.setting


def built_in() -> dict[str, Row]:
    """Ours, by id."""
    return parse((files("shim.lab.survey") / "catalogue.toml").read_text("utf-8"), "catalogue.toml")


def load(path: Path | None) -> dict[str, Row]:
    """Ours and those of the user's file, which replace ours of the same id. CatalogueError, OSError."""
    rows = built_in()
    if path is not None:
        try:
            rows |= parse(path.read_text("utf-8"), str(path))
        except UnicodeDecodeError:
            raise CatalogueError(f"{path}: is not UTF-8") from None
    return rows


def parse(text: str, where: str) -> dict[str, Row]:
    """The rows of one file, by id. CatalogueError."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{where}: is not TOML: {error}") from None
    rows = found.pop("row", [])
    if found or not isinstance(rows, list):
        raise CatalogueError(f"{where}: must hold [[row]] tables only")
    parsed = [_row(row, f"{where}: row {number}") for number, row in enumerate(rows, 1)]
    return {row.id: row for row in _unique(parsed, where)}


def _unique(rows: Iterable[Row], where: str) -> Iterable[Row]:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise CatalogueError(f"{where}: id {row.id!r} stands there twice")
        seen.add(row.id)
        yield row


def _row(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise CatalogueError(f"{where}: must be a table")
    for key in row:
        if key not in _KEYS and key not in _OPTIONAL:
            raise CatalogueError(f"{where}: {key}: is no key of a row")
    row = {"setting_ja": row.get("setting"), **row}
    for key, kind in _KEYS.items():
        if not isinstance(row.get(key), kind) or not row[key]:
            raise CatalogueError(f"{where}: {key}: must be {_NAMED[kind]}")
    for key, kind in _OPTIONAL.items():
        if key in row and not isinstance(row[key], kind):
            raise CatalogueError(f"{where}: {key}: must be {_NAMED[kind]}")
    for key in ("command", "version"):
        if not all(isinstance(word, str) for word in row.get(key, ())):
            raise CatalogueError(f"{where}: {key}: must be a list of texts")
    written = row.get("files", {})
    if not all(isinstance(text, str) for text in written.values()):
        raise CatalogueError(f"{where}: files: must be a table of texts")
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in written):
        raise CatalogueError(f"{where}: files: must stay below the row's home")
    return Row(
        **{
            **row,
            "command": tuple(row["command"]),
            "version": tuple(row.get("version", ())),
            "files": tuple(written.items()),
        }
    )


_NAMED = {str: "a text", list: "a list of texts", dict: "a table of texts", int: "a number", bool: "true or false"}
