"""The pages in Japanese against those in English: they lead to each other, and the limits say the same.

Their spelling is looked at by `test_locale.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IN_JAPANESE = sorted(path.name for path in (ROOT / "docs" / "ja").glob("*.md"))


@pytest.mark.parametrize("name", IN_JAPANESE)
def test_a_page_and_its_japanese_lead_to_each_other(name: str) -> None:
    assert read(f"docs/{name}").splitlines()[2] == f"[日本語](ja/{name})"
    assert read(f"docs/ja/{name}").splitlines()[2] == f"[English](../{name})"


@pytest.mark.parametrize("page", ["README.ja.md", *(f"docs/ja/{name}" for name in IN_JAPANESE)])
def test_a_japanese_page_leads_to_japanese_pages_where_there_are_any(page: str) -> None:
    own = Path(page).name
    for name in re.findall(r"\]\((?:\.\./|docs/)([\w-]+\.md)", read(page)):
        assert name == own or name not in IN_JAPANESE, f"{name}: exists in Japanese"


def test_the_limits_have_the_same_rows_with_the_same_figures_and_code() -> None:
    english = rows_and_points("docs/limits.md", "Under load")
    japanese = rows_and_points("docs/ja/limits.md", "負荷をかけたとき")
    assert len(english) == len(japanese) > 50
    for row, translated in zip(english, japanese, strict=True):
        assert figures_and_code(row) <= figures_and_code(translated), row


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def rows_and_points(page: str, until: str) -> list[str]:
    """The rows of all tables and the points of all lists before a heading, each on one line."""
    before, _, _ = read(page).partition(f"\n## {until}\n")
    return [line for line in re.sub(r"\n  +", " ", before).splitlines() if line.startswith(("| ", "- "))]


def figures_and_code(text: str) -> set[str]:
    """Numbers, and what stands in code marks; nothing of where links lead."""
    return set(re.findall(r"`[^`]+`|\d[\d,.]*\d|\d", re.sub(r"\]\([^)]*\)", "]", text)))
