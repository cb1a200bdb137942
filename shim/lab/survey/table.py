"""The table of a survey: text, Markdown, JSON and one HTML page that needs nothing else.

Shows what the results say, and compares two surveys; judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from shim.lab.formats.page import FONTS, document
from shim.lab.survey.running import Result
from shim.locale import Catalogue
from shim.locale.width import columns

SCHEMA = 1
COLUMNS = ("client", "setting", "version", "sent", "dns", "direct", "verdict", "remedy")
_MARKS = {"leak": "✗", "no_leak_observed": "✓", "inconclusive": "?", "not_installed": "–"}
_STYLE = (
    f"body{{font:15px/1.5 {FONTS}}}"
    + """
body{margin:0 auto;max-width:76rem;padding:2rem 1.25rem;color:var(--ink);background:var(--paper)}
h1{margin:0 0 .3rem;font-size:1.8rem}.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%;margin-top:1.2rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .5rem;border-bottom:1px solid var(--line)}
th{font-size:.85rem;color:var(--dim)}td.verdict{white-space:nowrap;font-weight:600}
th,td{word-break:keep-all}td:last-child{word-break:normal;overflow-wrap:anywhere;min-width:14rem}
tr{break-inside:avoid}tbody th{color:var(--ink);font-size:1rem}
.leak{color:var(--leak)}.no_leak_observed{color:var(--no_leak_observed)}
.inconclusive{color:var(--inconclusive)}.not_installed{color:var(--dim)}
ul.sum{list-style:none;display:flex;gap:1.5rem;padding:0;font-weight:600}
@media print{body{padding:0;font-size:9pt}}
"""
)


def render(format: str, results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    """The whole survey in one of FORMATS. `about` says when, where and by which versions it was made."""
    return FORMATS[format](results, about, texts)


def read(text: str) -> tuple[dict[str, str], list[Result]]:
    """What `_json` wrote: about the survey, and its rows. ValueError for anything else."""
    about = json.loads(text)
    if not isinstance(about, dict) or about.pop("schema", None) != SCHEMA or not isinstance(about.get("rows"), list):
        raise ValueError("is no survey of this version")
    return about, about.pop("rows")


def changes(before: Sequence[Result], after: Sequence[Result], texts: Catalogue) -> list[str]:
    """What is another verdict, version or request than in the earlier survey; a line each."""
    earlier = {result["id"]: result for result in before}
    lines = []
    for result in after:
        old = earlier.get(result["id"])
        if old is None:
            lines.append(texts.text("survey.new", **_names(result), verdict=_verdict(result, texts)))
            continue
        for key in ("version", "sent", "verdict"):
            if old.get(key) != result[key]:
                was, now = _cell(key, old, texts), _cell(key, result, texts)
                lines.append(texts.text("survey.changed", **_names(result), key=_title(key, texts), was=was, now=now))
    return lines


def _json(results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    return json.dumps({"schema": SCHEMA, **about, "rows": list(results)}, ensure_ascii=False, indent=2) + "\n"


def _text(results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    shown = [[_title(key, texts) for key in COLUMNS[:-1]]]
    shown += [[_cell(key, result, texts) for key in COLUMNS[:-1]] for result in results]
    widths = [max(columns(row[place]) for row in shown) for place in range(len(shown[0]))]
    lines = [
        "  ".join(word + " " * (width - columns(word)) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]
    return "\n".join([*lines, "", _sum(results, texts), _made(about, texts)]) + "\n"


def _markdown(results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    head = [_title(key, texts) for key in COLUMNS]
    rows = [[_cell(key, result, texts).replace("|", "\\|") for key in COLUMNS] for result in results]
    lines = [f"# {texts.text('survey.title')}", "", _made(about, texts), "", _sum(results, texts), ""]
    lines += [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def _html(results: Sequence[Result], about: Mapping[str, str], texts: Catalogue) -> str:
    title = escape(texts.text("survey.title"))
    head = "".join(f'<th scope="col">{escape(_title(key, texts))}</th>' for key in COLUMNS)
    body = "\n".join(_html_row(result, texts) for result in results)
    total = "".join(
        f'<li class="{verdict}">{_MARKS[verdict]} {escape(texts.text(f"survey.verdict.{verdict}"))}: {count}</li>'
        for verdict, count in _counts(results).items()
    )
    page = (
        f'<h1>{title}</h1>\n<p class="dim">{escape(_made(about, texts))}</p>\n<ul class="sum">{total}</ul>\n'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n"
        f'<p class="dim">{escape(texts.text("survey.limits"))}</p>'
    )
    return document(texts.lang, title, _STYLE, page)


def _html_row(result: Result, texts: Catalogue) -> str:
    cells = [f'<th scope="row">{escape(result["client"])}</th>']
    for key in COLUMNS[1:]:
        kind = f' class="verdict {result["verdict"]}"' if key == "verdict" else ""
        cells.append(f"<td{kind}>{escape(_cell(key, result, texts))}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _cell(key: str, result: Mapping[str, Any], texts: Catalogue) -> str:
    match key:
        case "verdict":
            return f"{_MARKS[result['verdict']]} {_verdict(result, texts)}"
        case "sent":
            return texts.text(f"survey.sent.{result['sent']}") if result["sent"] else ""
        case "direct":
            return ", ".join(protocol.upper() for protocol in result["direct"])
        case "dns":
            return str(result["dns"] or "")
    return str(result[key])


def _verdict(result: Mapping[str, Any], texts: Catalogue) -> str:
    return texts.text(f"survey.verdict.{result['verdict']}")


def _title(key: str, texts: Catalogue) -> str:
    return texts.text(f"survey.column.{key}")


def _names(result: Result) -> dict[str, str]:
    return {"client": result["client"], "setting": result["setting"]}


def _counts(results: Sequence[Result]) -> dict[str, int]:
    found = {verdict: sum(result["verdict"] == verdict for result in results) for verdict in _MARKS}
    return {verdict: count for verdict, count in found.items() if count}


def _sum(results: Sequence[Result], texts: Catalogue) -> str:
    return ", ".join(f"{texts.text(f'survey.verdict.{verdict}')}: {n}" for verdict, n in _counts(results).items())


def _made(about: Mapping[str, str], texts: Catalogue) -> str:
    return texts.text("survey.made", **about)


FORMATS: dict[str, Callable[[Sequence[Result], Mapping[str, str], Catalogue], str]] = {
    "text": _text,
    "json": _json,
    "md": _markdown,
    "html": _html,
}
