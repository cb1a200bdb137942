"""From a TOML file and flags to a Config, or to one ConfigError that names every problem at once.

Reads one file, and only if it is told which; it starts nothing and writes nothing.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from shim.config.checks import WORKERS, contradictions
from shim.config.problems import Problem, problems_of, shown
from shim.config.settings import Config
from shim.errors import ConfigError
from shim.locale import Catalogue, catalogue
from shim.rule import MATCHERS

MAX_FILE_BYTES = 1 << 20
"""A configuration is some hundred lines; more than this is another file."""

Tables = dict[str, object]

_SURROGATE = re.compile("[\ud800-\udfff]")
_HEADER = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_ARRAY = re.compile(r"\s*\[\[\s*([\w.-]+)\s*\]\]")
_KEY = re.compile(r"\s*([\w-]+)(?:\s*\.\s*([\w-]+))?\s*=")
_RULE = re.compile(r"policy\.rule\[(\d+)\](?:\.(.*))?", re.DOTALL)
_PLACE = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)$")


@dataclass(frozen=True, slots=True)
class Flag:
    """A command-line option that replaces one setting: `--socks`, `listen.socks`, its new value."""

    option: str
    key: str
    value: object

    @property
    def not_text(self) -> str | None:
        """The first word that is no UTF-8; Python has half surrogates for such bytes of a command line."""
        words = self.value if isinstance(self.value, tuple | list) else (self.value,)
        return next((word for word in words if isinstance(word, str) and _SURROGATE.search(word)), None)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where each setting was written: an option, or a line of the file."""

    file: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    def line(self, problem: Problem, texts: Catalogue) -> tuple[int, str]:
        """The problem's line number, and the problem as a person reads it."""
        said = problem.text(texts)
        for key in problem.keys:
            if option := self.options.get(key):
                return 0, f"{option}: {said}"
            if number := self.lines.get(key):
                return number, f"{self.file}:{number}: {_shown(key)}: {said}"
        place = f"{self.file}: " if self.file else ""
        return 0, f"{place}{_shown(problem.keys[0])}: {said}"


def _shown(key: str) -> str:
    """A key in quotes may hold anything."""
    return key if key.isprintable() else repr(key)[1:-1]


def load(
    path: Path | None = None, flags: Sequence[Flag] = (), *, workers: int = 1, lang: str = "en", again: bool = False
) -> Config:
    """The file's settings with the flags' in their place; defaults where neither speaks. ConfigError in `lang`.

    `again`: others wait meanwhile, so nothing is read that could make them wait for ever.
    """
    texts = catalogue(lang)
    tables, lines = _read(path, texts, again) if path else ({}, {})
    options = {flag.key: flag.option for flag in flags} | {WORKERS: "--workers"}
    places = _Places(str(path or ""), lines, options)
    config, problems = _validate(_merge(tables, [flag for flag in flags if flag.not_text is None]))
    problems += [
        Problem((flag.key,), "config.unicode", {"value": shown(word)})
        for flag in flags
        if (word := flag.not_text) is not None
    ]
    wrong = {key for problem in problems for key in (*problem.keys, problem.keys[0].rpartition(".")[0])}
    problems += [found for found in contradictions(config, workers) if not wrong.intersection(found.keys)]
    if problems:
        raise ConfigError(*(text for _, text in sorted({places.line(problem, texts) for problem in problems})))
    return config.came_from(path, partial(load, path, flags, workers=workers, lang=lang, again=True))


def _read(path: Path, texts: Catalogue, again: bool) -> tuple[Tables, dict[str, int]]:
    """The file's tables, and the line of each key."""
    try:
        with open(path, "rb", opener=_opened_at_once if again else None) as file:
            if again and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{path}: {texts.text('config.not_a_file')}")
            raw = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: {texts.text('config.unreadable', error=detail)}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: {texts.text('config.too_large', limit=MAX_FILE_BYTES)}")
    try:
        text = raw.decode()
        return tomllib.loads(text), dict(_key_lines(text))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {texts.text('config.not_utf8', offset=error.start)}") from None
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        raise ConfigError(_syntax(path, str(error), texts)) from None


def _opened_at_once(path: str, flags: int) -> int:
    """Of a FIFO, which the shell makes for `--config <(…)`, too, whose writer is gone."""
    return os.open(path, flags | os.O_NONBLOCK)


def _syntax(path: Path, detail: str, texts: Catalogue) -> str:
    place = _PLACE.search(detail)
    where = f"{path}:{place[1]}:{place[2]}" if place and place[1] else str(path)
    return f"{where}: {texts.text('config.syntax', error=_PLACE.sub('', detail))}"


def _key_lines(text: str) -> Iterator[tuple[str, int]]:
    """Each `section` and `section.key` with its line; a cheap look that the error messages can live with."""
    section = ""
    entries: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        if array := _ARRAY.match(line):
            entries[array[1]] += 1
            section = f"{array[1]}[{entries[array[1]]}]"
            yield section, number
        elif header := _HEADER.match(line):
            section = header[1]
            yield section, number
        elif key := _KEY.match(line):
            yield ".".join(part for part in (section, key[1], key[2]) if part), number


def _merge(tables: Tables, flags: Sequence[Flag]) -> Tables:
    """The file's tables with the value of each flag put in its place, a list as a whole."""
    merged = {name: dict(table) if isinstance(table, dict) else table for name, table in tables.items()}
    for flag in flags:
        section, _, key = flag.key.partition(".")
        table = merged.setdefault(section, {})
        if isinstance(table, dict):  # else the file's value is wrong as it stands, and is reported
            table[key] = flag.value
    policy = merged.get("policy")
    if isinstance(policy, dict) and isinstance(policy.get("rule"), list):
        policy["rule"] = [_listed(rule) for rule in policy["rule"]]
    return merged


def _listed(rule: object) -> object:
    """A rule with each matcher that is given as one value made a list of one."""
    if not isinstance(rule, dict):
        return rule
    return {key: [value] if key in MATCHERS and not isinstance(value, list) else value for key, value in rule.items()}


def _validate(tables: Tables) -> tuple[Config, list[Problem]]:
    """The configuration, with the default for each setting that is wrong, and what is wrong."""
    try:
        # As JSON, because strict validation takes lists for tuples and text for enums only from there.
        return Config.model_validate_json(json.dumps(tables, default=str)), []
    except ValidationError as error:
        problems = [problem for detail in error.errors(include_url=False) for problem in problems_of(detail)]
        if not problems:
            raise  # a rule that nobody has put into words: a bug
    for problem in problems:
        _drop(tables, problem.keys[0])
    config, more = _validate(tables)
    return config, problems + more


def _drop(tables: Tables, name: str) -> None:
    """Each call takes something away: whoever calls goes on until nothing is wrong."""
    section, _, key = name.partition(".")
    table = tables.get(section)
    if name in tables:  # in quotes, a key may hold dots and look like any of the others
        tables.pop(name)
    elif not isinstance(table, dict):
        tables.pop(section, None)
    elif (rule := _RULE.fullmatch(name)) and key not in table:
        _drop_rule(table["rule"], int(rule[1]) - 1, rule[2])
    else:
        table.pop(key, None)


def _drop_rule(rules: list[object], place: int, key: str | None) -> None:
    """The others keep their numbers."""
    rule = rules[place]
    if key is not None and isinstance(rule, dict):
        rule.pop(key, None)
    else:
        rules[place] = {}
