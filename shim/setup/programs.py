"""Every program that has a recipe.

Holds no setting itself.
"""

from __future__ import annotations

from shim.address import Address
from shim.setup.browsers import BROWSERS
from shim.setup.recipe import Recipe
from shim.setup.tools import TOOLS

RECIPES = {**BROWSERS, **TOOLS}
PROGRAMS = tuple(RECIPES)


def recipe(program: str, socks: Address) -> Recipe:
    """The settings of one of PROGRAMS for a SOCKS listener at HOST:PORT."""
    return RECIPES[program].at(socks)
