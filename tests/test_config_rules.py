"""`[[policy.rule]]` in the configuration: read, shown, and every mistake named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.config import Config, Flag, as_toml, changes, load, needs_restart
from shim.errors import ConfigError
from shim.model import Mode
from shim.rule import Rule


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shim.toml"


def problems(path: Path, text: str, *, workers: int = 1, lang: str = "en") -> list[str]:
    """The lines of the error, without the file's name."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, workers=workers, lang=lang)
    return [line.removeprefix(f"{path}:") for line in caught.value.problems]


RULES = """
[policy]
mode = "block"

[[policy.rule]]
program = "curl"
executable = ["/usr/bin/curl"]
unit = "flatpak:org.example.App"
port = [80, 443]
listener = "localhost:9250"
mode = "repair"
isolate = "client"

[[policy.rule]] # the names
"name" = ["a.example", "b.example"]
allow = true

[[ policy . rule ]]
allow = false

[log]
level = "debug"
"""


def test_rules_are_read_one_value_or_a_list(file: Path) -> None:
    file.write_text(RULES)
    config = load(file)
    assert config.log.level == "debug"
    assert config.policy.rule == (
        Rule(
            program=("curl",),
            executable=("/usr/bin/curl",),
            unit=("flatpak:org.example.App",),
            port=(80, 443),
            listener=("localhost:9250",),
            mode=Mode.REPAIR,
            isolate="client",
        ),
        Rule(name=("a.example", "b.example"), allow=True),
        Rule(allow=False),
    )


def test_a_rule_as_an_inline_table_is_the_same(file: Path) -> None:
    file.write_text("[policy]\nrule = [{ port = 80, allow = false }]\n")
    assert load(file).policy.rule == (Rule(port=(80,), allow=False),)


def test_what_is_shown_reads_back_to_the_same(file: Path) -> None:
    file.write_text(RULES)
    config = load(file)
    shown = as_toml(config)
    assert '\n[[policy.rule]]\nprogram = "curl"\n' in shown
    assert "\nport = [80, 443]\n" in shown
    file.write_text(shown)
    assert changes(config, load(file)) == ()


def test_a_changed_rule_is_a_change_that_needs_no_restart(file: Path) -> None:
    file.write_text(RULES)
    changed = changes(Config(policy=load(file).policy), Config())
    assert changed == ("policy.mode", "policy.rule")
    assert needs_restart(changed) == ()


