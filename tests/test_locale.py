"""Message catalogues: both languages say the same things, everything said exists, nothing unsaid is kept."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from shim.advice import table
from shim.locale import FALLBACK, LANGUAGES, Catalogue, catalogue, preferred_language

SHIM = Path(__file__).parents[1] / "shim"
ENGLISH = catalogue("en")
PREFIXES = {message_id.partition(".")[0] for message_id in ENGLISH.ids()}
_ID = re.compile(r"[a-z]+(\.[a-z0-9_]+)+")
_ANY = "[a-z0-9_.]+"


def said() -> Iterator[str]:
    """A pattern for every string in the code that has the form of a message id; an f-string's fields match anything."""
    for path in SHIM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if _ID.fullmatch(node.value) and node.value.partition(".")[0] in PREFIXES:
                    yield re.escape(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                if isinstance(parts[0], str) and parts[0].partition(".")[0] in PREFIXES and "." in parts[0]:
                    yield "".join(_ANY if part is None else re.escape(str(part)) for part in parts)
    yield from (re.escape("advice.for." + row.advice) for program in table().programs for row in program.rows)


SAID = sorted(set(said()))


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_there_is_something_to_look_at() -> None:
    assert len(SAID) > 50
    assert {"cli", "config", "reason"} <= PREFIXES


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_catalogue_is_sorted_plain_and_whole(lang: str) -> None:
    text = (SHIM / "locale" / f"{lang}.json").read_text(encoding="utf-8")
    texts = json.loads(text)
    assert text == json.dumps(dict(sorted(texts.items())), ensure_ascii=False, indent=2) + "\n"
    assert catalogue(lang).ids() == ENGLISH.ids()
    assert all(isinstance(each, str) and each and each.isprintable() for each in texts.values())


SPELT_OTHERWISE = re.compile(
    "サーバー|リゾルバー|ブラウザー|フォルダー|フィルター|ユーザー|メモリー|漏えい|マシン|"
    "確度|分か(?!れて)|対処|クエリ|発行|(?<!一般)ユーザ(?!名|ー)|(?<!その)他の|"
    r"[ぁ-んァ-ヶ一-龥] ?\([^)]*\)|\([^)]*[ぁ-んァ-ヶ一-龥][^)]*\)"
)
"""Words that have another spelling or another word here, and half-width brackets in a Japanese sentence.

Kept are 分かれて (in parts), and ユーザ where it belongs to a term: ユーザ名, ユーザ名前空間, 一般ユーザ.
"""

_CODE = re.compile(r"```.*?```|`[^`]*`|<!--.*?-->|\]\([^)]*\)", re.DOTALL)
ROOT = SHIM.parent
JAPANESE = (
    SHIM / "locale" / "ja.json",
    *sorted((SHIM / "lab" / "survey" / "clients").glob("*.toml")),
    *sorted((ROOT / "docs" / "ja").glob("*.md")),
    ROOT / "docs" / "survey" / "survey.ja.md",
    ROOT / "README.ja.md",
)


@pytest.mark.parametrize("page", JAPANESE, ids=lambda page: page.name)
def test_the_japanese_has_one_spelling(page: Path) -> None:
    assert SPELT_OTHERWISE.findall(_CODE.sub("", page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("message_id", sorted(ENGLISH.ids()))
def test_both_languages_have_the_same_fields(message_id: str) -> None:
    raw = {lang: json.loads((SHIM / "locale" / f"{lang}.json").read_text(encoding="utf-8")) for lang in LANGUAGES}
    assert len({frozenset(fields(texts[message_id])) for texts in raw.values()}) == 1


@pytest.mark.parametrize("pattern", SAID)
def test_what_the_code_says_is_in_the_catalogue(pattern: str) -> None:
    assert any(re.fullmatch(pattern, message_id) for message_id in ENGLISH.ids())


@pytest.mark.parametrize("message_id", sorted(ENGLISH.ids()))
def test_what_is_in_the_catalogue_is_said(message_id: str) -> None:
    assert any(re.fullmatch(pattern, message_id) for pattern in SAID)


def test_fields_are_filled_in_once() -> None:
    texts = Catalogue("en", {"a.b": "{one} and {two}", "a.c": "a {brace"})
    assert texts.text("a.b", one="{two}", two=2) == "{two} and 2"
    assert texts.text("a.c") == "a {brace"
    assert ("a.b" in texts, "a.x" in texts, texts.ids()) == (True, False, frozenset({"a.b", "a.c"}))
    with pytest.raises(KeyError):
        texts.text("a.x")


@pytest.mark.parametrize(
    ("environ", "lang"),
    [
        ({}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja"}, "ja"),
        ({"LANG": "JA_jp"}, "ja"),
        ({"LC_MESSAGES": "ja_JP", "LANG": "en_GB"}, "ja"),
        ({"LC_ALL": "C", "LC_MESSAGES": "ja_JP"}, "en"),
        ({"LC_ALL": "", "LANG": "ja_JP"}, "ja"),
        ({"LANG": "fr_FR"}, FALLBACK),
    ],
)
def test_the_language_of_the_environment(environ: dict[str, str], lang: str) -> None:
    assert preferred_language(environ) == lang
