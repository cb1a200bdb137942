"""Rules of the policy that can be read and cannot be meant: they contradict themselves, or nothing ever reaches them.

Pure: looks at one configuration, never at the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from shim.config.problems import Problem, shown
from shim.config.settings import Config
from shim.config.views import RULES
from shim.model import Mode
from shim.rule import BY_PROGRAM, EFFECTS, MATCHERS, Rule


def rule_contradictions(config: Config) -> Iterator[Problem]:
    """What is wrong with each rule, beside the others and the rest of the configuration."""
    listeners = [str(address) for address in (*config.listen.socks, *config.listen.http)]
    for number, rule in enumerate(config.policy.rule, 1):
        place = f"{RULES}[{number}]"
        yield from _effects(rule, place)
        yield from _destination(rule, place)
        for listener in sorted(rule.conditions.get("listener", frozenset()) - set(listeners), key=str):
            fields = {"value": shown(listener), "allowed": ", ".join(map(repr, listeners))}
            yield Problem((f"{place}.listener", "listen.socks", "listen.http"), "config.rule_listener", fields)
        if not config.log.attribution:
            for key in BY_PROGRAM:
                if key in rule.conditions:
                    yield Problem((f"{place}.{key}", "log.attribution"), "config.rule_attribution")
        for earlier, other in enumerate(config.policy.rule[: number - 1], 1):
            if _covers(other, rule):
                before = f"{RULES}[{earlier}]"
                yield Problem((place, before), "config.rule_unreached", {"other": before})
                break


def _effects(rule: Rule, place: str) -> Iterator[Problem]:
    if all(getattr(rule, key) is None for key in EFFECTS):
        yield Problem((place,), "config.rule_without_effect", {"allowed": ", ".join(EFFECTS)})
    if rule.allow is False:
        for key in EFFECTS[:2]:
            if getattr(rule, key) is not None:
                yield Problem((f"{place}.{key}",), "config.rule_refuses_anyway")
    if rule.allow and rule.mode is Mode.BLOCK:
        yield Problem((f"{place}.mode",), "config.rule_allows_anyway")


def _destination(rule: Rule, place: str) -> Iterator[Problem]:
    names, suffixes = rule.conditions.get("name"), rule.conditions.get("suffix")
    if "network" in rule.conditions and (names or suffixes):
        yield Problem((f"{place}.network",), "config.rule_name_and_network")
    if names and suffixes and not any(f".{name}".endswith(str(suffix)) for name, suffix in product(names, suffixes)):
        yield Problem((f"{place}.suffix",), "config.rule_name_outside")


def _covers(earlier: Rule, later: Rule) -> bool:
    """Whether all that the later rule fits is taken by the earlier one: each of its conditions is there too, as narrow.

    Of names and networks only equal ones are seen, so it is no proof when this says no.
    """
    return all(
        key in later.conditions and later.conditions[key] <= earlier.conditions[key]
        for key in MATCHERS
        if key in earlier.conditions
    )
