"""What a recipe is: the settings of one program as templates, and their texts for one address.

Opens no file and knows no program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from string import Template
from typing import Literal

from shim.address import Address
from shim.setup.edits import Block, Edit, Edits, Slot

Kind = Literal["file", "command", "variables", "code"]
CONFIG = "CONFIG"
"""In place of a variable: XDG_CONFIG_HOME, or ~/.config where that is not set."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One text to use. `where` is the file it belongs into, else ""; `about` the id of a message in front of it."""

    kind: Kind
    text: str
    where: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All about one program. In texts, $at is HOST:PORT, $host and $port its halves.

    `homes` are the files that --write may edit: of those below a variable that is set, the first that exists, else
    `homes[default]`. `asks_for` is the option that must name the file where there is no such place.
    """

    notes: tuple[str, ...]
    pieces: tuple[Piece, ...] = ()
    edits: Edits | None = None
    homes: tuple[tuple[str, str], ...] = ()
    default: int = 0
    asks_for: Literal["", "profile", "file"] = ""

    def at(self, socks: Address) -> Recipe:
        """The same with the address filled in."""
        values = {"at": str(socks), "host": socks.host, "port": str(socks.port)}
        pieces = tuple(replace(piece, text=_filled(piece.text, values)) for piece in self.pieces)
        edits = self.edits and replace(self.edits, steps=tuple(_step(step, values) for step in self.edits.steps))
        return replace(self, pieces=pieces, edits=edits)


def _step(step: Edit, values: Mapping[str, str]) -> Edit:
    if isinstance(step, Block):
        return Block(tuple(_filled(line, values) for line in step.lines))
    return Slot(_filled(step.line, values), step.replaces, step.section, step.header, step.indent, step.folded)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return Template(text).substitute(values)
