"""The locks against pyproject.toml, the installation against the locks, and what is said of both."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.markers import Marker
from packaging.requirements import Requirement

from shim import __version__
from supply import licences, locks, sbom, verify
from supply.locks import Pin, canonical

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WANTED = {
    "base.lock": PROJECT["project"]["dependencies"],
    "build.lock": [*PROJECT["build-system"]["requires"], "setuptools"],  # which stem is built by
    "dev.lock": PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"],
    "fuzz.lock": PROJECT["project"]["optional-dependencies"]["fuzz"],
}
HERE = [lock for lock in WANTED if lock != "fuzz.lock"]
"""Installed wherever the tests run."""


def pins_here(lock: str) -> dict[str, Pin]:
    """The pins that are for this system."""
    applies = [pin for pin in locks.read(lock) if pin.marker is None or Marker(pin.marker).evaluate()]
    return {canonical(pin.name): pin for pin in applies}


class TestLocks:
    @pytest.mark.parametrize("lock", WANTED)
    def test_every_release_has_hashes_and_nothing_names_a_registry(self, lock: str) -> None:
        for pin in locks.read(lock):
            assert pin.hashes
            assert len(set(pin.hashes)) == len(pin.hashes)
        text = (locks.FOLDER / lock).read_text(encoding="utf-8")
        assert "://" not in text
        assert not re.search(r"^\s*-", text.replace("    --hash=", ""), re.MULTILINE), "an option"

    @pytest.mark.parametrize("lock", WANTED)
    def test_what_the_project_wants_is_pinned_within_its_range(self, lock: str) -> None:
        pins = pins_here(lock)
        for wanted in map(Requirement, WANTED[lock]):
            if wanted.marker is None or wanted.marker.evaluate():
                assert pins[canonical(wanted.name)].version in wanted.specifier, wanted

    @pytest.mark.parametrize("lock", HERE)
    def test_it_is_whole_and_holds_nothing_that_nobody_wants(self, lock: str) -> None:
        """By what the installed releases themselves want."""
        pins, reached = pins_here(lock), set[str]()
        waiting = [(canonical(wanted.name), frozenset(wanted.extras)) for wanted in map(Requirement, WANTED[lock])]
        seen: set[tuple[str, frozenset[str]]] = set()
        while waiting:
            name, extras = waiting.pop()
            if (name, extras) in seen:
                continue
            seen.add((name, extras))
            reached.add(name)
            for wanted in map(Requirement, requires(name) or ()):
                if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                    assert pins[canonical(wanted.name)].version in wanted.specifier, (name, wanted)
                    waiting.append((canonical(wanted.name), frozenset(wanted.extras)))
        assert set(pins) == reached

    def test_the_same_release_is_the_same_in_all(self) -> None:
        known: dict[tuple[str, str | None], Pin] = {}
        for lock in WANTED:
            for pin in locks.read(lock):
                before = known.setdefault((pin.name, pin.marker), pin)
                assert (before.version, before.hashes) == (pin.version, pin.hashes)

    @pytest.mark.parametrize(
        "text",
        [
            "--index-url somewhere\n",
            "click>=8\n",
            "click==8.5.1 \\\n    --hash=md5:00\n",
            "click @ file.whl\n",
        ],
    )
    def test_what_is_no_pin_is_refused(self, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "x.lock").write_text(text)
        monkeypatch.setattr(locks, "FOLDER", tmp_path)
        with pytest.raises(ValueError, match=r"x\.lock"):
            locks.read("x.lock")


class TestAudit:
    def test_what_is_installed_is_what_is_locked(self) -> None:
        """Whatever else somebody has installed beside it, by hand, is not the test's to judge."""
        for lock in HERE:
            for pin in pins_here(lock).values():
                assert distribution(pin.name).version == pin.version, "make test"

    def test_a_changed_file_a_lost_one_and_a_stranger_are_told(self, tmp_path: Path) -> None:
        info = tmp_path / "click-8.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: click\nVersion: 8.0\n")
        digest = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"  # of nothing
        (info / "RECORD").write_text(f"good.py,{digest},0\nchanged.py,{digest},0\ngone.py,{digest},0\nRECORD,,\n")
        (tmp_path / "good.py").touch()
        (tmp_path / "changed.py").write_text("import os\n")
        assert list(verify.problems([Distribution.at(info)])) == [
            "click 8.0: not in the locks",
            "click: changed.py was changed",
            "click: gone.py is gone",
        ]

    def test_it_says_how_much_it_has_looked_at(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verify, "distributions", lambda: [distribution("click")])
        assert verify.main() == 0
        assert re.fullmatch(r"audit: 1 distributions, \d+ files, 0 problems\n", capsys.readouterr().out)


