"""The house keeps its floors: an import between the folders of shim/ only goes down, and the pure ones stay pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "shim").rglob("*.py"))

# From the top of the house to the ground. Parts of one floor do not import each other, but on the ground.
FLOORS = [
    {"cli", "__main__", "pytest_plugin"},
    {"testing"},
    {"web"},
    {"lab", "doctor", "setup"},
    {"app"},
    {"service"},
    {"parts"},
    {"eyes", "around", "guardian"},
    {"proxy", "sensor", "witness", "record", "tor", "workers", "sandbox", "health", "replay"},
    {"judge", "protocol"},
    {"value", "model", "events", "errors", "config", "policy", "rule", "address", "spelling", "locale", "advice", ""},
]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}
GROUND = len(FLOORS) - 1

PURE = {"judge", "protocol"}
IMPURE = {
    "asyncio",
    "asyncio_dgram",
    "click",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "selectors",
    "socket",
    "sqlite3",
    "structlog",
    "subprocess",
    "threading",
    "time",
    "uvloop",
}
ONLY_FOR = {"lab": {"cli", "testing"}, "doctor": {"cli"}, "setup": {"cli"}}


def part_of(module: str) -> str:
    """The folder or ground-floor module of a dotted name; "" for the package itself, which holds the version."""
    return module.split(".")[1] if "." in module else ""


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str) -> Iterator[str]:
    """Dotted names of all that a source imports, wherever in it. `from shim import x` counts as shim.x."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            if node.module == "shim":
                yield from ("shim" if alias.name.startswith("__") else f"shim.{alias.name}" for alias in node.names)
            else:
                yield node.module


def violations(module: str, source: str) -> list[str]:
    """What a module imports though it may not."""
    here = part_of(module)
    return [name for name in imports(source) if not _may(here, name)]


def _may(here: str, name: str) -> bool:
    top = name.partition(".")[0]
    if top != "shim":
        return here not in PURE or top not in IMPURE
    there = part_of(name)
    if there in ONLY_FOR and here not in ONLY_FOR[there] | {there}:
        return False
    return there == here or FLOOR[there] > FLOOR[here] or FLOOR[here] == FLOOR[there] == GROUND


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_only_go_down(path: Path) -> None:
    module = module_of(path)
    assert part_of(module) in FLOOR, "a new part of the house needs a floor"
    assert violations(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "forbidden"),
    [
        ("shim.judge.decide", "import time", ["time"]),
        ("shim.judge.decide", "from socket import socket", ["socket"]),
        ("shim.protocol.socks", "def f():\n    import os.path", ["os.path"]),
        ("shim.protocol.socks", "from shim.judge import decide", ["shim.judge"]),
        ("shim.judge.decide", "from shim.proxy.session import Session", ["shim.proxy.session"]),
        ("shim.model", "from shim.judge.decide import decide", ["shim.judge.decide"]),
        ("shim.proxy.session", "import shim.record.bus", ["shim.record.bus"]),
        ("shim.proxy.session", "from shim import app", ["shim.app"]),
        ("shim.app", "from shim.lab import check", ["shim.lab"]),
        ("shim.web.page", "from shim.lab import check", ["shim.lab"]),
        ("shim.cli", "from shim.lab import check\nfrom shim.app import App", []),
        ("shim.lab.check", "from shim.lab.report import Report", []),
        ("shim.proxy.session", "import socket\nfrom shim.judge.judge import Judge\nfrom shim.model import Request", []),
        ("shim.policy", "from shim.model import Mode", []),
        ("shim.judge.decide", "from shim.judge.hosts import canonical\nimport re", []),
        ("shim.record.log", "from shim import __version__", []),
    ],
)
def test_the_rule_itself(module: str, source: str, forbidden: list[str]) -> None:
    assert violations(module, source) == forbidden
