"""A report as one page that needs nothing else: no script, no font and no picture from anywhere, fit to be printed."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from shim.lab.formats import text
from shim.lab.formats.page import FONTS, document
from shim.lab.formats.plain import Keys, keys
from shim.lab.verdict import Report
from shim.locale import Catalogue

_STYLE = (
    f"body{{font:16px/1.55 {FONTS}}}"
    + """
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2rem 1.25rem;color:var(--ink);background:var(--paper)}
h1{margin:0;font-size:1.9rem;line-height:1.2}h2{margin:2rem 0 .6rem;font-size:1.15rem}
header{border-left:.5rem solid var(--tone);padding:.4rem 0 .4rem 1rem;color:var(--tone)}
header p{margin:.3rem 0 0;color:var(--ink)}
code{font:.92em ui-monospace,monospace;overflow-wrap:anywhere}
article{border:1px solid var(--line);border-radius:.4rem;padding:.8rem 1rem;margin:.7rem 0;break-inside:avoid}
article.leak{border-left:.3rem solid var(--leak)}article p{margin:.35rem 0}
.dim{color:var(--dim);font-size:.9rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.2rem;margin:0}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}ul{margin:.3rem 0;padding-left:1.2rem}
footer{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.7rem;color:var(--dim);font-size:.9rem}
@media(max-width:32rem){dl{display:block}dt{font-size:.85rem}dd{margin-bottom:.35rem}}
@media print{:root{--ink:#000;--dim:#444;--line:#bbb;--paper:#fff;
--leak:#900;--no_leak_observed:#060;--inconclusive:#640}
body{padding:0;font-size:11pt}}
"""
)


def render(report: Report, texts: Catalogue, *, reveal: bool = True) -> str:
    """One HTML document in the catalogue's language."""
    plain = keys(report, texts, reveal=reveal)
    verdict = escape(texts.text(f"check.verdict.{plain['verdict']}"))
    command = escape(" ".join(plain["command"]))
    return document(texts.lang, f"{verdict}: {command}", _STYLE, "\n".join(_body(plain, verdict, command, texts)))


def _body(plain: Keys, verdict: str, command: str, texts: Catalogue) -> Iterator[str]:
    yield f'<header style="--tone:var(--{plain["verdict"]})"><h1>{verdict}</h1><p><code>{command}</code></p>'
    if plain["reason_text"]:
        yield f"<p>{escape(plain['reason_text'])}</p>"
    yield "</header>\n<main>"
    for title in ("leaks", "notes"):
        if plain[title]:
            yield f"<h2>{escape(texts.text(f'check.title.{title}'))}</h2>"
        for found in plain[title]:
            yield from _finding(found, texts)
    yield f"<h2>{escape(texts.text('check.title.run'))}</h2>\n<dl>"
    for key in ("started", "seconds", "requests", "command_status", "upstream"):
        yield f"<dt>{escape(texts.text(f'check.key.{key}'))}</dt><dd>{escape(text.shown(plain[key]))}</dd>"
    for visit in plain["visits"]:
        yield f"<dt>{escape(texts.text('check.key.visit'))}</dt><dd>{escape(visit['text'])}</dd>"
    if plain["isolation"] and "kernel" in plain["isolation"]:
        line = text.isolation(plain["isolation"], texts)
        yield f"<dt>{escape(texts.text('check.key.isolation'))}</dt><dd>{escape(line)}</dd>"
    yield "</dl>"
    for title in ("covered", "not_covered"):
        if plain[title]:
            yield f"<h2>{escape(texts.text(f'check.title.{title}'))}</h2>\n<ul>"
            yield from (f"<li>{escape(each['text'])}</li>" for each in plain[title])
            yield "</ul>"
    versions = texts.text("check.line.versions", program=plain["program_version"], rules=plain["rules_version"])
    yield f"</main>\n<footer>{escape(versions)}</footer>"


def _finding(found: Keys, texts: Catalogue) -> Iterator[str]:
    rows = {
        "destination": found["destination"],
        "name": found["name"],
        "process": _program(found),
        "time": f"{found['time']} (+{found['after_s']} s)",
        "count": found["count"],
        "canary": found["canary"] and texts.text("check.line.canary", role=found["canary"]),
        "evidence": ", ".join(found["evidence"]),
        "advice": found["packet"] and found["advice"],  # elsewhere the message ends with it
    }
    about = f"{found['rule']} · {found['kind']} · {found['confidence']} · {found['protocol']}"
    yield f'<article class="{"leak" if found["leak"] else "note"}"><p>{escape(found["message"])}</p>'
    yield f'<p class="dim">{escape(about)}</p><dl>'
    for key, shown in rows.items():
        if shown:
            yield f"<dt>{escape(texts.text(f'check.key.{key}'))}</dt><dd>{escape(str(shown))}</dd>"
    yield "</dl></article>"


def _program(found: Keys) -> str:
    """Which one, or why that is not known."""
    process = found["process"]
    if process is None:
        return f"– ({found['process_reason']})"
    return f"{process['name']} (pid {process['pid']}) {process['exe'] or ''}"
