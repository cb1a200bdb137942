"""The catalogue of clients and settings, ours and the user's.

Parses and checks only; runs nothing. A mistake is named with file, row and key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from shim.lab.survey.environments import KINDS as ENVIRONMENTS
from shim.lab.survey.environments import Environment
from shim.value import value

KINDS: Final = ("browser", "text_browser", "command_line", "language", "wrapper", "other")
"""What a client is, in the order of the table."""

_OURS: Final = ("firefox", "browsers", "text_browsers", "command_line", "python", "languages", "wrappers")

_NEEDED: Final[dict[str, type]] = {"id": str, "client": str, "program": str, "setting": str, "command": list}
_OPTIONAL: Final[dict[str, type]] = {
    "kind": str,
    "setting_ja": str,
    "needs": list,
    "version": list,
    "options": list,
    "files": dict,
    "settings": str,
    "environment": str,
    "timeout": int,
    "proxy_env": bool,
    "fast": bool,
}
_NAMED: Final = {
    str: "a text",
    list: "a list of texts",
    dict: "a table of texts",
    int: "a number",
    bool: "true or false",
}
_OPTIONS, _SETTINGS = "{options}", "{settings}"

Environments = Mapping[str, Environment]


class CatalogueError(ValueError):
    """What is wrong, and where."""


@value
class Row:
    """One client with one setting. `command` and `files` may hold the places that docs/survey.md names.

    `needs` are programs beside the first, `fast` that it takes a second or two and needs nothing but programs.
    """

    id: str
    client: str
    program: str
    setting: str
    command: tuple[str, ...]
    kind: str = "other"
    setting_ja: str = ""
    needs: tuple[str, ...] = ()
    version: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    environment: Environment | None = None
    timeout: int = 30
    proxy_env: bool = False
    fast: bool = False

    @property
    def settings(self) -> dict[str, str]:
        """The setting by language."""
        return {"en": self.setting, "ja": self.setting_ja or self.setting}


def built_in() -> dict[str, Row]:
    """Ours, by id."""
    rows: dict[str, Row] = {}
    for name in _OURS:
        found = parse((files("shim.lab.survey") / "clients" / f"{name}.toml").read_text("utf-8"), f"{name}.toml")
        if twice := rows.keys() & found:
            raise CatalogueError(f"{name}.toml: ids {sorted(twice)} stand in another file, too")
        rows |= found
    return rows


def load(path: Path | None) -> dict[str, Row]:
    """Ours and those of the user's file, which replace ours of the same id. CatalogueError, OSError."""
    rows = built_in()
    if path is not None:
        try:
            rows |= parse(path.read_text("utf-8"), str(path))
        except UnicodeDecodeError:
            raise CatalogueError(f"{path}: is not UTF-8") from None
    return dict(sorted(rows.items(), key=lambda item: KINDS.index(item[1].kind)))


def parse(text: str, where: str) -> dict[str, Row]:
    """The rows of one file, by id. CatalogueError."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{where}: is not TOML: {error}") from None
    if unknown := found.keys() - {"row", "client", "environment"}:
        raise CatalogueError(f"{where}: holds {sorted(unknown)}, not [[row]], [[client]] or [environment.NAME]")
    environments = dict(_environments(found.get("environment", {}), where))
    parsed = [_row(row, environments, place) for row, place in _tables(found, where)]
    return {row.id: row for row in _unique(parsed, where)}


def _environments(found: Any, where: str) -> Iterator[tuple[str, Environment]]:
    """A table for each, of one key: the kind."""
    for name, about in found.items() if isinstance(found, dict) else [("", None)]:
        kind, made_of = next(iter(about.items())) if isinstance(about, dict) and len(about) == 1 else ("", None)
        if not name.replace("-", "").isalnum() or kind not in ENVIRONMENTS:
            raise CatalogueError(f"{where}: environment {name}: must have one of {', '.join(ENVIRONMENTS)}")
        if isinstance(made_of, str):
            yield name, Environment(name, kind, source=made_of)
        elif isinstance(made_of, list) and _is_texts(made_of):
            yield name, Environment(name, kind, tuple(made_of))
        else:
            raise CatalogueError(f"{where}: environment {name}: {kind}: must be a text or a list of texts")


def _tables(found: Mapping[str, Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Each row with all that it shares with the others of its client, and its place."""
    number = 0
    for client in [*_list(found, "client", where), {"row": _list(found, "row", where)}]:
        shared = {("client" if key == "name" else key): client[key] for key in client if key != "row"}
        for row in _list(client, "row", where):
            number += 1
            yield {**shared, **row}, f"{where}: row {number}"


def _list(found: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    tables = found.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise CatalogueError(f"{where}: {key}: must be [[{key}]] tables")
    return tables


def _unique(rows: Iterable[Row], where: str) -> Iterable[Row]:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise CatalogueError(f"{where}: id {row.id!r} stands there twice")
        seen.add(row.id)
        yield row


def _row(row: dict[str, Any], environments: Environments, where: str) -> Row:
    _check(row, where)
    written = row.get("files", {})
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in written):
        raise CatalogueError(f"{where}: files: must stay below the row's home")
    if (name := row.get("environment")) is not None and name not in environments:
        raise CatalogueError(f"{where}: environment: there is no [environment.{name}]")
    if row.get("kind", KINDS[0]) not in KINDS:
        raise CatalogueError(f"{where}: kind: must be one of {', '.join(KINDS)}")
    options, settings = row.get("options", []), row.get("settings", "")
    command = [word for each in row["command"] for word in (options if each == _OPTIONS else [each])]
    plain = {key: row[key] for key in row if key not in ("options", "settings")}
    lists: dict[str, Any] = {key: tuple(row[key]) for key in ("needs", "version") if key in row}
    return Row(
        **{
            **plain,
            **lists,
            "command": tuple(command),
            "files": tuple((name, text.replace(_SETTINGS, settings)) for name, text in written.items()),
            "environment": None if name is None else environments[name],
        }
    )


def _check(row: Mapping[str, Any], where: str) -> None:
    """Every key is known and of its type."""
    types = _NEEDED | _OPTIONAL
    for key in row:
        if key not in types:
            raise CatalogueError(f"{where}: {key}: is no key of a row")
    for key, kind in types.items():
        if key not in row and key in _OPTIONAL:
            continue
        found = row.get(key)
        if type(found) is not kind or (key in _NEEDED and not found) or not _is_of_texts(found):
            raise CatalogueError(f"{where}: {key}: must be {_NAMED[kind]}")


def _is_of_texts(found: object) -> bool:
    """True of whatever is no list or table, too."""
    return _is_texts(list(found.values()) if isinstance(found, dict) else found) or not isinstance(found, list | dict)


def _is_texts(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(word, str) for word in found)
