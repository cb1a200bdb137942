"""Any file: a Config that reads the same written again, or ConfigError with lines for a person, in each language."""

from __future__ import annotations

from random import Random

from fuzz import grammar
from fuzz.shelf import scratch
from shim.config import Config, as_toml, changes, load
from shim.config.problems import KEYS
from shim.errors import ConfigError
from shim.rule import EFFECTS, MATCHERS

COVERS = (
    "shim.config.reading",
    "shim.config.problems",
    "shim.config.checks",
    "shim.rule",
    "shim.policy",
    "shim.address",
)

FILE = scratch() / "shim.toml"
VALUES = (
    "true",
    "false",
    "0",
    "-1",
    "1",
    "9" * 400,
    "1e400",
    "nan",
    "1979-05-27",
    "''",
    "'warn'",
    "'block'",
    "'127.0.0.1:9250'",
    "'[::1]:0'",
    "'unix:/tmp/x'",
    "'0.0.0.0:53'",
    "'auto'",
    "'198.18.0.0/15'",
    "'localhost'",
    "'\\u001b[31m'",
    "[]",
    "[1, 'x', [], {}]",
    "['127.0.0.1:9250', '127.0.0.1:9250']",
    "[{ port = [80], mode = 'block' }, { name = 'a.test', allow = true }]",
    "{ x = 1 }",
)
RULE_KEYS = (*MATCHERS, *EFFECTS, "x")


def one_input(data: bytes) -> None:
    FILE.write_bytes(data)
    said = []
    for lang in ("en", "ja"):
        try:
            config = load(FILE, lang=lang)
        except ConfigError as error:
            assert error.problems
            for problem in error.problems:
                assert problem
                assert "\x1b" not in problem
            said.append(len(error.problems))
        else:
            _check(config)
            said.append(0)
    assert said[0] == said[1], "a language changes words, not what is wrong"


def generate(rng: Random) -> bytes:
    lines: list[str] = []
    section = None
    for key in sorted(rng.sample(KEYS, rng.randint(0, 6))):
        table, _, name = key.partition(".")
        if table != section:
            section = table
            lines.append(f"[{table}]")
        lines.append(f"{name} = {rng.choice(VALUES)}")
    for _ in range(rng.choice((0, 0, 1, 2))):
        lines.append("[[policy.rule]]")
        lines += [f"{key} = {_rule_value(rng)}" for key in rng.sample(RULE_KEYS, rng.randint(0, 4))]
    return "\n".join(lines).encode() + grammar.field(rng, 10) * (rng.random() < 0.1)


def _rule_value(rng: Random) -> str:
    host = grammar.name(rng).decode("latin-1")
    text = repr(host) if host.isprintable() and "'" not in host and "\\" not in host else "'x'"
    return rng.choice((*VALUES, text, f"[{text}]"))


def _check(config: Config) -> None:
    """Written down and read again, it is the same."""
    FILE.write_text(as_toml(config), encoding="utf-8")
    assert changes(load(FILE), config) == ()
