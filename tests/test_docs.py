"""The written word against the code: example file, generated pages, container file."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from shim import __version__
from shim.cli import commands
from shim.cli.health import DEFAULT_ADDRESS
from shim.config import Config, as_toml, changes, load
from shim.config.problems import KEYS
from shim.config.views import flat
from shim.locale import catalogue

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "config.example.toml"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


def test_the_example_file_is_exactly_the_defaults() -> None:
    assert changes(load(EXAMPLE), Config()) == ()
    tables = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    written = {f"{section}.{key}": value for section, table in tables.items() for key, value in table.items()}
    assert list(written) == list(KEYS)
    assert written == flat(Config())


def test_the_example_file_explains_each_setting() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        if re.match(r"\w+ = ", line):
            assert before.startswith("## "), line
    assert max(map(len, lines)) <= 120


def test_the_example_file_writes_values_as_the_program_does() -> None:
    live = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("##")]
    assert live == [line for line in as_toml(Config()).splitlines() if line]


def test_the_page_of_settings_is_generated(generate: ModuleType, tmp_path: Path) -> None:
    page = generate.configuration_page(generate.sample_problems(tmp_path))
    assert generate.CONFIGURATION.read_text(encoding="utf-8") == page, "run `make docs`"
    assert all(f"| `{key.partition('.')[2]}`" in page for key in KEYS)


def test_the_page_of_commands_is_generated(generate: ModuleType) -> None:
    page = generate.cli_page()
    assert generate.CLI.read_text(encoding="utf-8") == page, "run `make docs`"
    for name, command in commands(catalogue("en")).commands.items():
        assert f"\n## shim {name}\n" in page
        assert all(f"`{option}" in page for parameter in command.params for option in parameter.opts if "--" in option)


def test_writing_the_pages_again_changes_nothing(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {name: getattr(generate, name).read_text(encoding="utf-8") for name in ("CONFIGURATION", "CLI")}
    for name in pages:
        monkeypatch.setattr(generate, name, tmp_path / name)
    generate.write(tmp_path)
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in pages} == pages


def test_the_changelog_has_a_place_for_what_comes() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## Unreleased$|^## " + re.escape(__version__), text, re.MULTILINE)


def test_the_container_runs_as_nobody_and_says_how_it_is() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert len(stages) == 2
    final = stages[-1]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert min(map(int, user)) > 0
    assert re.search(r'^ENTRYPOINT \["/[^"]*/shim"\]$', final, re.MULTILINE)
    assert re.search(r'^CMD \["run"\]$', final, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", final, re.MULTILINE)
    assert re.search(r'^HEALTHCHECK .*\\\n\s+CMD \["/[^"]*/shim", "health"\]$', final, re.MULTILINE)
    assert "EXPOSE" not in text


def test_the_container_is_built_from_what_it_needs() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "*"
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {f"!{name}" for line in copied for name in line.split()} <= set(ignored)


def test_the_default_of_health_is_the_default_listener() -> None:
    assert str(Config().listen.socks[0]) == DEFAULT_ADDRESS
