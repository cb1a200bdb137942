"""The survey as one HTML page that needs nothing else: first one look at all clients, then each with what it did.

Shows what the results say; judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Final

from shim.lab.formats.page import FONTS, document
from shim.lab.survey.cells import MARKS, cell, counted, key, remedies, title, verdict
from shim.lab.survey.running import Result
from shim.locale import Catalogue

_SHOWN: Final = ("setting", "sent", "dns", "direct")
_SEEN: Final = ("no_leak_observed", "leak", "inconclusive")

_STYLE: Final = (
    f"body{{font:15px/1.55 {FONTS}}}"
    + """
:root{--not_installed:#7a8494;--leak-soft:#fbeae8;--no_leak_observed-soft:#e6f3ea;--inconclusive-soft:#faf1dd;
--not_installed-soft:#eef0f3}
@media(prefers-color-scheme:dark){:root{--not_installed:#8a94a3;--leak-soft:#3a1d1b;--no_leak_observed-soft:#16301f;
--inconclusive-soft:#33290f;--not_installed-soft:#20262e}}
.leak{--tone:var(--leak);--soft:var(--leak-soft)}
.no_leak_observed{--tone:var(--no_leak_observed);--soft:var(--no_leak_observed-soft)}
.inconclusive{--tone:var(--inconclusive);--soft:var(--inconclusive-soft)}
.not_installed{--tone:var(--not_installed);--soft:var(--not_installed-soft)}
*{box-sizing:border-box}
body{margin:0 auto;max-width:66rem;padding:2.5rem 1.25rem 4rem;color:var(--ink);background:var(--paper)}
h1{margin:0;font-size:2rem;line-height:1.2;letter-spacing:-.01em}header p{margin:.4rem 0}.dim{color:var(--dim)}
h2{margin:3rem 0 .4rem;font-size:1.3rem;border-bottom:2px solid var(--ink);padding-bottom:.25rem}
h3{margin:1.7rem 0 .3rem;font-size:1.05rem}h3 small{font-weight:400;color:var(--dim);margin-left:.5rem}
.bar{display:flex;height:.9rem;border-radius:.45rem;overflow:hidden;margin:1.4rem 0 .6rem;gap:2px}
.bar span{background:var(--tone)}
ul.sum{list-style:none;display:flex;flex-wrap:wrap;gap:.3rem 1.6rem;padding:0;margin:0}ul.sum li{color:var(--tone)}
ul.sum b{font-size:1.45rem;margin-right:.35rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.38rem .6rem .38rem 0}
tr{border-bottom:1px solid var(--line);break-inside:avoid}thead th,tr.kind th{font-size:.8rem;color:var(--dim)}
.look td{width:50%}.look th[scope=row]{white-space:nowrap;min-width:9.5rem}tr.kind th{padding-top:1.1rem}
.chip{display:inline-block;background:var(--soft);color:var(--tone);border-radius:.3rem;padding:.02rem .45rem;
margin:.1rem .25rem .1rem 0;font-size:.88rem;overflow-wrap:anywhere}
.chip::before{content:attr(data-mark) " ";font-weight:700}
.rows{margin:.2rem 0 .5rem}.rows .mark{width:2.2rem;text-align:center}
.rows .setting{width:43%;overflow-wrap:anywhere}.rows .sent{width:27%}.rows .dns{width:11%}
sup{color:var(--dim);font-size:.72em;margin-left:.2em}
.mark span{display:inline-block;width:1.55rem;height:1.55rem;line-height:1.55rem;border-radius:50%;
background:var(--soft);color:var(--tone);font-weight:700}
td.bad{color:var(--leak);font-weight:600}
.remedy{margin:.25rem 0 0;padding:.45rem .7rem;border-left:3px solid var(--line);font-size:.92rem;
overflow-wrap:anywhere;break-inside:avoid}
.remedy b{color:var(--dim);font-weight:600;margin-right:.5rem}
footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:.8rem;color:var(--dim);font-size:.9rem}
@media screen and (max-width:40rem){body{padding:1.4rem .9rem 3rem}h1{font-size:1.55rem}thead{display:none}
.look tr,.look th,.look td{display:block}.look td{width:auto;padding:0 0 .25rem}td:empty{display:none!important}
.look th[scope=row]{padding-bottom:.1rem}.rows tr{display:grid;grid-template-columns:2.2rem 1fr;padding:.4rem 0}
.rows td{padding:0;grid-column:2}.rows td.mark{grid-column:1;grid-row:1/9;padding:0}.rows td[class]{width:auto}
.rows td[data-title]::before{content:attr(data-title) ": ";color:var(--dim);font-weight:400}}
@media print{:root{--ink:#000;--dim:#444;--paper:#fff;--line:#bbb;--leak:#900;--no_leak_observed:#060;
--inconclusive:#640;--leak-soft:#fff;--no_leak_observed-soft:#fff;--inconclusive-soft:#fff}
body{padding:0;max-width:none;font-size:9pt}h2,h3,tr.kind{break-after:avoid}
.chip,.mark span{border:1px solid var(--tone)}
.bar{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
)


def render(results: Sequence[Result], made: str, texts: Catalogue) -> str:
    """One HTML document in the catalogue's language; `made` says when, where and by what."""
    return document(texts.lang, escape(texts.text("survey.title")), _STYLE, "\n".join(_body(results, made, texts)))


def _body(results: Sequence[Result], made: str, texts: Catalogue) -> Iterator[str]:
    yield f"<header><h1>{escape(texts.text('survey.title'))}</h1>"
    yield f"<p>{escape(texts.text('survey.lead'))}</p>"
    yield f'<p class="dim">{escape(made)}</p>'
    yield from _totals(results, texts)
    yield "</header>\n<main>"
    seen = [result for result in results if result["verdict"] != "not_installed"]
    yield from _look(seen, texts)
    for kind, some in groupby(seen, lambda result: result["kind"]):
        yield f"<h2>{escape(texts.text(f'survey.kind.{kind}'))}</h2>"
        for client, rows in groupby(some, lambda result: result["client"]):
            yield from _client(client, list(rows), texts)
    yield from _missing([result for result in results if result["verdict"] == "not_installed"], texts)
    yield f"</main>\n<footer>{escape(texts.text('survey.limits'))}</footer>"


def _totals(results: Sequence[Result], texts: Catalogue) -> Iterator[str]:
    counts = counted(results)
    bars = "".join(f'<span class="{name}" style="flex:{count}"></span>' for name, count in counts.items())
    yield f'<div class="bar" aria-hidden="true">{bars}</div>'
    words = (
        f'<li class="{name}"><b>{MARKS[name]} {count}</b>{escape(texts.text(f"survey.verdict.{name}"))}</li>'
        for name, count in counts.items()
    )
    yield f'<ul class="sum">{"".join(words)}</ul>\n<p class="dim">{escape(key(texts))}</p>'


def _look(results: Sequence[Result], texts: Catalogue) -> Iterator[str]:
    """One line a client: what is safe on the left, all else on the right."""
    heads = (texts.text("survey.column.client"), texts.text("survey.safe"), texts.text("survey.unsafe"))
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    yield f'<h2>{escape(texts.text("survey.look"))}</h2>\n<table class="look"><thead><tr>{head}</tr></thead><tbody>'
    for kind, some in groupby(results, lambda result: result["kind"]):
        yield f'<tr class="kind"><th colspan="3" scope="colgroup">{escape(texts.text(f"survey.kind.{kind}"))}</th></tr>'
        for client, rows in groupby(some, lambda result: result["client"]):
            chips: dict[bool, list[str]] = {True: [], False: []}
            for row in sorted(rows, key=lambda row: _SEEN.index(row["verdict"])):
                chips[row["verdict"] == "no_leak_observed"].append(_chip(row, texts))
            yield (
                f'<tr><th scope="row">{escape(client)}</th><td>{"".join(chips[True])}</td>'
                f"<td>{''.join(chips[False])}</td></tr>"
            )
    yield "</tbody></table>"


def _chip(row: Result, texts: Catalogue) -> str:
    mark, setting = MARKS[row["verdict"]], escape(cell("setting", row, texts))
    return (
        f'<span class="chip {row["verdict"]}" data-mark="{mark}" title="{escape(verdict(row, texts))}">{setting}</span>'
    )


def _client(client: str, rows: Sequence[Result], texts: Catalogue) -> Iterator[str]:
    versions = ", ".join(dict.fromkeys(row["version"] for row in rows if row["version"]))
    head = "".join(f'<th scope="col" class="{name}">{escape(title(name, texts))}</th>' for name in _SHOWN)
    yield f"<h3>{escape(client)}<small>{escape(versions)}</small></h3>"
    yield f'<table class="rows"><thead><tr><th class="mark"></th>{head}</tr></thead><tbody>'
    told = remedies(rows, texts)
    notes = {remedy: f"<sup>{number}</sup>" if len(told) > 1 else "" for remedy, number in told.items()}
    yield from (_row(row, notes.get(row["remedy"].get(texts.lang), ""), texts) for row in rows)
    yield "</tbody></table>"
    for remedy, note in notes.items():
        yield f'<p class="remedy"><b>{escape(title("remedy", texts))}{note}</b>{escape(remedy)}</p>'


def _row(row: Result, note: str, texts: Catalogue) -> str:
    """`note` leads to the remedy, where there are several."""
    mark = f'<span title="{escape(verdict(row, texts))}">{MARKS[row["verdict"]]}</span>'
    cells = [f'<td class="mark {row["verdict"]}">{mark}</td>']
    for name in _SHOWN:
        bad = " bad" if row["verdict"] == "leak" and (name != "sent" or row["sent"] == "address") else ""
        heading = "" if name == "setting" else f' data-title="{escape(title(name, texts))}"'
        style = name if name == "setting" else name + bad
        text = escape(cell(name, row, texts)) + (note if name == "setting" else "")
        cells.append(f'<td class="{style}"{heading}>{text}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _missing(rows: Sequence[Result], texts: Catalogue) -> Iterator[str]:
    """Clients that were not there, in a line."""
    if rows:
        names = ", ".join(dict.fromkeys(row["client"] for row in rows))
        yield f"<h2>{escape(texts.text('survey.verdict.not_installed'))}</h2>\n<p>{escape(names)}</p>"
