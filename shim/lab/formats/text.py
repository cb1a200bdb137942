"""A report for a terminal: the verdict first, then its proofs, then what was looked at."""

from __future__ import annotations

from collections.abc import Iterator

from shim.lab.formats.plain import Keys, keys
from shim.lab.verdict import Report
from shim.locale import Catalogue


def render(report: Report, texts: Catalogue, *, reveal: bool = True) -> str:
    """Lines of plain text."""
    return "\n".join(lines(keys(report, texts, reveal=reveal), texts)) + "\n"


def lines(plain: Keys, texts: Catalogue) -> Iterator[str]:
    """The same of a report that is made into keys already, such as one read from JSON."""
    verdict = texts.text(f"check.verdict.{plain['verdict']}")
    yield texts.text("check.line.verdict", verdict=verdict)
    if plain["reason_text"]:
        yield f"  {plain['reason_text']}"
    for title in ("leaks", "notes"):
        if plain[title]:
            yield ""
            yield texts.text(f"check.title.{title}")
        for found in plain[title]:
            yield from _finding(found, texts)
    yield ""
    yield texts.text("check.line.requests", requests=plain["requests"], status=shown(plain["command_status"]))
    yield from (visit["text"] for visit in plain["visits"])
    for title in ("covered", "not_covered"):
        if plain[title]:
            yield texts.text(f"check.title.{title}")
        yield from (f"  - {each['text']}" for each in plain[title])
    if plain["isolation"] and "kernel" in plain["isolation"]:
        yield isolation(plain["isolation"], texts)
    yield texts.text("check.line.versions", program=plain["program_version"], rules=plain["rules_version"])


def shown(figure: object) -> str:
    """A figure, or a dash where there is none."""
    return "–" if figure is None else str(figure)


def isolation(about: Keys, texts: Catalogue) -> str:
    """One line on what the namespace was like."""
    who = texts.text(f"check.who.{'root' if about['root'] else 'user'}")
    return texts.text("check.line.isolation", who=who, kernel=about["kernel"], trap=about["trap"])


def _finding(found: Keys, texts: Catalogue) -> Iterator[str]:
    what = " ".join(part for part in (found["destination"], found["name"]) if part)
    count = f" x{found['count']}" if found["count"] > 1 else ""
    about = f"{found['rule']} {found['kind']} ({found['confidence']}){count}"
    yield f"  {found['after_s']:7.3f} s  {about}  {what}".rstrip()
    yield f"             {found['message']}"
    if found["canary"]:
        yield f"             {texts.text('check.line.canary', role=found['canary'])}"
    if found["packet"]:
        yield f"             {texts.text('check.line.advice', advice=found['advice'])}"
