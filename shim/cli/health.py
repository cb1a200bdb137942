"""`shim health`: does the SOCKS listener answer? Made for a container's health check."""

from __future__ import annotations

import click

from shim.address import Address
from shim.cli.helptext import Command
from shim.cli.options import address_type, lang_option
from shim.cli.status import EXIT_OK
from shim.health import answers
from shim.locale import Catalogue

DEFAULT_ADDRESS = "127.0.0.1:9250"
EXIT_UNHEALTHY = 1


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def health(address: Address) -> int:
        healthy = answers(address)
        click.echo(texts.text("cli.healthy" if healthy else "cli.unhealthy", address=address), err=not healthy)
        return EXIT_OK if healthy else EXIT_UNHEALTHY

    address = click.Argument(["address"], type=address_type(texts), default=DEFAULT_ADDRESS, metavar="[ADDR]")
    return Command(texts, "health", "cli.health", callback=health, params=[address, lang_option(texts)])
