"""How wide a text is in a terminal, where a Japanese character takes two columns.

Knows no language.
"""

from __future__ import annotations

from unicodedata import east_asian_width


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
