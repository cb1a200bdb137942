"""`--visit` of `shim check`: which browser, with the settings that `shim setup` has for it.

Starts nothing.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click

from shim.address import Address
from shim.locale import Catalogue

if TYPE_CHECKING:
    from shim.lab.browser import Visits

_PAGE = re.compile(r"https?://[^/\s]\S*|\{canary_url\}\S*|\{canary_https_url\}\S*", re.IGNORECASE)


def visits(command: tuple[str, ...], urls: tuple[str, ...], texts: Catalogue) -> Visits | None:
    """None without --visit. UsageError for a program that is not known, and for what is no page."""
    if not urls:
        return None
    from shim.lab import browser

    for url in urls:
        if not _PAGE.fullmatch(url):
            raise click.UsageError(texts.text("check.visit_url", url=repr(url)))
    family = browser.family_of(command[0])
    if family is None:
        raise click.UsageError(texts.text("check.visit_unknown", program=command[0]))
    if (word := browser.undoes(family, command[1:])) is not None:
        raise click.UsageError(texts.text("check.visit_profile", word=word))
    flags, settings = _settings(family)
    return browser.Visits(family, urls, flags, settings)


def _settings(family: str) -> tuple[tuple[str, ...], str]:
    """Flags and lines of user.js: what a person is told to set, no more and no less."""
    from shim.lab.namespace import SOCKS_HOST, SOCKS_PORTS
    from shim.setup.browsers import BROWSERS

    pieces = BROWSERS[family].at(Address(SOCKS_HOST, SOCKS_PORTS[0])).pieces
    commands = [shlex.split(piece.text) for piece in pieces if piece.kind == "command"]
    settings = [piece.text for piece in pieces if piece.where == "user.js"]
    return tuple(word for words in commands for word in words[1:]), "".join(settings)
