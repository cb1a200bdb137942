"""The published benchmark is what its data says; and a run's reports bear peers that failed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

if not (ROOT / "bench").is_dir():
    pytest.skip("needs bench/, which the source archive leaves out", allow_module_level=True)


class Modules:
    """Those of bench/, which is no package."""

    def __init__(self) -> None:
        self.plot: ModuleType = __import__("plot")
        self.publish: ModuleType = __import__("publish")
        self.report: ModuleType = __import__("report")
        self.features: ModuleType = __import__("features")


@pytest.fixture(scope="module")
def bench() -> Modules:
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        return Modules()
    finally:
        sys.path.remove(str(ROOT / "bench"))


def sample(peer: str, number: int, cpu: float | None, rate: float, **more: Any) -> dict[str, Any]:
    return {"test": "setup", "peer": peer, "round": number, "cpu": cpu, "rate": rate, "count": 100, **more}


@pytest.fixture
def record() -> dict[str, Any]:
    """Two rounds, in the second of which haproxy failed."""
    peers = ("shim", "direct", "haproxy", "shim-warning")
    return {
        "date": "2026-01-01 00:00 UTC",
        "machine": {"cpu": "C <P> & U", "cores": 2, "kernel": "6", "python": "3.11", "congestion": "reno"},
        "rounds": 2,
        "seconds": 1.0,
        "peers": {name: {"kind": "chains", "version": ""} for name in peers},
        "left_out": {"dante": "dante is not on PATH"},
        "verify": {},
        "syscalls": {},
        "samples": [
            sample("shim", 0, 150e-6, 5000.0),
            sample("haproxy", 0, 100e-6, 4000.0),
            sample("direct", 0, None, 10000.0),
            sample("shim-warning", 0, 120e-6, 5500.0),
            sample("shim", 1, 400e-6, 900.0),
            sample("haproxy", 1, 1e-6, 1.0, errors=1, first_error="closed"),
            sample("direct", 1, None, 1000.0),
        ],
    }


def test_the_published_page_and_picture_are_made_of_the_published_data(bench: Modules) -> None:
    data = json.loads((DOCS / "benchmarks.json").read_text(encoding="utf-8"))
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert bench.report.markdown(data).strip() in page, "run bench/run.py --publish; figures are never typed by hand"
    assert bench.plot.svg(data) == (DOCS / "images" / "benchmarks.svg").read_text(encoding="utf-8")


def test_ratios_are_of_one_round_and_a_failed_one_counts_for_nothing(bench: Modules, record: dict[str, Any]) -> None:
    text = bench.report.markdown(record)
    assert "| CPU per connection | haproxy | ≤ 1.4 | 1.50 | **no** |" in text
    assert "haproxy: one round not counted (closed)." in text
    assert "Left out: dante (dante is not on PATH)." in text
    warning = next(line for line in text.splitlines() if line.startswith("| `shim-warning`"))
    assert "| 120 (120) | 0.80 | 1.10 |" in warning


def test_the_picture_is_well_formed_whatever_it_shows(bench: Modules, record: dict[str, Any]) -> None:
    root = ElementTree.fromstring(bench.plot.svg(record))
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any("C <P> & U" in text for text in texts)
    assert "haproxy" in texts
    record["samples"] = []
    ElementTree.fromstring(bench.plot.svg(record))


def test_what_is_left_out_of_the_data_is_not_missed(bench: Modules, record: dict[str, Any]) -> None:
    said = bench.report.markdown(record)
    short = json.loads(bench.publish.compact(record))
    assert bench.report.markdown(short) == said


def test_a_page_keeps_all_that_was_written_by_hand(bench: Modules, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- dns: begin -->\nold\n<!-- dns: end -->\nafter\n")
    for _ in range(2):
        bench.publish.between(page, "dns", "new\n")
        assert page.read_text() == "before\n<!-- dns: begin -->\n\nnew\n\n<!-- dns: end -->\nafter\n"
    with pytest.raises(ValueError, match="workers"):
        bench.publish.between(page, "workers", "new")


def test_each_feature_is_compared_with_a_row_that_there_is(bench: Modules) -> None:
    rows = bench.features.rows({"mine": "--mode block"})
    assert "mine" in rows
    assert {feature.than for feature in bench.features.FEATURES.values()} <= set(rows)
