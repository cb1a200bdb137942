"""Puts what was measured into the documentation: between two marks of a page, and beside it as picture and data.

Writes nothing that a run has not written before, and leaves the rest of the page alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def between(page: Path, mark: str, text: str) -> None:
    """Replace what stands between `<!-- MARK: begin -->` and `<!-- MARK: end -->`."""
    begin, end = (f"<!-- {mark}: {side} -->" for side in ("begin", "end"))
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def everything(results: Path, docs: Path) -> None:
    """What run.py has written into `results`."""
    between(docs / "benchmarks.md", "measured", (results / "benchmarks.md").read_text())
    (docs / "images" / "benchmarks.svg").write_text((results / "benchmarks.svg").read_text())
    record = json.loads((results / "benchmarks.json").read_text())
    (docs / "benchmarks.json").write_text(compact(record))


def compact(record: dict[str, Any]) -> str:
    """The same data with one sample a line, figures to five digits and nothing that is empty."""
    samples = record.pop("samples")
    lines = [json.dumps(_short(sample)) for sample in samples]
    head = json.dumps(record, indent=1).removesuffix("\n}")
    return f'{head},\n "samples": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"


def _short(sample: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in sample.items() if value or key == "round"}
    return {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in kept.items()}
