"""Names that are made for one run: whoever learns one has learnt it from the program that is run.

Looks no name up and judges nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Final, Self

from shim.judge.hosts import canonical_name
from shim.value import value

PAGE: Final = "page"
_PREFIXES: Final = {
    PAGE: "www",
    "image": "img",
    "script": "static",
    "frame": "embed",
    "link": "news",
    "dns_prefetch": "cdn",
    "preconnect": "fonts",
    "prefetch": "m",
    "fetch": "api",
    "socket": "live",
    "stun": "stun",
}
"""What each name is for, and how its host is called."""

ROLES: Final = tuple(_PREFIXES)

# A name like any other: special ones (.test, .invalid) may be answered by the program itself and never be seen.
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"
_SYLLABLES: Final = 8
_ZONES: Final = ("com", "net", "org", "info")


@value
class Canary:
    """One name. `label` is the part of it that nobody else has: 90 ** 8, 52 bits of chance."""

    role: str
    host: str
    label: str


@value
class Canaries:
    """All names of a run."""

    names: tuple[Canary, ...] = ()

    @classmethod
    def make(cls, roles: Iterable[str]) -> Self:
        """New names, one for each of some ROLES."""
        return cls(tuple(map(_canary, roles)))

    def __iter__(self) -> Iterator[Canary]:
        return iter(self.names)

    def host(self, role: str) -> str:
        """The name for that role; KeyError if this run has none."""
        return {each.role: each.host for each in self.names}[role]

    def role_of(self, name: str | None) -> str | None:
        """Which canary it is, or is below, or has had a search suffix put behind."""
        labels = canonical_name(name or "").split(".")
        return next((each.role for each in self.names if each.label in labels), None)

    def role_in(self, raw: bytes) -> str | None:
        """Which canary's label is somewhere in a packet: in a DNS message as in a request in plain text."""
        lowered = raw.lower()
        return next((each.role for each in self.names if each.label.encode() in lowered), None)


def _canary(role: str) -> Canary:
    label = "".join(secrets.choice(_CONSONANTS) + secrets.choice(_VOWELS) for _ in range(_SYLLABLES))
    return Canary(role, f"{_PREFIXES[role]}.{label}.{secrets.choice(_ZONES)}", label)
