"""Writes the tables of docs/advice.md and docs/ja/advice.md from shim/advice/programs.toml and the catalogues.

`make docs` runs it. Whatever stands outside the marks of a page is written by hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from shim.advice import Program, Row, table
from shim.judge.remedies import EXACT
from shim.locale import Catalogue, catalogue

ROOT = Path(__file__).parents[1]

_MARKED = re.compile(r"(<!-- [^\n]*generate_advice\.py[^\n]* -->\n).*(\n<!-- [^\n]* -->)", re.DOTALL)


@dataclass(frozen=True)
class Words:
    """One language's page and the words of its tables.

    `known_by` says how a program is known by a field of its entry, `nobody` that it is not.
    """

    lang: str
    path: Path
    columns: tuple[str, ...]
    known_by: dict[str, str]
    nobody: str
    stop: str
    comma: str


PAGES = (
    Words(
        "en",
        ROOT / "docs" / "advice.md",
        ("Advice in place of", "What to change", "Versions", "Known from", "Tried with"),
        {
            "names": "Executable",
            "paths": "Path",
            "scripts": "Script of an interpreter",
            "titles": "Process title",
            "wrappers": "Preloaded into any program",
            "reasons": "`process_reason`",
            "offers": "A hint only, from what is offered in the SOCKS handshake",
        },
        "Not recognised: it works inside programs of other names.",
        ". ",
        ", ",
    ),
    Words(
        "ja",
        ROOT / "docs" / "ja" / "advice.md",
        ("置き換える一般的な対策", "対策", "バージョン", "出典", "確認済み"),
        {
            "names": "実行ファイル",
            "paths": "パス",
            "scripts": "インタプリタのスクリプト",
            "titles": "プロセスのタイトル",
            "wrappers": "プログラムに事前読み込みされるライブラリ",
            "reasons": "`process_reason`",
            "offers": "SOCKS のハンドシェイクで提示されたものからの推測にすぎません",
        },
        "判別できません。それぞれ別の名前を持つプログラムの中で使われます。",
        "。",
        "、",
    ),
)


def page(words: Words) -> str:
    """One language's page, with its tables as they must be."""
    texts = catalogue(words.lang)
    tables = "\n".join(_section(program, words, texts) for program in table().programs)
    text, count = _MARKED.subn(lambda found: f"{found[1]}\n{tables}{found[2]}", words.path.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError("the page has lost its marks")
    return text


def _section(program: Program, words: Words, texts: Catalogue) -> str:
    rows = [_row(row, texts) for row in program.rows]
    lines = [f"| {' | '.join(words.columns)} |", f"|{' --- |' * len(words.columns)}", *rows]
    return "\n".join([f"## {program.title}", "", _known_by(program, words), "", *lines, ""])


def _known_by(program: Program, words: Words) -> str:
    known = {said: getattr(program, field) for field, said in words.known_by.items() if getattr(program, field)}
    quoted = {said: words.comma.join(f"`{pattern}`" for pattern in patterns) for said, patterns in known.items()}
    return "".join(f"{said}: {patterns}{words.stop}" for said, patterns in quoted.items()).strip() or words.nobody


def _row(row: Row, texts: Catalogue) -> str:
    found = " ".join(f"`advice.{general}`" for general in row.found)
    cells = (texts.text(EXACT + row.advice), row.versions, row.source, row.tried)
    return f"| {found} | {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    return re.sub(r"([|*~<])", r"\\\1", text)


def write() -> None:
    """Write both pages again."""
    for words in PAGES:
        words.path.write_text(page(words), encoding="utf-8")


if __name__ == "__main__":
    write()
