"""`shim run`: from words to a running proxy.

Holds none of the proxy: `shim.app` is imported once the configuration is known to be good, and before that the guardian
is forked, in whose memory nothing else should be.
"""

from __future__ import annotations

from errno import EACCES, EADDRINUSE
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.cli.helptext import Command
from shim.cli.options import config_options, load
from shim.cli.status import EXIT_FAULT, EXIT_USAGE
from shim.errors import ListenError, SandboxError
from shim.locale import Catalogue

if TYPE_CHECKING:
    from shim.guardian import Guardian

MAX_WORKERS = 64

_HINTS = {EADDRINUSE: "cli.cannot_listen.in_use", EACCES: "cli.cannot_listen.not_permitted"}


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def run(workers: int, **values: Any) -> int:
        from shim.guardian import Guardian

        with Guardian.fork(workers) as guardian:
            return start(guardian, workers, **values)

    def start(guardian: Guardian, workers: int, config: Path | None, **values: Any) -> int:
        settings = load(texts, config, values, workers)
        if settings is None:
            return EXIT_USAGE
        from shim import app

        lang = texts.lang if settings.log.lang == "auto" else settings.log.lang
        try:
            return app.run(settings, guardian, workers=workers, lang=lang)
        except ListenError as error:
            click.echo(texts.text("cli.cannot_listen", reason=error), err=True)
            if (hint := _HINTS.get(error.errno or 0)) is not None:
                click.echo(texts.text(hint), err=True)
            return EXIT_FAULT
        except SandboxError as error:
            click.echo(texts.text("cli.no_sandbox", missing=error), err=True)
            return EXIT_FAULT

    workers = click.Option(
        ["--workers"],
        type=click.IntRange(1, MAX_WORKERS),
        default=1,
        metavar="N",
        help=texts.text("cli.option.workers"),
    )
    return Command(texts, "run", "cli.run", callback=run, params=[*config_options(texts), workers])
