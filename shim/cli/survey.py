"""`shim survey`: which clients and settings leak, as one table.

Decides nothing but how it is shown and where it goes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.cli.helptext import Command
from shim.cli.options import lang_option
from shim.cli.status import EXIT_INCONCLUSIVE, EXIT_LEAK, EXIT_OK, EXIT_USAGE
from shim.locale import Catalogue

if TYPE_CHECKING:
    from shim.lab.survey.catalogue import Row

FORMATS = ("text", "json", "md", "html")
MAX_JOBS = 64


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def survey(**chosen: Any) -> int:
        return _survey(texts, **chosen)

    file = click.Path(path_type=Path, dir_okay=False)
    params: list[click.Parameter] = [
        click.Option(["--client", "clients"], multiple=True, metavar="NAME", help=texts.text("survey.option.client")),
        click.Option(["--fast"], is_flag=True, help=texts.text("survey.option.fast")),
        click.Option(["--fetch"], is_flag=True, help=texts.text("survey.option.fetch")),
        click.Option(["--jobs"], type=click.IntRange(1, MAX_JOBS), metavar="N", help=texts.text("survey.option.jobs")),
        click.Option(["--format"], type=click.Choice(FORMATS), default="text", help=texts.text("check.option.format")),
        click.Option(["--output"], type=file, metavar="FILE", help=texts.text("survey.option.output")),
        click.Option(["--catalogue"], type=file, metavar="FILE", help=texts.text("survey.option.catalogue")),
        click.Option(["--resume"], type=file, metavar="FILE", help=texts.text("survey.option.resume")),
        click.Option(["--since"], type=file, metavar="FILE", help=texts.text("survey.option.since")),
        lang_option(texts),
    ]
    return Command(texts, "survey", "survey.help", callback=survey, params=params)


def _survey(
    texts: Catalogue,
    *,
    clients: tuple[str, ...],
    fast: bool,
    fetch: bool,
    jobs: int | None,
    format: str,
    output: Path | None,
    catalogue: Path | None,
    resume: Path | None,
    since: Path | None,
) -> int:
    from shim.lab.survey import catalogue as catalogues
    from shim.lab.survey import keeping, table
    from shim.lab.survey.environments import Environments, cache
    from shim.lab.survey.running import Survey

    try:
        known = catalogues.load(catalogue)
        kept = keeping.Kept(known, resume)
        before = keeping.read(since)[1] if since is not None else []
    except (catalogues.CatalogueError, OSError, ValueError) as error:
        click.echo(str(error), err=True)
        return EXIT_USAGE
    rows = _chosen(list(known.values()), clients, fast, texts)

    def told(row: Row, result: dict[str, Any]) -> None:
        kept.add(result)
        verdict = texts.text(f"survey.verdict.{result['verdict']}")
        place = f"{len(kept.of(rows))}/{len(rows)}"
        click.echo(f"{place} {row.client}, {row.settings[texts.lang]}: {verdict}", err=True)

    Survey(Environments(cache(), fetch=fetch)).run(kept.missing(rows), jobs or len(os.sched_getaffinity(0)), told)
    kept.write()
    results = kept.of(rows)
    text = table.render(format, results, kept.about, texts)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)
    for line in table.changes(before, results, texts) if since is not None else ():
        click.echo(line, err=True)
    verdicts = {result["verdict"] for result in results}
    return EXIT_LEAK if "leak" in verdicts else EXIT_OK if "no_leak_observed" in verdicts else EXIT_INCONCLUSIVE


def _chosen(rows: list[Row], clients: tuple[str, ...], fast: bool, texts: Catalogue) -> list[Row]:
    """Those of the clients that were named; UsageError for a name that the catalogue does not have."""
    wanted = {name.lower() for name in clients}
    if unknown := wanted - {row.client.lower() for row in rows}:
        raise click.UsageError(texts.text("survey.no_client", names=", ".join(sorted(unknown))))
    return [row for row in rows if (not wanted or row.client.lower() in wanted) and (row.fast or not fast)]
