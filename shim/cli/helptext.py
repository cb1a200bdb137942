"""How help looks: texts from the catalogue, wrapped by the columns that they take in a terminal.

Knows no command. Click measures in characters, and a Japanese one is two columns wide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from unicodedata import east_asian_width

import click

from shim.locale import Catalogue

# Of JIS X 4051, what these texts need: some marks never begin a line, others never end one.
_CLOSING = "。、）」・ーぁぃぅぇぉっゃゅょァィゥェォッャュョ"
_OPENING = "（「"
_CHUNK = re.compile(rf"\s+|[{_OPENING}]*(?:[!-~]+|[^\s!-~])[{_CLOSING}]*")
_SENTENCE = re.compile(r"(?<=。)|(?<=\.)\s+")


class Formatter(click.HelpFormatter):
    """Click's layout, with lines broken by columns."""

    def write_text(self, text: str) -> None:
        """A paragraph."""
        indent = " " * self.current_indent
        for line in wrapped(text, self.width - self.current_indent):
            self.write(f"{indent}{line}\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Terms on the left, what they mean on the right; a long term has its own line."""
        rows = list(rows)
        left = min(max(columns(term) for term, _ in rows), col_max) + col_spacing
        for term, meaning in rows:
            lines = wrapped(meaning, self.width - self.current_indent - left)
            if columns(term) > left - col_spacing:
                lines.insert(0, "")
            lines[0] = f"{term}{' ' * (left - columns(term))}{lines[0]}".rstrip()
            lines[1:] = [f"{' ' * left}{line}" for line in lines[1:]]
            for line in lines:
                self.write(f"{' ' * self.current_indent}{line}\n")


class Context(click.Context):
    """Chooses the formatter."""

    formatter_class = Formatter


class Command(click.Command):
    """A command whose texts come from the catalogue; its line in a list is the first sentence of its help."""

    context_class = Context

    def __init__(self, texts: Catalogue, name: str, help_id: str, **attributes: object) -> None:
        text = texts.text(help_id)
        super().__init__(name, help=text, short_help=first_sentence(text), **attributes)  # type: ignore[arg-type]
        self._texts = texts

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Click's own --help, described in our words."""
        return _described(super().get_help_option(ctx), self._texts)


class Group(click.Group):
    """The same for a command that has commands below it."""

    context_class = Context

    def __init__(self, texts: Catalogue, name: str, help_id: str, commands: Sequence[click.Command]) -> None:
        text = texts.text(help_id)
        super().__init__(name, help=text, short_help=first_sentence(text), commands=commands)
        self._texts = texts

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Click's own --help, described in our words."""
        return _described(super().get_help_option(ctx), self._texts)


def _described(option: click.Option | None, texts: Catalogue) -> click.Option | None:
    if option is not None:
        option.help = texts.text("cli.option.help")
    return option


def first_sentence(text: str) -> str:
    """Up to the first full stop, English or Japanese."""
    return _SENTENCE.split(text, maxsplit=1)[0]


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns, broken at spaces and between wide characters."""
    lines = [""]
    for chunk in _chunks(text):
        if lines[-1] and columns(lines[-1] + chunk.rstrip()) > width:
            lines.append("")
        lines[-1] += chunk if lines[-1] else chunk.lstrip()
    return [line.rstrip() for line in lines]


def _chunks(text: str) -> Iterator[str]:
    for found in _CHUNK.finditer(text):
        yield " " if found[0].isspace() else found[0]
