"""Message catalogues: one JSON file a language, message ids to texts with `{name}` fields.

Keys, ids and codes are never translated; what a person reads is. Reads nothing but its own package files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from importlib import resources

LANGUAGES = ("en", "ja")
FALLBACK = "en"


class Catalogue:
    """The texts of one language. A missing id is a bug: KeyError."""

    __slots__ = ("_texts", "lang")

    def __init__(self, lang: str, texts: Mapping[str, str]) -> None:
        self.lang = lang
        self._texts = texts

    def text(self, message_id: str, /, **fields: object) -> str:
        """The text of `message_id` with its fields filled in."""
        text = self._texts[message_id]
        return text.format(**fields) if fields else text

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._texts

    def ids(self) -> frozenset[str]:
        """All message ids."""
        return frozenset(self._texts)


@cache
def catalogue(lang: str) -> Catalogue:
    """The catalogue of `lang`, one of LANGUAGES."""
    raw = resources.files(__package__).joinpath(f"{lang}.json").read_text(encoding="utf-8")
    return Catalogue(lang, json.loads(raw))


def preferred_language(environ: Mapping[str, str] = os.environ) -> str:
    """The language of LC_ALL, LC_MESSAGES or LANG, the first that is set; English where we have no such catalogue."""
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(variable):
            lang = value.partition(".")[0].partition("_")[0].lower()
            return lang if lang in LANGUAGES else FALLBACK
    return FALLBACK
