"""Settings that are right alone and wrong together.

Pure: looks at one configuration, never at the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import combinations

from shim.address import Address
from shim.config.problems import Problem, shown
from shim.config.rules import rule_contradictions
from shim.config.settings import Config
from shim.config.views import RULES
from shim.model import Mode

Listeners = list[tuple[str, Address]]
"""Every address that is listened on, with the setting that says so."""

WORKERS = "workers"
"""Not a key of the file: the number of processes is a flag only."""


def contradictions(config: Config, workers: int) -> Iterator[Problem]:
    """Every contradiction, each with all the settings that take part in it."""
    listen = config.listen
    listeners = [("listen.socks", address) for address in listen.socks]
    listeners += [("listen.http", address) for address in listen.http]
    if not listeners:
        yield Problem(("listen.socks", "listen.http"), "config.no_listener")
    listeners += [("listen.dns", address) for address in listen.dns]
    yield from _listener_contradictions(config, listeners)
    yield from _upstream_contradictions(config, listeners)
    if workers > 1:
        yield from _worker_contradictions(config, workers)
    yield from rule_contradictions(config)


def _listener_contradictions(config: Config, listeners: Listeners) -> Iterator[Problem]:
    for key, address in listeners:
        if key == "listen.dns" and address.is_unix:
            yield Problem((key,), "config.dns_unix", {"value": shown(str(address))})
        if not address.is_loopback and not config.listen.allow_remote:
            yield Problem((key, "listen.allow_remote"), "config.remote", {"value": shown(str(address))})
    for (key, one), (other_key, other) in combinations(listeners, 2):
        if _collide(one, other):
            message = "config.duplicate" if one == other else "config.collision"
            yield Problem((other_key, key), message, {"value": shown(str(other)), "other": shown(str(one))})


def _upstream_contradictions(config: Config, listeners: Listeners) -> Iterator[Problem]:
    upstream, control = config.upstream.address, config.upstream.control
    if upstream != "auto":
        yield from _reached(listeners, "upstream.address", upstream, "config.upstream_is_listener")
    if control is not None:
        if control == upstream:
            keys = "upstream.control", "upstream.address"
            yield Problem(keys, "config.control_is_upstream", {"value": shown(str(control))})
        yield from _reached(listeners, "upstream.control", control, "config.control_is_listener")
    elif config.upstream.control_password_file:
        yield Problem(("upstream.control_password_file",), "config.control_password")


def _reached(listeners: Listeners, setting: str, address: Address, message: str) -> Iterator[Problem]:
    for key, listener in listeners:
        if _is_reached_at(listener, address):
            yield Problem((setting, key), message, {"value": shown(str(address))})


def _worker_contradictions(config: Config, workers: int) -> Iterator[Problem]:
    repairing = ["policy.mode"] if config.policy.mode is Mode.REPAIR else []
    repairing += [f"{RULES}[{n}].mode" for n, rule in enumerate(config.policy.rule, 1) if rule.mode is Mode.REPAIR]
    if repairing:
        yield Problem((WORKERS, *repairing), "config.workers_repair", {"value": workers})
    if config.listen.dns:
        yield Problem((WORKERS, "listen.dns"), "config.workers_dns", {"value": workers})
    if config.upstream.control is not None:
        yield Problem((WORKERS, "upstream.control"), "config.workers_control", {"value": workers})


def _collide(one: Address, other: Address) -> bool:
    """Both cannot be bound: the same place, or one port of which one side takes every address."""
    if one.is_unix or other.is_unix:
        return one == other
    first, second = ip_address(one.host), ip_address(other.host)
    same_port = one.port == other.port != 0 and first.version == second.version
    return same_port and (first == second or first.is_unspecified or second.is_unspecified)


def _is_reached_at(listener: Address, address: Address) -> bool:
    """Connecting to `address` would reach `listener`, as far as one can tell without looking at the machine."""
    return _collide(listener, address) and (listener == address or address.is_loopback)
