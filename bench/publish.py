"""Puts what was measured into the documentation: between two marks of a page, and beside it as picture and data.

Writes nothing that a run has not written before, and leaves the rest of the page alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import plot
import report
from figures import UNSAID, Record


def between(page: Path, mark: str, text: str) -> None:
    """Replace what stands between `<!-- MARK: begin -->` and `<!-- MARK: end -->`."""
    begin, end = (f"<!-- {mark}: {side} -->" for side in ("begin", "end"))
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def everything(results: Path, docs: Path) -> None:
    """What run.py has written into `results`: the data, and page and picture made of just those."""
    text = compact(json.loads((results / "benchmarks.json").read_text()))
    record = json.loads(text)
    (docs / "benchmarks.json").write_text(text)
    between(docs / "benchmarks.md", "measured", report.markdown(record))
    (docs / "images" / "benchmarks.svg").write_text(plot.svg(record))


def compact(record: Record) -> str:
    """The same data with one sample a line, figures to five digits, and nothing that goes without saying."""
    samples = record.pop("samples")
    lines = [json.dumps(_short(sample)) for sample in samples]
    head = json.dumps(record, indent=1).removesuffix("\n}")
    return f'{head},\n "samples": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"


def _short(sample: Record) -> Record:
    kept = {key: value for key, value in sample.items() if key not in UNSAID or value != UNSAID[key]}
    return {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in kept.items()}
