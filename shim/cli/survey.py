"""`shim survey`: which clients and settings leak, as one table.

Decides nothing but how it is shown and where it goes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.cli import usage
from shim.cli.helptext import Command
from shim.cli.options import file_or_dash, lang_option
from shim.cli.status import EXIT_INCONCLUSIVE, EXIT_LEAK, EXIT_OK, EXIT_USAGE
from shim.locale import Catalogue

if TYPE_CHECKING:
    from shim.lab.survey.catalogue import Row
    from shim.lab.survey.keeping import Kept
    from shim.lab.survey.running import Result

FORMATS = ("text", "json", "md", "html")
MAX_JOBS = 64


@dataclass(frozen=True, slots=True)
class Words:
    """One command line, by the names of its options."""

    clients: tuple[str, ...]
    fast: bool
    fetch: bool
    jobs: int | None
    format: str
    output: Path | None
    catalogue: Path | None
    resume: Path | None
    since: Path | None


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def survey(**words: Any) -> int:
        return _survey(Words(**words), texts)

    file = click.Path(path_type=Path, dir_okay=False)
    params: list[click.Parameter] = [
        click.Option(["--client", "clients"], multiple=True, metavar="NAME", help=texts.text("survey.option.client")),
        click.Option(["--fast"], is_flag=True, help=texts.text("survey.option.fast")),
        click.Option(["--fetch"], is_flag=True, help=texts.text("survey.option.fetch")),
        click.Option(["--jobs"], type=click.IntRange(1, MAX_JOBS), metavar="N", help=texts.text("survey.option.jobs")),
        click.Option(["--format"], type=click.Choice(FORMATS), default="text", help=texts.text("check.option.format")),
        file_or_dash("--output", texts.text("survey.option.output")),
        click.Option(["--catalogue"], type=file, metavar="FILE", help=texts.text("survey.option.catalogue")),
        click.Option(["--resume"], type=file, metavar="FILE", help=texts.text("survey.option.resume")),
        click.Option(["--since"], type=file, metavar="FILE", help=texts.text("survey.option.since")),
        lang_option(texts),
    ]
    return Command(texts, "survey", "survey.help", callback=survey, params=params)


def _survey(words: Words, texts: Catalogue) -> int:
    from shim.lab.survey import catalogue, keeping, table

    try:
        known = catalogue.load(words.catalogue)
        kept = keeping.Kept(known, words.resume)
        before = None if words.since is None else keeping.read(words.since)[1]
    except OSError as error:
        usage.show_file(error, "survey.unreadable", texts)
        return EXIT_USAGE
    except ValueError as error:  # a catalogue or a survey that is none
        click.echo(str(error), err=True)
        return EXIT_USAGE
    rows = _chosen(list(known.values()), words.clients, words.fast, texts)
    try:  # now, and not after half an hour
        kept.write()
        if words.output is not None:
            words.output.open("ab").close()
    except OSError as error:
        usage.show_file(error, "check.cannot_write", texts)
        return EXIT_USAGE
    _run(rows, kept, words, texts)
    results = kept.of(rows)
    text = table.render(words.format, results, kept.about, texts)
    if words.output is None:
        click.echo(text, nl=False)
    else:
        words.output.write_text(text, "utf-8")
    for line in () if before is None else table.changes(before, results, texts):
        click.echo(line, err=True)
    return _status(results)


def _run(rows: list[Row], kept: Kept, words: Words, texts: Catalogue) -> None:
    """Run what is missing of the rows, with a line for each."""
    from shim.lab.survey.environments import Environments, cache
    from shim.lab.survey.running import Survey

    def told(row: Row, result: Result) -> None:
        kept.add(result)
        verdict = texts.text(f"survey.verdict.{result['verdict']}")
        place = f"{len(kept.of(rows))}/{len(rows)}"
        click.echo(f"{place} {row.client}, {row.settings[texts.lang]}: {verdict}", err=True)

    jobs = words.jobs or len(os.sched_getaffinity(0))
    Survey(Environments(cache(), fetch=words.fetch)).run(kept.missing(rows), jobs, told)
    kept.write()


def _status(results: list[Result]) -> int:
    """A leak counts before what was clean, and that before what proves nothing."""
    verdicts = {result["verdict"] for result in results}
    return EXIT_LEAK if "leak" in verdicts else EXIT_OK if "no_leak_observed" in verdicts else EXIT_INCONCLUSIVE


def _chosen(rows: list[Row], clients: tuple[str, ...], fast: bool, texts: Catalogue) -> list[Row]:
    """Those of the clients that were named; UsageError for a name that the catalogue does not have."""
    wanted = {name.lower() for name in clients}
    if unknown := wanted - {row.client.lower() for row in rows}:
        raise click.UsageError(texts.text("survey.no_client", names=", ".join(sorted(unknown))))
    return [row for row in rows if (not wanted or row.client.lower() in wanted) and (row.fast or not fast)]