HEAD = "[[policy.rule]]\n"
# What a rule holds, and the lines that this must bring; the first line of the file is the rule's head.
MISTAKES = [
    ("frob = 1\nallow = true",
     ["2: policy.rule[1].frob: unknown key — allowed here: program, executable, unit, name, suffix, network, port, "
      "listener, mode, isolate, allow"]),
    ("programm = 'curl'\nallow = true", ["2: policy.rule[1].programm: unknown key — did you mean "
                                          "'policy.rule[1].program'?"]),
    ("conditions = {}\nallow = true", ["2: policy.rule[1].conditions: unknown key — allowed here: program, executable, "
                                       "unit, name, suffix, network, port, listener, mode, isolate, allow"]),
    ("program = 5\nallow = true", ["2: policy.rule[1].program: must be text in quotes, got 5"]),
    ("program = ['curl', '/usr/bin/wget']\nallow = true",
     ["2: policy.rule[1].program: must be the name of a program without its path (curl), got '/usr/bin/wget'"]),
    ("executable = 'curl'\nallow = true",
     ["2: policy.rule[1].executable: must be the whole path of a program (/usr/bin/curl), got 'curl'"]),
    ("unit = ''\nallow = true", ["2: policy.rule[1].unit: must be the name of a unit, container or application "
                                 "(apt-daily.service, flatpak:org.example.App), got ''"]),
    ("name = '*.example.com'\nallow = true",
     ["2: policy.rule[1].name: must be a host name without * (example.com, xn--… for other letters), "
      "got '*.example.com'"]),
    ("suffix = '10.0.0.1'\nallow = true",
     ["2: policy.rule[1].suffix: must be a host name without * (example.com, xn--… for other letters), "
      "got '10.0.0.1'"]),
    ("network = '10.0.0.1/8'\nallow = true",
     ["2: policy.rule[1].network: must be an address or a network (192.0.2.7, 10.0.0.0/8), got '10.0.0.1/8'"]),
    ("port = 70000\nallow = true", ["2: policy.rule[1].port: must be a port of 1 to 65535, got 70000"]),
    ("port = '80'\nallow = true", ["2: policy.rule[1].port: must be a whole number, got '80'"]),
    ("port = true\nallow = true", ["2: policy.rule[1].port: must be a whole number, got true"]),
    ("port = []\nallow = true", ["2: policy.rule[1].port: must hold at least one entry, or be left out"]),
    ("listener = '127.0.0.1:0'\nallow = true",
     ["2: policy.rule[1].listener: must be HOST:PORT, [V6]:PORT or unix:PATH with a fixed port, got '127.0.0.1:0'"]),
    ("listener = '127.0.0.1:1'\nallow = true",
     ["2: policy.rule[1].listener: '127.0.0.1:1' is not listened on; applications reach the shim at "
      "'127.0.0.1:9250'"]),
    ("mode = 'blok'", ["2: policy.rule[1].mode: must be one of 'warn', 'block', 'repair', got 'blok' — did you mean "
                       "'block'?"]),
    ("isolate = 'all'", ["2: policy.rule[1].isolate: must be one of 'none', 'client', 'destination', got 'all'"]),
    ("allow = 'yes'", ["2: policy.rule[1].allow: must be true or false, got 'yes'"]),
    ("port = 80", ["1: policy.rule[1]: nothing is different under this rule; give at least one of mode, isolate, "
                   "allow"]),
    ("allow = false\nmode = 'warn'\nisolate = 'client'",
     ["3: policy.rule[1].mode: has no effect beside allow = false",
      "4: policy.rule[1].isolate: has no effect beside allow = false"]),
    ("allow = true\nmode = 'block'", ["3: policy.rule[1].mode: 'block' has no effect beside allow = true"]),
    ("name = 'a.example'\nnetwork = '10.0.0.0/8'\nallow = true",
     ["3: policy.rule[1].network: a destination is a name or an address, not both: write two rules"]),
    ("name = ['a.example', 'b.test']\nsuffix = ['com', 'example.a']\nallow = true",
     ["3: policy.rule[1].suffix: none of the names of this rule lies below it"]),
    ("allow = true\n[[policy.rule]]\nport = 80\nallow = false",
     ["3: policy.rule[2]: no request comes to this rule: policy.rule[1] fits all that it does"]),
    ("port = [80, 443]\nallow = true\n[[policy.rule]]\nport = 443\nprogram = 'curl'\nmode = 'block'",
     ["4: policy.rule[2]: no request comes to this rule: policy.rule[1] fits all that it does"]),
    ("unit = 'a'\nallow = true\n[log]\nattribution = false",
     ["2: policy.rule[1].unit: a rule for programs needs log.attribution = true"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), MISTAKES)
def test_a_mistake_is_named_with_its_line(file: Path, text: str, lines: list[str]) -> None:
    assert problems(file, HEAD + text) == lines


@pytest.mark.parametrize(("text", "lines"), MISTAKES)
def test_and_in_japanese(file: Path, text: str, lines: list[str]) -> None:
    japanese = problems(file, HEAD + text, lang="ja")
    assert [line.partition(": ")[0] for line in japanese] == [line.partition(": ")[0] for line in lines]
    assert all(any("ぁ" <= character <= "ん" for character in told) for told in japanese)


@pytest.mark.parametrize(
    "text",
    [
        "name = 'a.example'\nsuffix = 'example'\nallow = true",
        "name = ['a.example', 'b.test']\nsuffix = 'test'\nallow = true",
        "allow = true\nmode = 'repair'\nisolate = 'client'",
        "port = 443\nallow = true\n[[policy.rule]]\nport = [80, 443]\nallow = false\n[[policy.rule]]\nallow = false",
        "program = 'curl'\nallow = true\n[[policy.rule]]\nport = 80\nallow = false",
        "network = '::/0'\nallow = true",
        "listener = '127.0.0.1:9250'\nallow = true",
    ],
)
def test_what_only_looks_wrong(file: Path, text: str) -> None:
    file.write_text(HEAD + text)
    assert load(file).policy.rule


@pytest.mark.parametrize("text", ["[policy.rule]\nport = 80", "[policy]\nrule = 3", "[policy]\nrule = 'x'"])
def test_what_is_no_list_of_tables(file: Path, text: str) -> None:
    (line,) = problems(file, text)
    assert "policy.rule: must be written as [[policy.rule]], one such table for each rule, got " in line


def test_a_rule_that_is_no_table(file: Path) -> None:
    (line,) = problems(file, "[policy]\nrule = [{ allow = true }, 3]")
    assert line.endswith("policy.rule[2]: must be a table, got 3")


def test_all_mistakes_of_all_rules_come_at_once_and_none_follows_from_another(file: Path) -> None:
    got = problems(
        file,
        HEAD + "program = 5\nmode = 'x'\n" + HEAD + "port = 0\nallow = true\nname = 'x y'\n" + HEAD + "port = 1\n",
    )
    assert [line.partition(": must")[0].partition(": nothing")[0] for line in got] == [
        "2: policy.rule[1].program",
        "3: policy.rule[1].mode",
        "5: policy.rule[2].port",
        "7: policy.rule[2].name",
        "8: policy.rule[3]",
    ]


def test_the_listener_of_a_rule_may_come_from_a_flag(file: Path) -> None:
    file.write_text(HEAD + "listener = 'unix:/run/shim'\nallow = true")
    assert load(file, [Flag("--http", "listen.http", ["unix:/run/shim"])]).policy.rule


def test_workers_do_not_repair_under_a_rule_either(file: Path) -> None:
    (line,) = problems(file, HEAD + "port = 80\nmode = 'repair'", workers=2)
    assert line.startswith("--workers: must be 1 with mode 'repair'")


def test_a_key_that_cannot_be_printed_is_escaped(file: Path) -> None:
    (line,) = problems(file, HEAD + '"\\u202e" = 1\nallow = true')
    assert line.isprintable()
    assert r"policy.rule[1].\u202e: unknown key" in line
