"""Every fault that Click finds in a command line is told in the reader's language, with the usage."""

from __future__ import annotations

import re

import pytest

from shim.cli import start

FAULTS = {
    "no option": (["run", "--mod", "block"], ("--mod", "--mode")),
    "no command": (["rum"], ("rum", "run")),
    "words too many": (["run", "one", "two"], ("one two",)),
    "a value is missing": (["run", "--workers", "--reveal"], ("--workers",)),
    "a value too many": (["run", "--reveal=3"], ("--reveal",)),
    "an argument is missing": (["replay"], ("FILE",)),
    "not a choice": (["replay", "--format", "x", "FILE"], ("--format", "text, json")),
    "out of range": (["run", "--workers", "0"], ("--workers", "1", "64")),
    "not a number": (["run", "--workers", "many"], ("--workers",)),
    "no such file": (["replay", "/no/such/file"], ("FILE", "/no/such/file", "no such file or directory")),
    "no upstream": (["check", "--upstream", "nowhere", "true"], ("--upstream", "sandbox", "tor", "HOST:PORT")),
    "no name in SOCKS4": (
        ["config", "explain", "--protocol", "socks4", "--destination", "a.example:80"],
        ("--destination", "socks4a"),
    ),
    "no such folder": (["setup", "firefox", "--write", "--profile", "/no/such/folder"], ("--profile",)),
    "not an address": (["health", "nowhere"], ("ADDR",)),
    "our own words": (["doctor", "--canary", "example.com"], ("--canary", "--dns")),
    "no command of a group": (["config", "sho"], ("sho", "show")),
}


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_the_readers_language(fault: str, lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, told = FAULTS[fault]
    assert start([*words, f"--lang={lang}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    usage, _, last = err.rstrip("\n").rpartition("\n\n")
    for word in told:
        assert word in last
    if lang == "ja":
        last = last.replace("no such file or directory", "")  # the system's own words
        plain = re.sub(r"[\w./\[\]-]*[/.\[\]-][\w./\[\]-]*", "", last)
        assert re.search("[ぁ-ん]", last)
        assert not re.search(r"\b(is|not|no|Invalid|Missing|requires|Got|such)\b", plain)
        assert "Usage" not in usage
    else:
        assert usage.startswith("Usage: shim")


@pytest.mark.parametrize("option", ["--mode", "--socks", "--upstream", "--config", "--workers"])
def test_an_option_without_its_value_starts_nothing(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["--lang=en", "run", option]) == 2
    assert capsys.readouterr().err.endswith(f"\n\nError: {option} needs a value.\n")
