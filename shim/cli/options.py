"""Options and arguments that commands share, and how they become flags of the configuration.

Values of settings are passed on as they are: the configuration judges them, in the reader's language, all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.address import Address, AddressError
from shim.locale import LANGUAGES, Catalogue

if TYPE_CHECKING:
    from shim.config import Config


@dataclass(frozen=True, slots=True)
class Setting:
    """An option that replaces one setting of the file; `constant` is what one that takes no value stands for."""

    option: str
    key: str
    help: str
    choices: tuple[str, ...] = ()
    multiple: bool = False
    constant: object = None

    @property
    def name(self) -> str:
        """The option as Python names it."""
        return self.option.removeprefix("--").replace("-", "_")


SETTINGS = (
    Setting("--socks", "listen.socks", "cli.option.socks", multiple=True),
    Setting("--http", "listen.http", "cli.option.http", multiple=True),
    Setting("--dns", "listen.dns", "cli.option.dns", multiple=True),
    Setting("--upstream", "upstream.address", "cli.option.upstream"),
    Setting("--mode", "policy.mode", "cli.option.mode", ("warn", "block", "repair")),
    Setting("--dns-mode", "dns.mode", "cli.option.dns_mode", ("refuse", "issue", "tor")),
    Setting("--log-format", "log.format", "cli.option.log_format", ("text", "json")),
    Setting("--log-level", "log.level", "cli.option.log_level", ("debug", "info", "warning")),
    Setting("--reveal", "log.safe_logging", "cli.option.reveal", constant=False),
    Setting("--sandbox", "sandbox.mode", "cli.option.sandbox", ("auto", "require", "off")),
    Setting("--lang", "log.lang", "cli.option.lang", LANGUAGES),
)


_NOT_GIVEN = (None, False, ())
"""What Click has for an option that is not there: with a value, without one, repeatable."""


class Choice(click.Choice[str]):
    """Completes and documents the choices; a wrong one passes, because the configuration explains it better."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word as it is."""
        return str(value)


def address_type(texts: Catalogue) -> Callable[[str], Address]:
    """ADDR, for the commands that take one without a configuration; a usage error says why it is none."""

    def addr(text: str) -> Address:
        try:
            return Address.parse(text)
        except AddressError as error:
            raise click.BadParameter(texts.text(error.reason)) from None

    return addr


def config_options(texts: Catalogue) -> list[click.Parameter]:
    """--config and every option that replaces a setting."""
    file = click.Option(
        ["--config"], type=click.Path(path_type=Path), metavar="FILE", help=texts.text("cli.option.config")
    )
    return [file, *(_option(setting, texts) for setting in SETTINGS)]


def _option(setting: Setting, texts: Catalogue) -> click.Option:
    takes_address = not setting.choices and setting.constant is None
    return click.Option(
        [setting.option, setting.name],
        type=Choice(setting.choices) if setting.choices else None,
        metavar="ADDR" if takes_address else None,
        is_flag=None
        if setting.constant is None
        else True,  # False would let the value be left out, and the default stand
        multiple=setting.multiple,
        help=texts.text(setting.help),
    )


def lang_option(texts: Catalogue) -> click.Option:
    """--lang, for commands without a configuration. The texts were chosen by it before any command was built."""
    return click.Option(
        ["--lang"], type=click.Choice(LANGUAGES), expose_value=False, help=texts.text("cli.option.lang")
    )


def file_or_dash(option: str, help: str) -> click.Option:
    """Where a report goes: None for -, which is standard output, as without the option."""
    return click.Option(
        [option],
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        metavar="FILE",
        callback=lambda _context, _option, file: None if file == Path("-") else file,
        help=help,
    )


def load(texts: Catalogue, file: Path | None, values: dict[str, Any], workers: int = 1) -> Config | None:
    """The configuration; None once its problems have been told on standard error."""
    import shim.config
    from shim.errors import ConfigError

    flags = [
        shim.config.Flag(setting.option, setting.key, value if setting.constant is None else setting.constant)
        for setting in SETTINGS
        if (value := values.get(setting.name)) not in _NOT_GIVEN  # an empty text is given, and wrong
    ]
    try:
        return shim.config.load(file, flags, workers=workers, lang=texts.lang)
    except ConfigError as error:
        click.echo("\n".join(error.problems), err=True)
        return None
