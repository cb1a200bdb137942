"""What was wrong with a command line, in the reader's language.

Knows no command. Click finds the fault, but has words for it in English only.
"""

from __future__ import annotations

import click
from click.exceptions import NoArgsIsHelpError, NoSuchCommand

from shim.errors import system_words
from shim.locale import Catalogue


def show(error: click.ClickException, texts: Catalogue) -> None:
    """Tell it on standard error: the usage, where the help is, and what is wrong."""
    if isinstance(error, NoArgsIsHelpError):
        error.show()
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        help = texts.text("cli.usage.help", command=context.command_path)
        click.echo(f"{context.get_usage()}\n{help}\n", err=True)
    click.echo(texts.text("cli.usage.error", problem=problem(error, texts)), err=True)


def show_file(error: OSError, message: str, texts: Catalogue) -> None:
    """Tell on standard error what is the matter with a file."""
    click.echo(texts.text(message, file=error.filename, error=system_words(error)), err=True)


def problem(error: click.ClickException, texts: Catalogue) -> str:
    """One sentence."""
    match error:
        case click.NoSuchOption(option_name=word, possibilities=close):
            return texts.text("cli.usage.no_option", word=word) + _instead(close, texts)
        case NoSuchCommand(command_name=word, possibilities=close):
            return texts.text("cli.usage.no_command", word=word) + _instead(close, texts)
        case click.MissingParameter():
            return texts.text("cli.usage.missing", parameter=_named(error))
        case click.BadParameter():
            return texts.text("cli.usage.value", parameter=_named(error), reason=_reason(error, texts))
        case click.BadOptionUsage(option_name=word):
            message = "cli.usage.no_value" if _is_flag(word, error.ctx) else "cli.usage.needs_value"
            return texts.text(message, option=word)
        case click.UsageError(ctx=context) if context is not None and isinstance(context.command, click.Group):
            return texts.text("cli.usage.which_command")
    return error.format_message()  # a command's own words


def _instead(close: list[str] | None, texts: Catalogue) -> str:
    return texts.text("cli.usage.instead", words=", ".join(close)) if close else ""


def _named(error: click.BadParameter) -> str:
    """The option or argument as the help names it."""
    if isinstance(error.param_hint, str):
        return error.param_hint
    if isinstance(error.param, click.Argument):
        return error.param.human_readable_name.strip("[]")
    return "" if error.param is None else " / ".join(error.param.opts)


def _reason(error: click.BadParameter, texts: Catalogue) -> str:
    kind = None if error.param is None else error.param.type
    match kind:
        case click.Choice():
            return texts.text("cli.usage.choices", choices=", ".join(kind.choices))
        case click.IntRange() | click.FloatRange():
            return texts.text("cli.usage.range", least=kind.min, most=kind.max)
        case click.File():
            return _unreadable(error, texts)
        case click.Path():
            return texts.text("cli.usage.no_folder" if not kind.file_okay else "cli.usage.no_file")
    return error.message  # our own converters have the reader's words


def _unreadable(error: click.BadParameter, texts: Catalogue) -> str:
    """Click's sentence is in English, and what it was made of is behind it."""
    cause = error.__context__
    if not isinstance(cause, OSError):
        return error.message
    return texts.text("cli.usage.unreadable", file=cause.filename, error=system_words(cause))


def _is_flag(word: str, context: click.Context | None) -> bool:
    options = [] if context is None else context.command.get_params(context)
    return any(isinstance(option, click.Option) and word in option.opts and option.is_flag for option in options)
