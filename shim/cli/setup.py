"""`shim setup`: the settings with which a program hands its names to the shim, printed or, when told to, installed.

Knows no program itself. Without --write nothing is opened.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from shim.address import Address
from shim.cli.health import DEFAULT_ADDRESS
from shim.cli.helptext import Command
from shim.cli.options import address_type, lang_option
from shim.cli.status import EXIT_OK
from shim.locale import Catalogue
from shim.setup.edits import NotEditable
from shim.setup.files import home_of, read, write
from shim.setup.programs import PROGRAMS, recipe
from shim.setup.recipe import Recipe

FORMATS = ("text", "json")
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@dataclass(frozen=True, slots=True)
class Written:
    """What --write has done. `backup` is None for a new file, and `diff` empty when nothing was to be done."""

    file: Path
    diff: tuple[str, ...]
    backup: Path | None

    @property
    def undo(self) -> str | None:
        """The command that takes it back."""
        if not self.diff:
            return None
        return shlex.join(["mv", str(self.backup), str(self.file)] if self.backup else ["rm", str(self.file)])


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def setup(program: str, socks: Address, write: bool, file: Path | None, profile: Path | None, format: str) -> int:
        found = recipe(program, socks)
        if (file or profile) and not write:
            raise click.UsageError(texts.text("cli.setup.needs_write"))
        written = _install(found, file, profile, texts) if write else None
        click.echo((_as_json if format == "json" else _as_text)(program, socks, found, written, texts))
        return EXIT_OK

    params: list[click.Parameter] = [
        click.Argument(["program"], type=click.Choice(PROGRAMS), metavar="PROGRAM"),
        click.Option(
            ["--socks"],
            type=_listener(texts),
            default=DEFAULT_ADDRESS,
            metavar="ADDR",
            help=texts.text("cli.option.setup_socks"),
        ),
        click.Option(["--write"], is_flag=True, help=texts.text("cli.option.setup_write")),
        click.Option(["--file"], type=_FILE, metavar="FILE", help=texts.text("cli.option.setup_file")),
        click.Option(["--profile"], type=_FOLDER, metavar="DIR", help=texts.text("cli.option.setup_profile")),
        click.Option(
            ["--format"], type=click.Choice(FORMATS), default="text", help=texts.text("cli.option.setup_format")
        ),
        lang_option(texts),
    ]
    return Command(texts, "setup", "cli.setup", callback=setup, params=params)


def _listener(texts: Catalogue) -> Any:
    parse = address_type(texts)

    def addr(text: str) -> Address:
        address = parse(text)
        if address.is_unix or not address.port or ip_address(address.host).is_unspecified:
            raise click.BadParameter(texts.text("cli.setup.no_socks"))
        return address

    return addr


def _install(found: Recipe, file: Path | None, profile: Path | None, texts: Catalogue) -> Written:
    if found.edits is None:
        raise click.UsageError(texts.text("cli.setup.by_hand"))
    path = _place(found, file, profile, os.environ, texts)
    try:
        old = read(path)
        text = found.edits.apply(old.text)
        if text == old.text:
            return Written(path, (), None)
        return Written(path, _diff(old.text, text, path), write(path, old, text, datetime.now(UTC)))
    except NotEditable as error:
        raise _failed(texts.text(error.reason), path, texts) from None
    except OSError as error:
        raise _failed(error.strerror or type(error).__name__, path, texts) from None


def _place(
    found: Recipe, file: Path | None, profile: Path | None, environ: Mapping[str, str], texts: Catalogue
) -> Path:
    if profile and found.asks_for != "profile":
        raise click.UsageError(texts.text("cli.setup.no_profile"))
    if file and profile:
        raise click.UsageError(texts.text("cli.setup.one_place"))
    path = file or (profile / "user.js" if profile else home_of(found, environ))
    if path is None:
        raise click.UsageError(
            texts.text("cli.setup.which_profile" if found.asks_for == "profile" else "cli.setup.which_file")
        )
    return Path(os.path.abspath(path))


def _failed(reason: str, path: Path, texts: Catalogue) -> click.ClickException:
    return click.ClickException(texts.text("cli.setup.failed", file=_shown(path), reason=reason))


def _shown(path: Path) -> str:
    from shim.record.scrub import printable

    return printable(str(path))


def _diff(old: str, new: str, path: Path) -> tuple[str, ...]:
    """Only the lines that change: those around them may hold secrets."""
    import difflib

    from shim.record.scrub import printable

    lines = difflib.unified_diff(old.split("\n"), new.split("\n"), str(path), str(path), n=0, lineterm="")
    return tuple(printable(line.removesuffix("\r").expandtabs(4)) for line in lines)


def _as_text(program: str, socks: Address, found: Recipe, written: Written | None, texts: Catalogue) -> str:
    parts = ["\n".join(f"# {texts.text(note)}" for note in found.notes)]
    if written:
        parts += _told(written, texts)
    else:
        parts += ["\n".join([*_heading(piece.about, piece.where, texts), piece.text]) for piece in found.pieces]
        parts += [texts.text(f"setup.can_write.{found.asks_for or 'home'}", program=program)] if found.edits else []
    return "\n\n".join(parts)


def _heading(about: str, where: str, texts: Catalogue) -> list[str]:
    lines = [f"# {texts.text(about)}"] if about else []
    return [*lines, f"# {texts.text('setup.into', file=where)}"] if where else lines


def _told(written: Written, texts: Catalogue) -> list[str]:
    file = _shown(written.file)
    if not written.diff:
        return [texts.text("setup.already", file=file)]
    backup = [texts.text("setup.backup", file=_shown(written.backup))] if written.backup else []
    done = [texts.text("setup.written", file=file), *backup, texts.text("setup.undo", command=written.undo)]
    return ["\n".join(written.diff), "\n".join(done)]


def _as_json(program: str, socks: Address, found: Recipe, written: Written | None, texts: Catalogue) -> str:
    told: dict[str, object] = {
        "program": program,
        "socks": str(socks),
        "notes": [texts.text(note) for note in found.notes],
        "pieces": [
            {
                "kind": piece.kind,
                "file": piece.where or None,
                "about": texts.text(piece.about) if piece.about else None,
                "text": piece.text,
            }
            for piece in found.pieces
        ],
        "can_write": found.edits is not None,
        "written": written
        and {
            "file": str(written.file),
            "changed": bool(written.diff),
            "diff": list(written.diff),
            "backup": str(written.backup) if written.backup else None,
            "undo": written.undo,
        },
    }
    return json.dumps(told, ensure_ascii=False, indent=2)
