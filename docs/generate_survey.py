"""Writes the pages of docs/survey from what was measured, docs/survey/survey.json: `make docs`.

Measures nothing: that is `make survey`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shim.lab.survey import table
from shim.lab.survey.keeping import read
from shim.locale import LANGUAGES, catalogue

SURVEY = Path(__file__).parent / "survey"


def pages() -> Iterator[tuple[Path, str]]:
    """Each page and what it must hold."""
    about, results = read(SURVEY / "survey.json")
    for lang in LANGUAGES:
        for form in ("md", "html"):
            yield SURVEY / f"survey.{lang}.{form}", table.render(form, results, about, catalogue(lang))


def main() -> None:
    """Write them all."""
    for path, text in pages():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
