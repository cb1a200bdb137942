"""What the pages show the shim say, line by line: each is one that it would write today, in the page's language.

They were recorded once (tests/demo) and stay as they are; a text, a code or a column that changes makes them wrong.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from string import Formatter

import pytest

from shim.locale import LANGUAGES, catalogue
from shim.model import Action, Command, Confidence, Exposure, LeakKind, Protocol
from shim.record.lines import TextLine

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "ja").glob("*.md")])
AGAIN = "no line of today's: record it again, with demo.record and demo.embed in tests/"
VERDICTS = ("leak", "no_leak_observed", "inconclusive")
IN_A_SENTENCE = {f"text.{id}" for id in ("and", "no_sandbox", "no_upstream", "port", "someone", "who")}


def either(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(words)})"


BLOCK = re.compile(r"^```(?:text|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LOGGED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:debug|info |warn |error) (.*)")
RUN = re.compile(r"^\$ shim (doctor|check)\b.*\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
REQUEST = re.compile(
    rf"(?P<conn>c\d+) +(?P<protocol>{either(Protocol)}) +(?P<command>{either(Command)}) +"
    rf"(?P<exposure>{either(Exposure)}) +(?P<action>{either(Action)}) +"
    r"(?P<destination>\S+)(?: \((?P<reason>\w+)\))?"
)
FOUND_BY_CHECK = rf"  [ \d]{{3}}\.\d{{3}} s  L\d\d {either(LeakKind)} \({either(Confidence)}\)(?: x\d+)?(?:  .+)?"


def filled(text: str) -> str:
    """A pattern for whatever a text becomes once its fields are filled in."""
    parts = ((re.escape(before), name is not None) for before, name, _, _ in Formatter().parse(text))
    return "".join(before + ".+" * has_field for before, has_field in parts)


def ids(begin: str) -> list[str]:
    """All message ids that begin so: they are the same in every language."""
    return sorted(id for id in catalogue("en").ids() if id.startswith(begin))


def texts(lang: str, begin: str) -> list[str]:
    """Patterns for all texts of these ids."""
    return [filled(catalogue(lang).text(id)) for id in ids(begin)]


@cache
def sentences(lang: str) -> re.Pattern[str]:
    """Every line of the log but those of requests, which have codes in columns."""
    plain = [filled(catalogue(lang).text(id)) for id in ids("text.") if id not in IN_A_SENTENCE]
    return re.compile(either([*plain, *found(lang)]))


def found(lang: str) -> Iterator[str]:
    """Each kind of finding: its sentence, which holds an advice as it is today, and its codes."""
    known = catalogue(lang)
    who, advice = filled(known.text("text.who")), either(re.escape(known.text(id)) for id in ids("advice."))
    for id in ids("message."):
        sentence = re.escape(known.text(id, who="WHO", advice="ADVICE")).replace("WHO", who).replace("ADVICE", advice)
        yield rf"{sentence} \[f\d+ [cqt]\d+ {id.split('.')[1]} {either(Confidence)}(?: \S+){{0,2}}\]"


def blocks() -> Iterator[tuple[str, str, str]]:
    """Page, language and contents of each block that shows a terminal."""
    for page in PAGES:
        lang = "ja" if page.parent.name == "ja" or ".ja." in page.name else "en"
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            yield str(page.relative_to(ROOT)), lang, block[1]


LINES = [(page, lang, line) for page, lang, block in blocks() for line in block.splitlines() if LOGGED.match(line)]
SAID = [
    (page, lang, run[1], line)
    for page, lang, block in blocks()
    for run in RUN.finditer(block)
    for line in filter(None, run[2].splitlines())
]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_there_is_something_to_compare(lang: str) -> None:
    assert len([line for _, its, line in LINES if its == lang]) > 20
    assert {command for _, its, command, _ in SAID if its == lang} == {"doctor", "check"}


@pytest.mark.parametrize(("page", "lang", "line"), LINES)
def test_a_line_of_the_log_is_one_of_todays(page: str, lang: str, line: str) -> None:
    at, sentence = LOGGED.fullmatch(line).groups()  # type: ignore[union-attr]
    if request := REQUEST.fullmatch(sentence):
        keys = {key: value for key, value in request.groupdict().items() if value is not None}
        told = {"at": time.mktime(time.strptime(at, "%Y-%m-%d %H:%M:%S")), "level": "info", "keys": keys}
        again = TextLine(catalogue(lang), False)(None, "", {"event": "request_decided", **told})
        assert again.decode() == f"{line}\n", f"{page}: {AGAIN}"
    else:
        assert sentences(lang).fullmatch(sentence), f"{page}: {AGAIN}"


@pytest.mark.parametrize(("page", "lang", "command", "line"), SAID)
def test_what_a_command_says_it_would_say_today(page: str, lang: str, command: str, line: str) -> None:
    if command == "doctor":
        wanted = [f"{either(texts(lang, 'doctor.status.'))} {either(texts(lang, 'doctor.'))}"]
        wanted += texts(lang, "doctor.verdict.")
    else:
        verdicts = [catalogue(lang).text(f"check.verdict.{verdict}") for verdict in VERDICTS]
        wanted = [re.escape(catalogue(lang).text("check.line.verdict", verdict=verdict)) for verdict in verdicts]
        wanted += [*texts(lang, "check.title."), FOUND_BY_CHECK]
    assert re.fullmatch(either(wanted), line), f"{page}: {AGAIN}"
