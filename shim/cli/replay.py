"""`shim replay`: the findings of a log, once more.

Decides only how they are shown, and the exit status.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

import click

from shim.cli.helptext import Command
from shim.cli.options import lang_option
from shim.cli.status import EXIT_INCONCLUSIVE, EXIT_LEAK, EXIT_OK, EXIT_USAGE
from shim.locale import Catalogue

FORMATS = ("text", "json")


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def replay(file: BinaryIO, format: str) -> int:
        return _replay(file, format, texts)

    params: list[click.Parameter] = [
        click.Argument(["file"], type=click.File("rb")),
        click.Option(
            ["--format"], type=click.Choice(FORMATS), default="text", help=texts.text("cli.option.log_format")
        ),
        lang_option(texts),
    ]
    return Command(texts, "replay", "cli.replay", callback=replay, params=params)


def _replay(file: BinaryIO, format: str, texts: Catalogue) -> int:
    from shim.record.fields import View, fields
    from shim.record.lines import JsonLine, TextLine
    from shim.replay import Replay, ReplayError

    render = JsonLine() if format == "json" else TextLine(texts, color=False)
    view, run, count = View(reveal=True, catalogue=texts), Replay(), 0
    try:
        for found in run.findings(file):
            level, event, keys = fields(found, view)
            click.echo(render(None, "", {"at": found.at, "level": level, "event": event, "keys": keys}), nl=False)
            count += 1
    except BrokenPipeError:  # the reader has seen enough; at exit there must be nothing left to write
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_LEAK
    except ReplayError as error:
        problem = texts.text(f"cli.replay.{error.reason}")
        click.echo(texts.text("cli.replay.line", file=file.name, line=error.line, problem=problem), err=True)
        return EXIT_USAGE
    if not run.inputs and run.told:
        click.echo(texts.text("cli.replay.only_findings", file=file.name), err=True)
        return EXIT_USAGE
    if run.missing:
        click.echo(texts.text("cli.replay.missing", file=file.name, count=run.missing), err=True)
    if count:
        return EXIT_LEAK
    return EXIT_INCONCLUSIVE if run.missing or not run.inputs else EXIT_OK
