"""Writes docs/configuration.md and docs/cli.md from config.example.toml and the code: `make docs`.

The words about a setting stand in config.example.toml alone; types, bounds and defaults come from the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from shim.cli import commands
from shim.config import Config, needs_restart
from shim.config.views import RULES, flat, toml_value
from shim.locale import catalogue

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "config.example.toml"
CONFIGURATION = ROOT / "docs" / "configuration.md"
CLI = ROOT / "docs" / "cli.md"

_RULE = re.compile(r"#{20,}")
_TITLE = re.compile(r"##  ([\w.]+): (.*?)\s+##")
_SETTING = re.compile(r"(\w+) = ")
_RULE_KEY = re.compile(r"(\w+): (.*)")

_CONFIGURATION_HEAD = """\
# Configuration

<!-- Written by docs/generate.py from config.example.toml and the code; edit those. -->

The configuration is one [TOML](https://toml.io) file. `shim run --config FILE` uses it, `shim config check FILE` looks
for mistakes, and `shim config show --config FILE` prints what is in force. Without `--config` no file is read.
[config.example.toml](../config.example.toml) holds every setting with its default.

{intro}

Unknown keys, values out of bounds and settings that contradict each other end the command with status 2; each problem
is one line with file, line, key, value and what is allowed:

```
{problems}
```

On SIGHUP the file is read again, and the flags still count. A file with mistakes changes nothing; they are logged.
Settings marked ⟳ keep their old value until the shim is started anew, which is logged too.
"""

_CLI_HEAD = """\
# Command line

<!-- Written by docs/generate.py from the commands' own help; edit the catalogue shim/locale/en.json. -->

Every command takes `--help`, and `--lang en|ja` for the language of help and messages (otherwise that of `LC_ALL`,
`LC_MESSAGES` or `LANG`). `ADDR` is `HOST:PORT`, `[V6]:PORT` or `unix:PATH`; HOST is an IP address or `localhost`.

| Exit status | Meaning |
| --- | --- |
| 0 | done; `check`, `survey`, `replay`, `doctor`: no leak is found |
| 1 | `check`, `survey`, `replay`, `doctor`: a leak is found; `health`: the listener does not answer |
| 2 | wrong usage or configuration, or a log that cannot be replayed; what is wrong is named on standard error |
| 3 | `check`, `survey`, `replay`, `doctor`: there is too little to tell |
| 70 | a fault; a listener that cannot be bound, a sandbox that cannot be had, a result that cannot be written |
| 130 | interrupted before the command had begun |

Completion of commands and options: `eval "$(_SHIM_COMPLETE=bash_source shim)"`, with `zsh_source` in zsh.
"""

_SAMPLE = "[listen]\nsocks = ['127.0.0.1:99999']\nsock = true\n[policy]\nmode = 'blok'\n"


def configuration_page(problems: str) -> str:
    """The page of settings. `problems` is what the sample of mistakes really brings, see `sample_problems`."""
    intro, titles, meanings = _example()
    page = [_CONFIGURATION_HEAD.format(intro=intro, problems=problems)]
    defaults = flat(Config())
    for section, title in titles.items():
        if section == RULES:
            page += _rules(title)
            continue
        page += [f"## `[{section}]`: {title}", "", "| Key | Default | Allowed | Meaning |", "| --- | --- | --- | --- |"]
        for name, meaning in meanings.items():
            table, _, key = name.partition(".")
            if table == section:
                mark = " ⟳" if needs_restart((name,)) else ""
                default = toml_value(defaults[name])
                page.append(
                    f"| `{key}`{mark} | `{default}` | {_allowed(name)} | {meaning.replace('|', chr(92) + '|')} |"
                )
        page.append("")
    return "\n".join(page)


def _rules(title: str) -> list[str]:
    """The section of rules: prose, a sample, and what each key means, from the example file's own."""
    section = EXAMPLE.read_text(encoding="utf-8").split(f"##  {RULES}: ")[1].split("\n\n")[0]
    prose: list[str] = []
    sample: list[str] = []
    meanings: dict[str, str] = {}
    for line in (line.removeprefix("##").removeprefix(" ") for line in section.splitlines()[2:]):
        if line.startswith("  ") or (not line and sample and not meanings):
            sample.append(line.removeprefix("  "))
        elif key := _RULE_KEY.fullmatch(line):
            meanings[key[1]] = key[2]
        elif meanings:
            meanings[list(meanings)[-1]] += f" {line}"
        else:
            prose.append(line)
    rows = [f"| `{key}` | {_allowed_in_rule(key)} | {meaning} |" for key, meaning in meanings.items()]
    code = ["```toml", *"\n".join(sample).strip().splitlines(), "```"]
    head = [f"## `[[{RULES}]]`: {title}", "", *"\n".join(prose).strip().splitlines(), "", *code, ""]
    return [*head, "| Key | Allowed | Meaning |", "| --- | --- | --- |", *rows, ""]


def _allowed_in_rule(key: str) -> str:
    schema = Config.model_json_schema()
    about = schema["$defs"]["Rule"]["properties"][key]["anyOf"][0]
    about = _resolved(about, schema)
    if "enum" in about:
        return " ".join(f'`"{value}"`' for value in about["enum"])
    if about["type"] == "boolean":
        return "`true` `false`"
    one = "a port" if about["items"]["type"] == "integer" else "text"
    return f"{one}, or a list"


def sample_problems(directory: Path) -> str:
    """What a file with three mistakes is told."""
    from shim.config import load
    from shim.errors import ConfigError

    file = directory / "shim.toml"
    file.write_text(_SAMPLE, encoding="utf-8")
    try:
        load(file)
    except ConfigError as error:
        return "\n".join(error.problems).replace(f"{directory}/", "")
    raise AssertionError("the sample has no mistakes")


def cli_page() -> str:
    """The page of commands."""
    page = [_CLI_HEAD]
    for path, command in _commands(commands(catalogue("en")), ("shim",)):
        context = click.Context(command, info_name=" ".join(path))
        page += [
            f"## {' '.join(path)}",
            "",
            f"`{' '.join(path)} {' '.join(command.collect_usage_pieces(context))}`",
            "",
        ]
        page += [command.help or "", ""]
        rows = [_option(option) for option in command.params if isinstance(option, click.Option)]
        page += ["| Option | Meaning |", "| --- | --- |", *rows, ""]
    return "\n".join(page)


def _example() -> tuple[str, dict[str, str], dict[str, str]]:
    """Introduction, title of each section, and meaning of each `section.key` of the example file."""
    titles: dict[str, str] = {}
    meanings: dict[str, str] = {}
    prose: list[str] = []
    intro = ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if title := _TITLE.fullmatch(line):
            titles[title[1]] = title[2]
        elif line.startswith("##") and not _RULE.fullmatch(line):
            prose.append(line.removeprefix("##").strip())
        elif setting := _SETTING.match(line):
            meanings[f"{list(titles)[-1]}.{setting[1]}"] = " ".join(prose)
            prose = []
        elif not line and not titles:
            intro = "\n".join(prose[prose.index("") + 1 :]).partition("\n\n")[2]
            prose = []
        elif line == f"[{list(titles)[-1] if titles else ''}]":  # behind prose of a section without settings
            prose = []
    return intro, titles, meanings


def _allowed(name: str) -> str:
    """What the schema says of a setting, in words; its `format` is already one."""
    schema = Config.model_json_schema()
    section, _, key = name.partition(".")
    about = _resolved(_resolved(schema["properties"][section], schema)["properties"][key], schema)
    if "enum" in about:
        return " ".join(f'`"{value}"`' for value in about["enum"])
    if about["type"] == "boolean":
        return "`true` `false`"
    if about["type"] == "array":
        items = about["items"]
        return f"list of {items.get('format', 'ports' if items['type'] == 'integer' else 'texts')}"
    if about["type"] == "string":
        return str(about.get("format", "text"))
    unit = " seconds" if key.endswith("_s") else ""
    if "exclusiveMinimum" in about:
        return f"more than {about['exclusiveMinimum']}, at most {about['maximum']}{unit}"
    return f"{about['minimum']} to {about['maximum']}{unit}"


def _resolved(about: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = about.get("$ref")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else about


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _commands(below, (*path, name))


def _option(option: click.Option) -> str:
    choices = "|".join(option.type.choices) if isinstance(option.type, click.Choice) else option.metavar or ""
    shown = f"{option.opts[0]} {choices}".strip().replace("|", "\\|")
    return f"| `{shown}` | {option.help} |"


def write(directory: Path) -> None:
    """Write both pages; `directory` is for the sample file."""
    CONFIGURATION.write_text(configuration_page(sample_problems(directory)), encoding="utf-8")
    CLI.write_text(cli_page(), encoding="utf-8")


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as name:
        write(Path(name))
