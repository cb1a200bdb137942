"""The written word against the code: example file, generated and hand-written pages, container file."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from samples import SAMPLES

from shim import __version__
from shim.cli import commands
from shim.cli.health import DEFAULT_ADDRESS
from shim.config import Config, as_toml, changes, load
from shim.config.problems import KEYS
from shim.config.views import RULES, flat
from shim.events import Event
from shim.judge.advice import ADVICE_IDS
from shim.locale import catalogue
from shim.model import Confidence, Exposure, LeakKind
from shim.protocol import socks_server
from shim.proxy import upstream
from shim.record.fields import View, fields
from shim.rule import EFFECTS, MATCHERS

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "config.example.toml"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


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
    assert list(written) == [key for key in KEYS if key != RULES]
    assert written | {RULES: []} == flat(Config())


def test_the_rules_of_the_example_file_are_rules_and_every_key_is_explained(tmp_path: Path) -> None:
    section = EXAMPLE.read_text(encoding="utf-8").split(f"##  {RULES}: ")[1].split("\n\n")[0]
    file = tmp_path / "shim.toml"
    file.write_text("\n".join(line[5:] for line in section.splitlines() if line.startswith("##   ")), encoding="utf-8")
    assert len(load(file).policy.rule) == 3
    assert re.findall(r"^## (\w+): ", section, re.MULTILINE) == [*MATCHERS, *EFFECTS]


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
    assert all(f"| `{key.partition('.')[2]}`" in page for key in KEYS if key != RULES)
    assert all(f"| `{key}` |" in page.partition(f"[[{RULES}]]`:")[2] for key in (*MATCHERS, *EFFECTS))


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


class TestTheLog:
    """docs/events.md against what the code can write."""

    def test_every_event_has_a_row_with_its_name_class_level_and_keys(self) -> None:
        rows = {row[0]: row for row in table("events.md", "Events")}
        view = View(reveal=True, catalogue=catalogue("en"))
        assert {type(sample) for sample in SAMPLES} == set(get_args(Event)), "tests/samples.py lacks an event"
        for sample in SAMPLES:
            level, name, keys = fields(sample, view)
            row = rows[name]
            assert row[1:3] == [type(sample).__name__, level], name
            assert set(keys) <= set(row[3].split()), name
        assert {row[1] for row in rows.values()} == {event.__name__ for event in get_args(Event)}

    def test_every_key_is_explained(self) -> None:
        keys = {key for row in table("events.md", "Events", plain=False) for key in re.findall(r"`(\w+)`", row[3])}
        assert keys == set(codes("events.md", "Keys"))

    @pytest.mark.parametrize(
        ("title", "where", "calls"),
        [
            ("Reasons of a decision", "judge/*", {"Decision": 1}),
            ("Errors of a handshake", "protocol/socks_server*", {"_broken": 0}),
            ("Errors of a handshake", "protocol/socks4*", {"ProtocolError": 0}),
            ("Errors of a handshake", "protocol/http_connect*", {"ProtocolError": 0, "_bad": 0}),
            ("Errors of a handshake", "proxy/session*", {"_fail_handshake": 0}),
            ("Errors of the upstream", "protocol/socks_client*", {"UpstreamError": 0, "_broken": 0}),
            ("Errors of the upstream", "proxy/*", {"upstream_failed": 0, "_fail": 0, "UpstreamFailed": 2}),
            ("Errors of the upstream", "tor/*", {"UpstreamFailed": 2}),
            ("Errors of the control port", "tor/*", {"ControlError": 0, "_fail": 0}),
            ("Reasons of an end", "proxy/*", {"_close": 0, "_refuse": 1, "abort": 0, "end": 2, "Side": 0}),
            ("Reasons of an end", "proxy/relay*", {"Side": 1}),
        ],
    )
    def test_every_code_that_the_code_can_give_is_explained(
        self, title: str, where: str, calls: dict[str, int]
    ) -> None:
        found = passed_texts(where, calls)
        assert found, "scanned in vain"
        assert found <= set(codes("events.md", title))

    def test_codes_that_stand_in_tables_of_the_code_are_explained(self) -> None:
        assert {error for _, error in socks_server._HEAD_RULES} <= set(codes("events.md", "Errors of a handshake"))
        assert set(upstream._CODES.values()) <= set(codes("events.md", "Errors of the upstream"))
        assert set(Exposure) == set(codes("events.md", "Exposure"))

    def test_every_limit_is_explained(self) -> None:
        source = (ROOT / "shim" / "proxy" / "quota.py").read_text(encoding="utf-8")
        assert set(re.findall(r'return "(\w+)"', source)) == set(codes("events.md", "Limits"))


@pytest.mark.parametrize("page", ["leaks.md", "ja/leaks.md"])
class TestTheLeaks:
    """docs/leaks.md, in both languages, against the judge."""

    def test_every_kind_that_can_be_found_is_described(self, page: str) -> None:
        described = set(re.findall(r"^### `(\w+)`$", read(page), re.MULTILINE))
        assert {str(LeakKind[name]) for name in mentioned(r"LeakKind\.(\w+)")} <= described <= set(LeakKind)

    def test_every_rule_evidence_code_and_advice_is_named(self, page: str) -> None:
        text = read(page)
        findings = judged()
        assert findings
        for code in findings | ADVICE_IDS:
            assert re.search(rf"[`| ]{re.escape(code)}[`|:; ,)]", text), code

    def test_every_confidence_is_explained(self, page: str) -> None:
        assert all(f"| `{confidence}` |" in read(page) for confidence in Confidence)


@pytest.mark.parametrize("page", [path.relative_to(ROOT) for path in PAGES], ids=str)
def test_what_a_page_refers_to_is_there_and_no_path_of_one_machine_is_named(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)", text):
        linked = (ROOT / page).parent / target if target else ROOT / page
        assert linked.exists(), f"{target}: no such file"
        assert not anchor or anchor[1:] in anchors(linked), f"{target}{anchor}: no such heading"
    for name in re.findall(r"`(?:tests/)?(test_\w+\.py)`", text):
        assert (ROOT / "tests" / name).exists(), f"{name}: no such test"
    assert not re.search(r"/(?:root|home/\w+|tmp)/", text)


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def table(page: str, title: str, *, plain: bool = True) -> list[list[str]]:
    """The rows below a heading, cell by cell; `plain` takes away code marks and commas."""
    section = re.split(rf"^## {re.escape(title)}$", read(page), flags=re.MULTILINE)[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")][2:]
    return [[re.sub("[`,;]", "", cell) for cell in row] for row in rows] if plain else rows


def codes(page: str, title: str) -> list[str]:
    """What stands in code marks in the first cells of a table."""
    return [code for row in table(page, title, plain=False) for code in re.findall(r"`(\w+)`", row[0])]


def anchors(path: Path) -> set[str]:
    """The names that headings get: lower case, without marks, spaces as hyphens."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sources(where: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted((ROOT / "shim").glob(where)) if path.suffix == ".py"]


def passed_texts(where: str, calls: dict[str, int]) -> set[str]:
    """Texts passed to functions of these names in these places, also behind a condition."""
    found = set()
    for node in (node for source in sources(where) for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in calls and len(node.args) > calls[name]:
                found |= {leaf.value for leaf in ast.walk(node.args[calls[name]]) if isinstance(leaf, ast.Constant)}
    return {text for text in found if isinstance(text, str) and re.fullmatch(r"[a-z0-9_]+", text)}


def mentioned(pattern: str) -> set[str]:
    return {found for source in sources("judge/*") for found in re.findall(pattern, source)}


def judged() -> set[str]:
    """Rules and evidence codes of the judge: the texts of these modules that look like one, but for names of slots."""
    trees = [ast.parse(source) for where in ("[bcfopq]*", "reconcile*") for source in sources(f"judge/{where}.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    slots = {id(leaf) for node in nodes if _is_slots(node) for leaf in ast.walk(node)}
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in slots]
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"L\d\d|[a-z0-9]+(_[a-z0-9]+)+", text)}


def _is_slots(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__slots__"
