"""The table of advice: each row can be found, can be read in both languages, and says where it is known from."""

from __future__ import annotations

import datetime
import importlib.util
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from shim.advice import FORMAT, Program, Row, Table, read, table
from shim.judge.advice import ADVICE_IDS
from shim.judge.customs import Custom
from shim.judge.remedies import EXACT, GENERAL
from shim.locale import LANGUAGES, catalogue

DOCS = Path(__file__).parents[1] / "docs"
PROGRAMS = {program.title: program for program in table().programs}
ROWS = [(title, row) for title, program in PROGRAMS.items() for row in program.rows]
BROWSERS = (
    "Firefox, LibreWolf, Waterfox",
    "Chromium, Chrome, Brave, Edge, Opera, Vivaldi",
    "qutebrowser",
    "Falkon",
    "GNOME Web and others that use WebKitGTK",
    "Lynx",
    "Links",
    "w3m, ELinks, NetSurf",
)
ASKED_FOR = (
    *("curl", "git", "pip", "requests", "urllib3", "httpx", "aiohttp-socks", "PySocks", "socks-proxy-agent", "undici"),
    *("Go", "Java", "apt", "ssh", "nc", "socat", "wget", "Lynx", "Links", "privoxy", "proxychains4", "torsocks"),
    *("Electron", "Firefox", "Thunderbird", "Chromium", "Chrome", "Brave", "Edge", "Tor Browser", "systemd-resolved"),
)

SMALL = """
format = 1
date = 2026-11-22
[[program]]
title = "curl"
names = ["curl"]
[[program.row]]
found = ["address_only.socks5"]
advice = "curl.socks5"
source = "curl(1)"
"""


def test_a_table_is_read() -> None:
    row = Row(("address_only.socks5",), "curl.socks5", "curl(1)")
    assert read(SMALL) == Table("2026-11-22", (Program("curl", (row,), names=("curl",)),))


def test_how_a_typed_address_is_sent_is_one_of_what_is_understood() -> None:
    assert {program.typed for program in PROGRAMS.values()} == set(get_args(Custom))
    assert PROGRAMS["Tor Browser"].typed == PROGRAMS["Firefox, LibreWolf, Waterfox"].typed == "text"
    assert PROGRAMS["curl"].typed == "alike"


def test_another_form_of_the_file_is_refused() -> None:
    with pytest.raises(ValueError, match="another format"):
        read(SMALL.replace("format = 1", f"format = {FORMAT + 1}"))


def test_a_key_that_does_not_belong_is_refused() -> None:
    with pytest.raises(TypeError):
        read(SMALL + 'sauce = "none"\n')


def test_the_table_is_dated() -> None:
    assert datetime.date(2026, 11, 22) <= datetime.date.fromisoformat(table().date) <= datetime.date(2100, 1, 1)


def test_all_programs_that_were_asked_for_are_in_it() -> None:
    text = " ".join([*PROGRAMS, *(row.source for _, row in ROWS)])
    assert [name for name in ASKED_FOR if name not in text] == []


@pytest.mark.parametrize(("title", "row"), ROWS, ids=[f"{title}: {row.found[0]}" for title, row in ROWS])
class TestEachRow:
    def test_it_stands_in_for_advice_that_findings_bear(self, title: str, row: Row) -> None:
        assert {GENERAL + general for general in row.found} <= ADVICE_IDS

    def test_no_other_row_of_the_program_says_the_same(self, title: str, row: Row) -> None:
        found = Counter(general for each in PROGRAMS[title].rows for general in each.found)
        assert {found[general] for general in row.found} == {1}

    def test_it_says_where_it_is_known_from(self, title: str, row: Row) -> None:
        assert row.source.strip() == row.source != ""

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_its_advice_can_be_read(self, title: str, row: Row, lang: str) -> None:
        text = catalogue(lang).text(EXACT + row.advice)
        assert not text.endswith((".", "。", " "))
        assert not re.search(r"[{}\n]", text)
        assert len(text) < 500

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_a_browser_is_first_told_to_be_another(self, title: str, row: Row, lang: str) -> None:
        first = {"en": "use Tor Browser", "ja": "Tor Browser を使ってください"}[lang]
        assert catalogue(lang).text(EXACT + row.advice).startswith(first) is (title in BROWSERS)


@pytest.mark.parametrize(("title", "row"), ROWS, ids=[f"{title}: {row.found[0]}" for title, row in ROWS])
def test_both_languages_name_the_same_settings(title: str, row: Row) -> None:
    """What is typed in a terminal or a settings page, or looked for in a manual, is no matter of language."""
    english, japanese = (set(settings(catalogue(lang).text(EXACT + row.advice))) for lang in LANGUAGES)
    assert english == japanese


def settings(text: str) -> list[str]:
    return re.findall(
        r"(?<![\w-])--?[a-z0-9][\w-]*|\w+://|\w+(?:\.\w+){2,}|[A-Z]+_[A-Z]+|\w+=\w+|\w+\(\)", text, re.ASCII
    )


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate_advice.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("generate_advice", DOCS / "generate_advice.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate_advice"] = module
    spec.loader.exec_module(module)
    return module


class TestThePages:
    """docs/advice.md, in both languages, against the table."""

    @pytest.mark.parametrize("number", range(len(LANGUAGES)), ids=LANGUAGES)
    def test_its_tables_are_generated(self, generate: ModuleType, number: int) -> None:
        words = generate.PAGES[number]
        assert words.lang == LANGUAGES[number]
        text = words.path.read_text(encoding="utf-8")
        assert generate.page(words) == text, "run `make docs`"
        assert f"\n{table().date}" in text or f" {table().date}" in text, "the words around them are of another date"
        assert all(f"\n## {title}\n" in text for title in PROGRAMS)

    def test_a_page_without_marks_is_told(self, generate: ModuleType, tmp_path: Path) -> None:
        bare = tmp_path / "advice.md"
        bare.write_text("# What to change\n", encoding="utf-8")
        words = generate.PAGES[0]
        with pytest.raises(ValueError, match="marks"):
            generate.page(replace(words, path=bare))

    def test_writing_again_changes_nothing(
        self, generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pages = []
        for words in generate.PAGES:
            copy = tmp_path / f"{words.lang}.md"
            copy.write_text(words.path.read_text(encoding="utf-8"), encoding="utf-8")
            pages.append(replace(words, path=copy))
        monkeypatch.setattr(generate, "PAGES", tuple(pages))
        before = [words.path.read_text(encoding="utf-8") for words in pages]
        generate.write()
        assert [words.path.read_text(encoding="utf-8") for words in pages] == before
