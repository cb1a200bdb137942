"""The threat model names a control and a test for each threat, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "threat-model.md").read_text(encoding="utf-8")
ROWS = {
    cells[0]: cells[1:]
    for line in PAGE.splitlines()
    if re.match(r"\| T\d\d \|", line) and (cells := [cell.strip() for cell in line.strip("|").split(" | ")])
}


def test_all_seventeen_are_there_in_order() -> None:
    assert list(ROWS) == [f"T{number:02}" for number in range(1, 18)]


@pytest.mark.parametrize("threat", ROWS)
def test_each_has_a_control_and_a_test(threat: str) -> None:
    what, control, shown = ROWS[threat]
    assert what and control
    assert re.search(r"`test_\w+\.py`", shown)


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(test_\w+)(\.py)?`", PAGE)
    assert named
    files, functions = ([name for name, suffix in named if bool(suffix) is wanted] for wanted in (True, False))
    assert [name for name in files if not (TESTS / f"{name}.py").exists()] == []
    written = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    assert [name for name in functions if f"def {name}(" not in written] == []


def test_a_function_stands_in_the_file_before_it() -> None:
    for file, inside in re.findall(r"`(test_\w+\.py)` \(([^)]*`test_\w+`[^)]*)\)", PAGE):
        text = (TESTS / file).read_text(encoding="utf-8")
        assert all(f"def {name}(" in text for name in re.findall(r"`(test_\w+)`", inside)), file
