"""`shim check`: what one program sends, in a network of its own, as an exit status and a report.

Holds none of the lab: it is imported once the words are understood.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from shim.address import Address
from shim.cli.helptext import Command
from shim.cli.options import address_type, lang_option
from shim.cli.status import EXIT_USAGE
from shim.cli.visits import visits
from shim.locale import Catalogue

if TYPE_CHECKING:
    from shim.lab.verdict import Report

FORMATS = ("text", "json", "html", "sarif", "junit")
UPSTREAMS = ("sandbox", "auto", "tor")
MAX_TIMEOUT_S = 86_400


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def check(
        command: tuple[str, ...],
        format: str,
        output: Path | None,
        upstream: str,
        proxy_env: bool,
        timeout: float,
        interactive: bool,
        pcap: Path | None,
        scrub: bool,
        linger: float,
        ca_env: bool,
        visit: tuple[str, ...],
    ) -> int:
        from shim.lab.check import run as run_check
        from shim.lab.preparing import Options
        from shim.lab.verdict import report

        chosen: Address | str = upstream if upstream in UPSTREAMS else address_type(texts)(upstream)
        if ca_env and chosen != "sandbox":
            raise click.UsageError(texts.text("check.ca_env_needs_sandbox"))
        options = Options(
            command,
            chosen,
            proxy_env,
            timeout,
            own_stdout=output is not None or interactive,
            interactive=interactive,
            linger_s=linger,
            ca_env=ca_env,
            visits=visits(command, visit, texts),
        )
        with ExitStack() as files:
            try:
                packets: BinaryIO | None = None if pcap is None else files.enter_context(_private(pcap))
                target = None if output is None else files.enter_context(_private(output))
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                click.echo(texts.text("check.cannot_write", file=error.filename, error=reason), err=True)
                return EXIT_USAGE
            found = report(run_check(options, dict(os.environ), packets))
            text = _render(format, found, texts, reveal=not scrub).encode()
            (target or sys.stdout.buffer).write(text)
            sys.stdout.flush()
        return found.exit_status

    return Command(
        texts,
        "check",
        "check.help",
        callback=check,
        params=_params(texts),
        context_settings={"allow_interspersed_args": False},
    )


def _params(texts: Catalogue) -> list[click.Parameter]:
    file = click.Path(path_type=Path, dir_okay=False)
    return [
        click.Argument(["command"], nargs=-1, required=True, type=click.UNPROCESSED),
        click.Option(["--format"], type=click.Choice(FORMATS), default="text", help=texts.text("check.option.format")),
        click.Option(["--output"], type=file, metavar="FILE", help=texts.text("check.option.output")),
        click.Option(
            ["--upstream"], default="sandbox", metavar="ADDR|auto|sandbox|tor", help=texts.text("check.option.upstream")
        ),
        click.Option(["--proxy-env"], is_flag=True, help=texts.text("check.option.proxy_env")),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(0, MAX_TIMEOUT_S),
            default=0,
            metavar="S",
            help=texts.text("check.option.timeout"),
        ),
        click.Option(
            ["--linger"],
            type=click.FloatRange(0, MAX_TIMEOUT_S),
            default=2,
            metavar="S",
            help=texts.text("check.option.linger"),
        ),
        click.Option(["--ca-env"], is_flag=True, help=texts.text("check.option.ca_env")),
        click.Option(["--visit"], multiple=True, metavar="URL", help=texts.text("check.option.visit")),
        click.Option(["--interactive"], is_flag=True, help=texts.text("check.option.interactive")),
        click.Option(["--pcap"], type=file, metavar="FILE", help=texts.text("check.option.pcap")),
        click.Option(["--scrub"], is_flag=True, help=texts.text("check.option.scrub")),
        lang_option(texts),
    ]


def _private(path: Path) -> BinaryIO:
    """A file that only its owner can read: a report names what the program asked for."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "wb")


def _render(format: str, found: Report, texts: Catalogue, *, reveal: bool) -> str:
    from shim.lab.formats import html, junit, plain, sarif, text

    forms = {"text": text.render, "json": plain.render, "html": html.render}
    forms |= {"sarif": sarif.render, "junit": junit.render}
    return forms[format](found, texts, reveal=reveal)
