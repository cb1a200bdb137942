"""The table of a survey as text, Markdown and JSON, and what has changed since an earlier one.

Shows what the results say; judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from shim.lab.survey import page
from shim.lab.survey.cells import MARKS, cell, counted, key, remedies, title, verdict
from shim.lab.survey.running import Result
from shim.locale import Catalogue
from shim.locale.width import columns
from shim.record.scrub import printable

SCHEMA: Final = 2
COLUMNS: Final = ("client", "setting", "version", "sent", "dns", "direct", "remedy")
_KEYS: Final = {
    *("id", "client", "kind", "setting", "version", "verdict", "sent"),
    *("dns", "direct", "canaries", "reason", "advice", "remedy"),
}
"""Of each row."""

_COMPARED: Final = ("verdict", "sent", "direct", "version")


def render(format: str, results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    """The whole survey in one of FORMATS. `about` says when, where and by which version it was made."""
    return FORMATS[format](results, about, texts)


def read(text: str) -> tuple[dict[str, str], list[Result]]:
    """What `as_json` wrote: about the survey, and its rows. ValueError for anything else.

    Whoever made it: nothing in it may be obeyed by a terminal.
    """
    about = _visible(json.loads(text))
    if not isinstance(about, dict) or about.pop("schema", None) != SCHEMA or not _are_rows(about.get("rows")):
        raise ValueError("is no survey of this version")
    return about, about.pop("rows")


def _are_rows(rows: object) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) and row.keys() >= _KEYS for row in rows)


def _visible(value: Any) -> Any:
    """The same with each text made printable, the keys' too."""
    match value:
        case str():
            return printable(value)
        case list():
            return [_visible(each) for each in value]
        case dict():
            return {printable(key): _visible(each) for key, each in value.items()}
    return value


def changes(before: Sequence[Result], after: Sequence[Result], texts: Catalogue) -> list[str]:
    """What is another verdict, request or version than in the earlier survey; a line for each row."""
    earlier = {result["id"]: result for result in before}
    lines = []
    for result in after:
        old = earlier.pop(result["id"], None)
        if old is None:
            lines.append(texts.text("survey.new", **_names(result, texts), verdict=verdict(result, texts)))
        elif changed := [name for name in _COMPARED if old[name] != result[name]]:
            lines.append(
                texts.text("survey.changed", **_names(result, texts), changes=_changed(changed, old, result, texts))
            )
    lines += [texts.text("survey.gone", **_names(old, texts)) for old in earlier.values()]
    return lines


def _changed(names: Iterable[str], old: Result, new: Result, texts: Catalogue) -> str:
    told = [
        texts.text(
            "survey.change", key=title(name, texts), was=_or_none(name, old, texts), now=_or_none(name, new, texts)
        )
        for name in names
    ]
    return texts.text("survey.and").join(told)


def _or_none(name: str, result: Result, texts: Catalogue) -> str:
    return cell(name, result, texts) or MARKS["not_installed"]


def _names(result: Result, texts: Catalogue) -> dict[str, str]:
    return {"client": result["client"], "setting": cell("setting", result, texts)}


def as_json(results: Sequence[Result], about: Mapping[str, str]) -> str:
    """All that is known, in every language."""
    return json.dumps({"schema": SCHEMA, **about, "rows": list(results)}, ensure_ascii=False, indent=2) + "\n"


def _rows(results: Sequence[Result], texts: Catalogue) -> list[list[str]]:
    """The cells of each row; a remedy is a number, for the same one holds for many."""
    numbers = remedies(results, texts)
    rows = [["", *(title(name, texts) for name in COLUMNS)]]
    for result in results:
        told = result["remedy"].get(texts.lang)
        cells = [cell(name, result, texts) for name in COLUMNS[:-1]]
        rows.append([MARKS[result["verdict"]], *cells, f"[{numbers[told]}]" if told else ""])
    return rows


def _text(results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    rows = _rows(results, texts)
    widths = [max(columns(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(word + " " * (width - columns(word)) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    told = [f"[{number}] {remedy}" for remedy, number in remedies(results, texts).items()]
    return "\n".join([*lines, "", *told, *([""] if told else []), _sum(results, texts), _made(about, texts)]) + "\n"


def _markdown(results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    lines = [f"# {texts.text('survey.title')}", "", _made(about, texts), "", _sum(results, texts), ""]
    lines += [key(texts), ""]
    head, *rows = _rows(results, texts)
    told = [f"{number}. {remedy}" for remedy, number in remedies(results, texts).items()]
    for kind in dict.fromkeys(result["kind"] for result in results):
        lines += [f"## {texts.text(f'survey.kind.{kind}')}", ""]
        some = [row for row, result in zip(rows, results, strict=True) if result["kind"] == kind]
        shown = (head, ["---"] * len(head), *some)
        lines += [f"| {' | '.join(word.replace('|', chr(92) + '|') for word in row)} |" for row in shown]
        lines.append("")
    if told:
        lines += [f"## {title('remedy', texts)}", "", *told, ""]
    return "\n".join([*lines, texts.text("survey.limits")]) + "\n"


def _sum(results: Sequence[Result], texts: Catalogue) -> str:
    told = [
        f"{MARKS[name]} {texts.text(f'survey.verdict.{name}')}: {count}" for name, count in counted(results).items()
    ]
    return texts.text("survey.and").join(told)


def _made(about: Mapping[str, str], texts: Catalogue) -> str:
    return texts.text("survey.made", **about)


def _json(results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    return as_json(results, about)


def _html(results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    return page.render(results, _made(about, texts), texts)


FORMATS: Final[dict[str, Callable[[Sequence[Result], Mapping[str, Any], Catalogue], str]]] = {
    "text": _text,
    "json": _json,
    "md": _markdown,
    "html": _html,
}
