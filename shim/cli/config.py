"""`shim config`: the configuration checked, shown, and its rules explained.

Changes nothing and starts nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shim.cli import explain
from shim.cli.helptext import Command, Group
from shim.cli.options import config_options, lang_option, load
from shim.cli.status import EXIT_OK, EXIT_USAGE
from shim.locale import Catalogue


def group(texts: Catalogue) -> click.Group:
    """The commands, with their help in the catalogue's language."""
    commands = Group(texts, "config", "cli.config", [_check(texts), _show(texts), explain.command(texts)])
    commands.params.append(lang_option(texts))
    return commands


def _check(texts: Catalogue) -> click.Command:
    def check(file: Path) -> int:
        if load(texts, file, {}) is None:
            return EXIT_USAGE
        click.echo(texts.text("cli.config_is_good", file=file))
        return EXIT_OK

    file = click.Argument(["file"], type=click.Path(path_type=Path))
    return Command(texts, "check", "cli.config_check", callback=check, params=[file, lang_option(texts)])


def _show(texts: Catalogue) -> click.Command:
    def show(config: Path | None, **values: Any) -> int:
        settings = load(texts, config, values)
        if settings is None:
            return EXIT_USAGE
        from shim.config import as_toml

        click.echo(as_toml(settings), nl=False)
        return EXIT_OK

    return Command(texts, "show", "cli.config_show", callback=show, params=config_options(texts))
