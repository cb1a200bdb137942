"""`shim survey`: which clients and settings leak, as one table.

Decides nothing but how it is shown and where it goes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from shim import __version__
from shim.cli.helptext import Command
from shim.cli.options import lang_option
from shim.cli.status import EXIT_INCONCLUSIVE, EXIT_LEAK, EXIT_OK, EXIT_USAGE
from shim.locale import Catalogue

FORMATS = ("text", "json", "md", "html")


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def survey(**chosen: Any) -> int:
        return _survey(texts, **chosen)

    file = click.Path(path_type=Path, dir_okay=False)
    params: list[click.Parameter] = [
        click.Option(["--client", "clients"], multiple=True, metavar="NAME", help=texts.text("survey.option.client")),
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
    clients: tuple[str, ...],
    format: str,
    output: Path | None,
    catalogue: Path | None,
    resume: Path | None,
    since: Path | None,
) -> int:
    from shim.lab.survey import catalogue as catalogues
    from shim.lab.survey import table
    from shim.lab.survey.running import Result, survey

    try:
        rows = list(catalogues.load(catalogue).values())
        begun, known = _kept(resume, table) if resume is not None and resume.exists() else ({}, [])
        before = _kept(since, table)[1] if since is not None else []
    except (catalogues.CatalogueError, OSError, ValueError) as error:
        click.echo(str(error), err=True)
        return EXIT_USAGE
    wanted = {name.lower() for name in clients}
    if unknown := wanted - {row.client.lower() for row in rows}:
        raise click.UsageError(texts.text("survey.no_client", names=", ".join(sorted(unknown))))
    rows = [row for row in rows if not wanted or row.client.lower() in wanted]
    about = _about(texts.lang) | begun  # what was measured then is not of today, nor of another version
    made: list[Result] = list(known)

    def told(row: Any, result: Result) -> None:
        verdict = texts.text(f"survey.verdict.{result['verdict']}")
        click.echo(f"{row.client}, {row.setting_in(texts.lang)}: {verdict}", err=True)
        made.append(result)
        if resume is not None:
            resume.write_text(table.render("json", made, about, texts))

    results = survey(rows, texts.lang, {result["id"]: result for result in known}, told)
    text = table.render(format, results, about, texts)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)
    for line in table.changes(before, results, texts) if since is not None else ():
        click.echo(line, err=True)
    verdicts = {result["verdict"] for result in results}
    return EXIT_LEAK if "leak" in verdicts else EXIT_OK if "no_leak_observed" in verdicts else EXIT_INCONCLUSIVE


def _kept(file: Path, table: Any) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """An earlier survey: about it, and its rows. OSError, ValueError."""
    try:
        return table.read(file.read_text())  # type: ignore[no-any-return]
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _about(lang: str) -> dict[str, str]:
    """Where and when this is made."""
    import platform  # 2 ms that no other command needs

    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = platform.system()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{system}, Linux {platform.release()}",
        "program_version": __version__,
        "lang": lang,
    }