def test_the_page_of_licences_is_current() -> None:
    page = licences.PAGE.read_text(encoding="utf-8")
    assert licences.with_table(page) == page, "run `make docs`"
    assert all(f"| {pin.name} | {pin.version} |" in page for pin in licences.shipped())


def test_every_licence_lets_the_shim_be_what_it_is() -> None:
    """Weak copyleft is borne where it ends at the file or the library."""
    words = {word for pin in licences.shipped() for word in re.findall(r"[A-Za-z0-9.-]+", licences.licence(pin.name))}
    assert words - {"AND", "OR"} <= {
        *("MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "PSF-2.0", "MPL-2.0", "LGPL-3.0-only")
    }


class TestBill:
    def test_it_is_by_the_schema_and_the_same_each_time(self) -> None:
        text = sbom.text()
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
        assert sbom.text() == text

    def test_it_lists_what_is_shipped_and_who_wants_it(self) -> None:
        bill = json.loads(sbom.text())
        assert bill["metadata"]["component"]["version"] == __version__
        shipped = {pin.purl: pin for pin in licences.shipped()}
        assert {part["purl"] for part in bill["components"]} == set(shipped)
        for part in bill["components"]:
            (source,) = part["externalReferences"]
            assert {digest["content"] for digest in source["hashes"]} == set(shipped[part["purl"]].hashes)
            assert part["licenses"]
        wants = {entry["ref"]: set(entry.get("dependsOn", ())) for entry in bill["dependencies"]}
        direct = {canonical(Requirement(text).name) for text in WANTED["base.lock"]} | set(licences.EXTRAS)
        assert {_name(ref) for ref in wants[f"pkg:pypi/leakshim@{__version__}"]} == direct

    def test_it_names_no_registry_and_no_date(self) -> None:
        bill = json.loads(sbom.text())
        assert "timestamp" not in bill["metadata"]
        addresses = set(re.findall(r'"\w+://[^"]*"', sbom.text()))
        assert all("cyclonedx" in address.lower() for address in addresses), addresses


def _name(purl: str) -> str:
    return canonical(purl.partition("/")[2].partition("@")[0])


class TestImage:
    TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")

    def test_all_that_is_copied_is_there(self) -> None:
        lines = re.findall(r"^COPY (?!--from)(.*) \S+$", self.TEXT, re.MULTILINE)
        paths = [path for line in lines for path in line.split()]
        assert "requirements" in paths
        assert all((ROOT / path).exists() for path in paths)

    def test_nothing_is_installed_but_by_hash_or_from_what_was_just_built(self) -> None:
        lines = re.findall(r"^RUN (.*)$", self.TEXT, re.MULTILINE)
        commands = [command for line in lines for command in line.split("&&")]
        installs = [command for command in commands if re.search(r"\bpip (?:install|wheel|download)\b", command)]
        assert len(installs) == 4
        for command in installs:
            by_hash = "--require-hashes -r requirements/" in command
            alone = "--no-deps" in command and ("--no-index" in command or "--no-build-isolation" in command)
            assert by_hash or alone, command

    def test_its_base_is_the_oldest_python_that_the_locks_are_for(self) -> None:
        (tag,) = re.findall(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)-", self.TEXT, re.MULTILINE)
        assert PROJECT["project"]["requires-python"] == f">={tag}"
        assert sys.version_info >= tuple(map(int, tag.split(".")))
