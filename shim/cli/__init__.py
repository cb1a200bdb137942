"""The command line: reads words, starts what they name, ends with the exit status of the contract.

Judges nothing. Whatever is heavy is imported by the command that needs it, so that help and health answer at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from shim import __version__
from shim.cli import check, config, doctor, health, replay, run, setup, streams, survey, usage
from shim.cli.helptext import Group
from shim.cli.options import lang_option
from shim.cli.status import EXIT_FAULT, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from shim.errors import system_words
from shim.locale import LANGUAGES, Catalogue, catalogue, preferred_language

_COMPLETION = "_SHIM_COMPLETE"
"""Where Click looks for a shell's question; it answers by SystemExit."""


def main() -> None:
    """The program `shim`."""
    streams.open_all()
    sys.exit(start(sys.argv[1:]))


def start(words: Sequence[str]) -> int:
    """Run one command line; the result is its exit status."""
    texts = catalogue(language(words))
    try:
        group = commands(texts)
        return int(group.main(list(words), prog_name="shim", standalone_mode=False) or EXIT_OK)
    except click.ClickException as error:
        usage.show(error, texts)
        return EXIT_USAGE
    except click.Abort:
        return EXIT_INTERRUPTED
    except SystemExit:
        if _COMPLETION in os.environ:  # a shell has asked for words
            raise
        streams.give_up()  # Click's answer to a broken pipe, with a status that would read as a leak that was found
        return EXIT_FAULT
    except Exception as error:
        if streams.is_failure(error):
            streams.give_up()
            click.echo(texts.text("cli.not_shown", reason=system_words(error)), err=True)
            return EXIT_FAULT
        # Its text is left out: it could name a destination.
        click.echo("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__, err=True)
        return EXIT_FAULT


def commands(texts: Catalogue) -> click.Group:
    """All commands, with their help in the catalogue's language."""
    group = Group(
        texts,
        "shim",
        "cli.shim",
        [
            run.command(texts),
            check.command(texts),
            survey.command(texts),
            replay.command(texts),
            doctor.command(texts),
            setup.command(texts),
            config.group(texts),
            health.command(texts),
        ],
    )
    version = click.version_option(
        __version__, prog_name="shim", message="%(prog)s %(version)s", help=texts.text("cli.option.version")
    )
    version(group)
    group.params.append(lang_option(texts))
    return group


def language(words: Sequence[str]) -> str:
    """The value of the first --lang before any `--`, if we have that language; else the environment's."""
    ours = list(words[: words.index("--")] if "--" in words else words)
    for place, word in enumerate(ours):
        option, given, value = word.partition("=")
        if option == "--lang":
            chosen = value if given else next(iter(ours[place + 1 :]), "")
            return chosen if chosen in LANGUAGES else preferred_language()
    return preferred_language()
