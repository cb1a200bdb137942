"""`shim check`: what one program sends, in a network of its own, as an exit status and a report.

Holds none of the lab: it is imported once the words are understood.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from shim.address import Address, AddressError
from shim.cli import usage
from shim.cli.helptext import Command
from shim.cli.options import file_or_dash, lang_option
from shim.cli.status import EXIT_FAULT, EXIT_USAGE
from shim.cli.visits import visits
from shim.locale import Catalogue

if TYPE_CHECKING:
    from shim.events import TorBootstrapped
    from shim.lab.preparing import Options
    from shim.lab.verdict import Report

FORMATS = ("text", "json", "html", "sarif", "junit")
UPSTREAMS = ("sandbox", "auto", "tor")
MAX_TIMEOUT_S = 86_400


@dataclass(frozen=True, slots=True)
class Words:
    """One command line, by the names of its options."""

    command: tuple[str, ...]
    format: str
    output: Path | None
    upstream: Address | str
    proxy_env: bool
    timeout: float
    interactive: bool
    pcap: Path | None
    scrub: bool
    linger: float
    ca_env: bool
    visit: tuple[str, ...]


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def check(**words: Any) -> int:
        return _check(Words(**words), texts)

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
        file_or_dash("--output", texts.text("check.option.output")),
        click.Option(
            ["--upstream"],
            type=_upstream(texts),
            default="sandbox",
            metavar="ADDR|auto|sandbox|tor",
            help=texts.text("check.option.upstream"),
        ),
        click.Option(["--proxy-env"], is_flag=True, help=texts.text("check.option.proxy_env")),
        _seconds("--timeout", 0, texts.text("check.option.timeout")),
        _seconds("--linger", 2, texts.text("check.option.linger")),
        click.Option(["--ca-env"], is_flag=True, help=texts.text("check.option.ca_env")),
        click.Option(["--visit"], multiple=True, metavar="URL", help=texts.text("check.option.visit")),
        click.Option(["--interactive"], is_flag=True, help=texts.text("check.option.interactive")),
        click.Option(["--pcap"], type=file, metavar="FILE", help=texts.text("check.option.pcap")),
        click.Option(["--scrub"], is_flag=True, help=texts.text("check.option.scrub")),
        lang_option(texts),
    ]


def _seconds(option: str, default: float, help: str) -> click.Option:
    return click.Option([option], type=click.FloatRange(0, MAX_TIMEOUT_S), default=default, metavar="S", help=help)


def _check(words: Words, texts: Catalogue) -> int:
    from shim.lab.check import run
    from shim.lab.verdict import report

    options = _options(words, texts)
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        click.echo(texts.text("check.no_temporary"), err=True)
        return EXIT_FAULT
    with ExitStack() as files:
        try:  # before the program runs: what it does may not come a second time
            packets = None if words.pcap is None else files.enter_context(_private(words.pcap))
            target = sys.stdout.buffer if words.output is None else files.enter_context(_private(words.output))
        except OSError as error:
            usage.show_file(error, "check.cannot_write", texts)
            return EXIT_USAGE
        found = report(run(options, dict(os.environ), packets, partial(_waiting, texts)))
        target.write(_render(words.format, found, texts, reveal=not words.scrub).encode())
        sys.stdout.flush()
    return found.exit_status


def _waiting(texts: Catalogue, event: TorBootstrapped) -> None:
    """A tor of its own may take minutes, or never be ready: better said than not."""
    from shim.record.scrub import printable

    told = texts.text("text.tor_bootstrapped", progress=event.progress, summary=printable(event.summary))
    click.echo(told, err=True)


def _options(words: Words, texts: Catalogue) -> Options:
    """What the lab is told. UsageError for what does not go together."""
    from shim.lab.preparing import Options

    if words.ca_env and words.upstream != "sandbox":
        raise click.UsageError(texts.text("check.ca_env_needs_sandbox"))
    return Options(
        words.command,
        words.upstream,
        words.proxy_env,
        words.timeout,
        own_stdout=words.output is not None or words.interactive,
        interactive=words.interactive,
        linger_s=words.linger,
        ca_env=words.ca_env,
        visits=visits(words.command, words.visit, texts),
    )


def _upstream(texts: Catalogue) -> Any:
    """A word or an address."""

    def convert(text: str) -> Address | str:
        try:
            return text if text in UPSTREAMS else Address.parse(text)
        except AddressError as error:
            reason = texts.text(error.reason)
            raise click.BadParameter(texts.text("check.upstream", reason=reason)) from None

    return convert


def _private(path: Path) -> BinaryIO:
    """A file that only its owner can read: a report names what the program asked for."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "wb")


def _render(format: str, found: Report, texts: Catalogue, *, reveal: bool) -> str:
    from shim.lab.formats import html, junit, plain, sarif, text

    forms = {"text": text.render, "json": plain.render, "html": html.render}
    forms |= {"sarif": sarif.render, "junit": junit.render}
    return forms[format](found, texts, reveal=reveal)
