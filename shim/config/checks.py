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

WORKERS = "workers"
"""Not a key of the file: the number of processes is a flag only."""


def contradictions(config: Config, workers: int) -> Iterator[Problem]:
    """Every contradiction, each with all the settings that take part in it."""
    listeners = [("listen.socks", address) for address in config.listen.socks]
    listeners += [("listen.http", address) for address in config.listen.http]
    if not listeners:
        yield Problem(("listen.socks", "listen.http"), "config.no_listener")
    sensors = [("listen.dns", address) for address in config.listen.dns]
    for key, address in sensors:
        if address.is_unix:
            yield Problem((key,), "config.dns_unix", {"value": shown(str(address))})
    listeners += sensors
    for key, address in listeners:
        if not address.is_loopback and not config.listen.allow_remote:
            yield Problem((key, "listen.allow_remote"), "config.remote", {"value": shown(str(address))})
    for (key, one), (other_key, other) in combinations(listeners, 2):
        if _collide(one, other):
            message = "config.duplicate" if one == other else "config.collision"
            yield Problem((other_key, key), message, {"value": shown(str(other)), "other": shown(str(one))})
    upstream = config.upstream.address
    if upstream != "auto":
        for key, address in listeners:
            if _is_reached_at(address, upstream):
                yield Problem(("upstream.address", key), "config.upstream_is_listener", {"value": shown(str(upstream))})
    control = config.upstream.control
    if control is not None:
        yield from _control_contradictions(config, control, listeners, workers)
    elif config.upstream.control_password_file:
        yield Problem(("upstream.control_password_file",), "config.control_password")
    repairing = ["policy.mode"] if config.policy.mode is Mode.REPAIR else []
    repairing += [f"{RULES}[{n}].mode" for n, rule in enumerate(config.policy.rule, 1) if rule.mode is Mode.REPAIR]
    if workers > 1 and repairing:
        yield Problem((WORKERS, *repairing), "config.workers_repair", {"value": workers})
    if workers > 1 and sensors:
        yield Problem((WORKERS, "listen.dns"), "config.workers_dns", {"value": workers})
    yield from rule_contradictions(config)


def _control_contradictions(
    config: Config, control: Address, listeners: list[tuple[str, Address]], workers: int
) -> Iterator[Problem]:
    value = shown(str(control))
    if control == config.upstream.address:
        yield Problem(("upstream.control", "upstream.address"), "config.control_is_upstream", {"value": value})
    for key, address in listeners:
        if _is_reached_at(address, control):
            yield Problem(("upstream.control", key), "config.control_is_listener", {"value": value})
    if workers > 1:
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
