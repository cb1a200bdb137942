"""How help looks: texts from the catalogue, wrapped by the columns that they take in a terminal.

Knows no command. Click measures in characters, and a Japanese one is two columns wide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import click

from shim.locale import Catalogue
from shim.locale.width import columns

# Of JIS X 4051, what these texts need: some marks never begin a line, others never end one.
_CLOSING = "。、）」・ーぁぃぅぇぉっゃゅょァィゥェォッャュョ"
_OPENING = "（「"
_CHUNK = re.compile(rf"\s+|[{_OPENING}]*(?:[!-~]+|[^\s!-~])[{_CLOSING}]*")
_SENTENCE = re.compile(r"(?<=。)|(?<=\.)\s+")


_HEADINGS = {"Options": "cli.help.options", "Commands": "cli.help.commands"}


class Formatter(click.HelpFormatter):
    """Click's layout in the catalogue's language, with lines broken by columns."""

    def __init__(self, texts: Catalogue, width: int | None, max_width: int | None) -> None:
        super().__init__(width=width, max_width=max_width)
        self._texts = texts

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The first line."""
        super().write_usage(prog, args, self._texts.text("cli.help.usage") if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        """Of a list of options or commands."""
        super().write_heading(self._texts.text(_HEADINGS[heading]) if heading in _HEADINGS else heading)

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

    def make_formatter(self) -> Formatter:
        """One in the language of the command."""
        command = self.command
        assert isinstance(command, Command | Group)
        return Formatter(command.texts, self.terminal_width, self.max_content_width)


class Command(click.Command):
    """A command whose texts come from the catalogue; its line in a list is the first sentence of its help."""

    context_class = Context

    def __init__(self, texts: Catalogue, name: str, help_id: str, **attributes: object) -> None:
        text = texts.text(help_id)
        super().__init__(name, help=text, short_help=first_sentence(text), **attributes)  # type: ignore[arg-type]
        self.texts = texts

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Click's own --help, described in our words."""
        return _described(super().get_help_option(ctx), self.texts)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As Click does it, but words too many are told in our words, and of a wrong option it is known whose it is."""
        ctx.allow_extra_args = True
        try:
            rest = super().parse_args(ctx, args)
        except click.BadOptionUsage as error:
            error.ctx = ctx
            raise
        if rest and not ctx.resilient_parsing:
            ctx.fail(self.texts.text("cli.usage.too_many", words=" ".join(rest)))
        return rest


class Group(click.Group):
    """The same for a command that has commands below it."""

    context_class = Context

    def __init__(self, texts: Catalogue, name: str, help_id: str, commands: Sequence[click.Command]) -> None:
        text = texts.text(help_id)
        super().__init__(name, help=text, short_help=first_sentence(text), commands=commands)
        self.texts = texts

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Click's own --help, described in our words."""
        return _described(super().get_help_option(ctx), self.texts)


def _described(option: click.Option | None, texts: Catalogue) -> click.Option | None:
    if option is not None:
        option.help = texts.text("cli.option.help")
    return option


def first_sentence(text: str) -> str:
    """Up to the first full stop, English or Japanese."""
    return _SENTENCE.split(text, maxsplit=1)[0]


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
