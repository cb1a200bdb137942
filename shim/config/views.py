"""A configuration seen whole: flat, as TOML, and as its difference from another.

Pure: values in, values out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from shim.config.settings import Config
from shim.rule import EFFECTS, MATCHERS, Rule

RULES = "policy.rule"
_DERIVED = {"policy": {"allowances", "plaintext_ports", "exceptions", "asks_first", "rule"}}
_FIXED = (
    "listen.",
    "dns.",
    "upstream.address",
    "upstream.control",
    "upstream.tor_command",
    "log.format",
    "log.attribution",
    "log.lang",
    "log.color",
    "sandbox.",
)
"""What a running shim keeps: its sockets, its upstream (or tor child) and control port, and the form of its log."""


def flat(config: Config) -> dict[str, object]:
    """Every setting as `section.key` to its plain value, in the order of the file."""
    tables = config.model_dump(mode="json", exclude=_DERIVED)
    tables["policy"]["rule"] = [_rule(rule) for rule in config.policy.rule]
    return {f"{section}.{key}": value for section, table in tables.items() for key, value in table.items()}


def as_toml(config: Config) -> str:
    """The whole configuration, defaults included, as a file that reads back to the same."""
    lines: list[str] = []
    section = ""
    for name, value in flat(config).items():
        table, _, key = name.partition(".")
        if table != section:
            lines += ["", f"[{table}]"] if lines else [f"[{table}]"]
            section = table
        if name == RULES:
            lines += _rules(config.policy.rule)
        else:
            lines.append(f"{key} = {toml_value(value)}")
    return "\n".join(lines) + "\n"


def _rules(rules: tuple[Rule, ...]) -> Iterator[str]:
    for rule in rules:
        yield from ("", f"[[{RULES}]]", *(f"{key} = {toml_value(value)}" for key, value in _rule(rule).items()))


def _rule(rule: Rule) -> dict[str, object]:
    """What a rule gives, a list of one as that one."""
    given = {key: getattr(rule, key) for key in (*MATCHERS, *EFFECTS)}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
    return {
        key: value[0] if isinstance(value, list) and len(value) == 1 else value
        for key, value in plain.items()
        if value is not None
    }


def changes(old: Config, new: Config) -> tuple[str, ...]:
    """The settings that differ, as `section.key`."""
    before, after = flat(old), flat(new)
    return tuple(name for name in before if before[name] != after[name])


def needs_restart(changed: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the changed settings that a running shim cannot take over."""
    return tuple(name for name in changed if name.startswith(_FIXED))


def toml_value(value: object) -> str:
    """One plain value in TOML's spelling."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    # A JSON string is a TOML basic string but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
