"""`shim config explain`: which rule fits, why, what would be decided, and what that hangs on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shim.cli import start

RULES = """
[listen]
socks = ["127.0.0.1:9250", "127.0.0.1:9251"]
http = ["127.0.0.1:8118"]

[policy]
mode = "block"

[[policy.rule]]
program = ["curl", "pip"]
port = 443
mode = "warn"

[[policy.rule]]
executable = "/usr/bin/git"
allow = true

[[policy.rule]]
suffix = "example.com"
isolate = "destination"

[[policy.rule]]
unit = "backup.service"
listener = "127.0.0.1:9251"
allow = true

[[policy.rule]]
listener = "127.0.0.1:8118"
allow = false

[[policy.rule]]
allow = false
"""


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "shim.toml"
    file.write_text(RULES)
    return str(file)


NOT_1, NOT_1_PORT = "policy.rule[1] does not fit: program", "policy.rule[1] does not fit: port, program"
NOT_2, NOT_3 = "policy.rule[2] does not fit: executable", "policy.rule[3] does not fit: suffix"
NOT_4, NOT_4_AT = "policy.rule[4] does not fit: unit", "policy.rule[4] does not fit: listener, unit"
ALL = "policy.rule[6] fits all requests. Its effect: allow = false"

TABLE: list[tuple[str, list[str]]] = [
    (
        "--program curl --destination 93.184.216.34:443",
        [
            'policy.rule[1] fits: port, program. Its effect: mode = "warn"',
            "Decision: forward; exposure: address",
        ],
    ),
    (
        "--program /opt/bin/curl --destination www.example.com:443",
        [
            'policy.rule[1] fits: port, program. Its effect: mode = "warn"',
            "Decision: forward; exposure: name",
        ],
    ),
    (
        "--program /usr/bin/git --destination localhost:22",
        [
            NOT_1_PORT,
            "policy.rule[2] fits: executable. Its effect: allow = true",
            "Decision: forward (allowed_by_rule); exposure: local",
        ],
    ),
    (
        "--program git --destination localhost:22",
        [
            NOT_1_PORT,
            "policy.rule[2] fits or not: executable unknown",
            NOT_3,
            "policy.rule[4] fits or not: listener, unit unknown",
            "policy.rule[5] fits or not: listener unknown",
            ALL,
            "What is decided depends on --listener, --program, --unit.",
        ],
    ),
    (
        "--program /x/wget --destination www.Example.com.:80",
        [
            NOT_1_PORT,
            NOT_2,
            'policy.rule[3] fits: suffix. Its effect: isolate = "destination"',
            "Decision: forward; exposure: name",
        ],
    ),
    (
        "--program /x/wget --unit a.service --listener localhost:9251 --destination [2001:db8::1]:443",
        [NOT_1, NOT_2, NOT_3, NOT_4, "policy.rule[5] does not fit: listener", ALL,
         "Decision: block (address_only); exposure: address"],
    ),
    (
        "--program /x/wget --unit unit:backup.service --listener localhost:9251 --destination 93.184.216.34:443",
        [NOT_1, NOT_2, NOT_3, "policy.rule[4] fits: listener, unit. Its effect: allow = true",
         "Decision: forward (allowed_by_rule); exposure: address"],
    ),
    (
        "--protocol http --program /x/wget --destination a.test:443",
        [NOT_1, NOT_2, NOT_3, "policy.rule[4] does not fit: listener",
         "policy.rule[5] fits: listener. Its effect: allow = false",
         "Decision: block (refused_by_rule); exposure: name"],
    ),
    (
        "--protocol socks4a --program pip --destination 93.184.216.34:443",
        [
            'policy.rule[1] fits: port, program. Its effect: mode = "warn"',
            "Decision: forward; exposure: address_as_text",
        ],
    ),
    (
        "--protocol socks4a --program pip --destination a.test:443",
        [
            'policy.rule[1] fits: port, program. Its effect: mode = "warn"',
            "Decision: forward; exposure: name",
        ],
    ),
    (
        "",
        [
            "policy.rule[1] fits or not: port, program unknown",
            "policy.rule[2] fits or not: executable unknown",
            "policy.rule[3] fits or not: suffix unknown",
            "policy.rule[4] fits or not: listener, unit unknown",
            "policy.rule[5] fits or not: listener unknown",
            ALL,
            "What is decided depends on --destination, --listener, --program, --unit.",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("words", "lines"), TABLE)
def test_what_it_says(config: str, words: str, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["config", "explain", "--config", config, *words.split()]) == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_without_rules_the_mode_decides(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["config", "explain", "--mode", "block", "--destination", "192.0.2.1:443"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "There are no rules.",
        "Decision: block (address_only); exposure: address",
    ]


def test_rules_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "shim.toml"
    file.write_text("[[policy.rule]]\nport = 80\nallow = false\n")
    assert start(["config", "explain", "--config", str(file), "--destination", "a.test:81"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "policy.rule[1] does not fit: port",
        "No other rule fits.",
        "Decision: forward; exposure: name",
    ]


def test_as_json(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--format", "json", "--program", "/usr/bin/git", "--destination", "192.0.2.1:443"]
    assert start(["config", "explain", "--config", config, *words]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "rules": [
            {"number": 1, "fits": False, "conditions": {"port": True, "program": False}, "effects": {"mode": "warn"}},
            {"number": 2, "fits": True, "conditions": {"executable": True}, "effects": {"allow": True}},
        ],
        "decision": {"exposure": "address", "action": "forward", "reason": "allowed_by_rule", "policy_rule": 2},
    }
    assert start(["config", "explain", "--config", config, "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["decision"] is None
    assert [rule["fits"] for rule in said["rules"]] == [None, None, None, None, None, True]


def test_in_japanese(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["config", "explain", "--config", config, "--lang", "ja", "--destination", "a.test:80"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("policy.rule[1]: 当てはまりません")
    assert lines[-1].startswith("判定は --listener, --program, --unit")


@pytest.mark.parametrize(
    "text", ["a.test", "a.test:", "a.test:x", "a.test:65536", "a..b:1", "::1:80", "[a.test]:80", ""]
)
def test_what_is_no_destination(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["config", "explain", "--destination", text]) == 2
    assert "must be HOST:PORT or [V6]:PORT" in capsys.readouterr().err


def test_a_bad_configuration_is_not_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "shim.toml"
    file.write_text("[[policy.rule]]\nport = 80\n")
    assert start(["config", "explain", "--config", str(file)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "policy.rule[1]: nothing is different under this rule" in err
