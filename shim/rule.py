"""One exception to the policy, as a frozen value: which requests it is for, and what is different for them.

It matches nothing itself and reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from shim.address import MAX_PORT, Address, AddressError, parse_network
from shim.errors import PolicyError
from shim.model import Isolate, Mode

EFFECTS = ("mode", "isolate", "allow")

_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]*(?:\.[a-z0-9_][a-z0-9_-]*)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""The last part of what a resolver takes for an address."""
_DRIVE = re.compile(r"[A-Za-z]:\\")


def _host_name(text: str) -> str | None:
    name = text.lower().removesuffix(".")
    return name if _NAME.fullmatch(name) and not _NUMBER.fullmatch(name.rpartition(".")[2]) else None


def _suffix(text: str) -> str | None:
    """With a dot before it, as it ends a name that has one before it, too."""
    name = _host_name(text.removeprefix("."))
    return name and f".{name}"


def _port(port: int) -> int | None:
    return port if 0 < port <= MAX_PORT else None


def _program(text: str) -> str | None:
    return text if text and not set(text) & {"/", "\\", "\0"} else None


def _executable(text: str) -> str | None:
    return text if text.startswith("/") or _DRIVE.match(text) else None


def _listener(text: str) -> str | None:
    """Which port "any free one" will be is not known before it is taken."""
    try:
        address = Address.parse(text)
    except AddressError:
        return None
    return str(address) if address.port or address.is_unix else None


# How each matcher reads one entry, and the message for an entry that it cannot. The cheapest to look at come first.
_READERS: Mapping[str, tuple[Callable[..., object], str]] = {
    "port": (_port, "config.port"),
    "listener": (_listener, "config.rule_listener_address"),
    "name": (_host_name, "config.rule_name"),
    "suffix": (_suffix, "config.rule_name"),
    "network": (parse_network, "config.rule_network"),
    "program": (_program, "config.rule_program"),
    "executable": (_executable, "config.rule_executable"),
    "unit": (lambda text: text or None, "config.rule_unit"),
}
MATCHERS = ("program", "executable", "unit", "name", "suffix", "network", "port", "listener")

BY_PROGRAM = ("program", "executable", "unit")
"""Matchers that cannot be decided before it is known whose request it is."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold of a request, all of it, of each list one entry; and what is then different.

    `allow` true forwards what would be refused, false refuses. PolicyError for an entry that cannot be meant.
    """

    program: tuple[str, ...] | None = None
    executable: tuple[str, ...] | None = None
    unit: tuple[str, ...] | None = None
    name: tuple[str, ...] | None = None
    suffix: tuple[str, ...] | None = None
    network: tuple[str, ...] | None = None
    port: tuple[int, ...] | None = None
    listener: tuple[str, ...] | None = None
    mode: Mode | None = None
    isolate: Isolate | None = None
    allow: bool | None = None
    conditions: Mapping[str, frozenset[object]] = field(init=False, repr=False, compare=False, default_factory=dict)
    """The matchers that are given, each with what it accepts, read."""

    def __post_init__(self) -> None:
        """Read the lists once, so that no request pays for it."""
        if mistakes := tuple(self._mistakes()):
            raise PolicyError(mistakes)
        read = {key: frozenset(map(_READERS[key][0], given)) for key, given in self._given()}
        object.__setattr__(self, "conditions", read)

    @property
    def by_program_alone(self) -> bool:
        """Whether nothing but the program tells if it fits."""
        return bool(self.conditions) and self.conditions.keys() <= set(BY_PROGRAM)

    def _given(self) -> Iterator[tuple[str, tuple[object, ...]]]:
        for key in _READERS:
            given = getattr(self, key)
            if given is not None:
                yield key, given

    def _mistakes(self) -> Iterator[tuple[str, str, object]]:
        for key, given in self._given():
            reader, message = _READERS[key]
            if not given:
                yield key, "config.rule_empty", []
            yield from ((key, message, entry) for entry in given if reader(entry) is None)
