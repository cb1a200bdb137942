"""What is wrong with a setting, in the reader's language: place, key, what is allowed, what was given, a suggestion.

Judges no setting itself; values are shown with control and bidi characters escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from pydantic_core import ErrorDetails

from shim.config.settings import Config
from shim.config.views import RULES, flat, toml_value
from shim.errors import PolicyError
from shim.locale import Catalogue
from shim.rule import EFFECTS, MATCHERS

KEYS = tuple(flat(Config()))
SECTIONS = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS))
_SHOWN_CHARACTERS = 80

_MESSAGES = {
    "address": "config.address",
    "bool_type": "config.bool",
    "control": "config.control",
    "dataclass_type": "config.table",
    "enum": "config.choice",
    "file_mode": "config.file_mode",
    "finite_number": "config.number",
    "float_type": "config.number",
    "greater_than": "config.more_than",
    "greater_than_equal": "config.at_least",
    "int_type": "config.integer",
    "less_than_equal": "config.at_most",
    "literal_error": "config.choice",
    "model_type": "config.table",
    "network": "config.network",
    "program": "config.program",
    "state_file": "config.state_file",
    "string_type": "config.text",
    "tuple_type": "config.list",
    "upstream": "config.upstream",
}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_IN_RULE = re.compile(r"(policy\.rule\[\d+\])\..*", re.DOTALL)
_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than_equal": "le"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the settings it lies in, the message that explains it, perhaps one more, the fields of both."""

    keys: tuple[str, ...]
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)
    more: str | None = None

    def text(self, texts: Catalogue) -> str:
        """The explanation, without the place."""
        ids = [self.message, self.more] if self.more else [self.message]
        return texts.text("config.then").join(texts.text(each, **self.fields) for each in ids)


def problems_of(error: ErrorDetails) -> list[Problem]:
    """What the validator found, in our words; of a policy, every entry that cannot be meant."""
    name = _name(error["loc"])
    wrong = error.get("ctx", {}).get("error")
    if isinstance(wrong, PolicyError):
        return [Problem((f"{name}.{key}",), text, {"value": shown(value)}) for key, text, value in wrong.mistakes]
    return [_problem(name, error)]


def _name(place: tuple[int | str, ...]) -> str:
    """`section.key`, or `policy.rule[1].key` counted from 1."""
    if place[:2] == ("policy", "rule") and len(place) > 2:
        return ".".join((f"{RULES}[{int(place[2]) + 1}]", *map(str, place[3:4])))
    return ".".join(map(str, place[:2]))


def _problem(name: str, error: ErrorDetails) -> Problem:
    kind, given, details = error["type"], error["input"], error.get("ctx", {})
    if kind in _UNKNOWN:
        return _unknown(name)
    message = "config.rules" if name == RULES else _MESSAGES[kind]
    if kind in _BOUNDS:
        return Problem((name,), message, {"value": shown(given), "limit": toml_value(details[_BOUNDS[kind]])})
    if message == "config.choice":
        choices = re.findall("'([^']*)'", details["expected"])
        allowed = ", ".join(map(repr, choices))
        return _with_hint((name,), message, {"value": shown(given), "allowed": allowed}, _nearest(given, choices))
    if message == "config.network":
        return Problem((name,), message, {"value": shown(given), **details})
    return Problem((name,), message, {"value": shown(given)}, details.get("reason"))


def shown(value: object) -> str:
    """A value as an error line repeats it: short, on one line, nothing that could steer a terminal."""
    text = repr(value) if isinstance(value, str) else toml_value(value) if _is_scalar(value) else "[…]"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _is_scalar(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _unknown(name: str) -> Problem:
    section, dot, key = name.partition(".")
    if not dot:
        fields: dict[str, object] = {"allowed": ", ".join(SECTIONS)}
        return _with_hint((name,), "config.unknown_key", fields, _nearest(section, SECTIONS) or _key_named(section))
    if rule := _IN_RULE.fullmatch(name):
        known = [f"{rule[1]}.{each}" for each in (*MATCHERS, *EFFECTS)]
    else:
        known = [each for each in KEYS if each.startswith(f"{section}.")]
    hint = _nearest(name, known) or _key_named(key)
    return _with_hint((name,), "config.unknown_key", {"allowed": ", ".join(_tail(each) for each in known)}, hint)


def _with_hint(keys: tuple[str, ...], message: str, fields: dict[str, object], hint: str | None) -> Problem:
    """A guess at what was meant, if there is a near one; else what is allowed, unless the message itself says it."""
    if hint:
        return Problem(keys, message, fields | {"hint": hint}, "config.hint")
    return Problem(keys, message, fields, None if message == "config.choice" else "config.allowed")


def _nearest(given: object, known: Sequence[str]) -> str | None:
    """Compared without the section, which all of `known` may share."""
    tails = {_tail(each): each for each in known}
    matches = get_close_matches(_tail(str(given).lower()), tails, n=1)
    return tails[matches[0]] if matches else None


def _key_named(key: str) -> str | None:
    """The setting of another section that has this very name."""
    return next((each for each in KEYS if _tail(each) == key), None)


def _tail(name: str) -> str:
    return name.rpartition(".")[2]
