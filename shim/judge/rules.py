"""Which rule of the policy fits a request, and what it changes of a decision.

Looks at nothing but its arguments. A condition may be undecided: then what it asks for is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final, NamedTuple

from shim.judge.decide import FORWARD_BY_RULE, REFUSE_BY_RULE, decide, plaintext, worth_hearing, would_connect
from shim.judge.findings import shows
from shim.judge.hosts import canonical
from shim.model import PENDING, Action, Decision, Exposure, Knowledge, Process, Request, Standing, Verdict
from shim.policy import Policy
from shim.rule import Rule

UNDECIDED: Final = -1
"""The number of the rule cannot be told before it is known whose request it is."""

Address = IPv4Address | IPv6Address


class Facts(NamedTuple):
    """What rules look at; None where it is not known.

    `names` are those that the destination was given as or stands for certainly, `addresses` what it is in the network:
    an issued address is a name only. `sought` tells that `process` is all that will ever be known of the program.
    """

    names: tuple[str, ...] | None
    addresses: tuple[Address, ...] | None
    port: int | None
    listener: str | None
    process: Process | None
    sought: bool


def facts(request: Request, known: Knowledge, listener: str, process: Process | None, sought: bool) -> Facts:
    """What is known of a request."""
    host = canonical(request.host)
    if isinstance(host, str):
        return Facts((host,), (), request.port, listener, process, sought)
    # Names that only others were told of prove nothing about this client, and anyone can plant one.
    names = known.names if known.standing is not Standing.UNKNOWN else ()
    addresses = (host,) if known.standing in (Standing.UNKNOWN, Standing.RESOLVED_BY_TOR) else ()
    return Facts(names, addresses, request.port, listener, process, sought)


def first(rules: Sequence[Rule], about: Facts) -> int:
    """The number of the first rule that fits, counted from 1; 0 for none, UNDECIDED where that is not known yet."""
    for number, rule in enumerate(rules, 1):
        held = fits(rule, about)
        if held is None:
            return UNDECIDED
        if held:
            return number
    return 0


def fits(rule: Rule, about: Facts) -> bool | None:
    """Whether all of a rule's conditions hold. One that fails decides, whatever else is unknown."""
    result: bool | None = True
    for key, accepted in rule.conditions.items():
        held = _TESTS[key](accepted, about)
        if held is False:
            return False
        result = result and held
    return result


def conditions(rule: Rule, about: Facts) -> dict[str, bool | None]:
    """Each condition of a rule, and whether it holds: why the rule fits or does not."""
    return {key: _TESTS[key](accepted, about) for key, accepted in rule.conditions.items()}


def by_rule(request: Request, exposure: Exposure, known: Knowledge, policy: Policy, about: Facts) -> Verdict | None:
    """The verdict under the first rule that fits; PENDING where that is not known yet, None where none does."""
    number = first(policy.rule, about)
    if number == UNDECIDED:
        return PENDING
    decision = _under(number, request, exposure, known, policy)
    if decision.host is not None and decision.host not in (about.names or ()):
        # A name that is only guessed is about to be sent: whoever refuses that name means this, too.
        other = first(policy.rule, about._replace(names=(decision.host,), addresses=()))
        if other == UNDECIDED:
            return PENDING
        if other and policy.rule[other - 1].allow is False:
            number, decision = other, REFUSE_BY_RULE
    if not number:
        return None
    rule = policy.rule[number - 1]
    exposed = request.port in policy.plaintext_ports and would_connect(request, decision)
    if exposed and not rule.allow:
        decision = plaintext(request, decision, policy)
    hear = None if rule.allow is False else worth_hearing(request, decision, policy.exceptions[number - 1])
    finding = exposed or shows(request, exposure, decision)
    return Verdict(exposure, decision, known.names, exposed, number, rule.isolate, hear, finding)


def _under(number: int, request: Request, exposure: Exposure, known: Knowledge, policy: Policy) -> Decision:
    if not number:
        return decide(request, exposure, known, policy)
    decision = decide(request, exposure, known, policy.exceptions[number - 1])
    return overruled(policy.rule[number - 1], decision, exposure, known)


def overruled(rule: Rule, decision: Decision, exposure: Exposure, known: Knowledge) -> Decision:
    """What becomes of a decision under `allow`. Whatever cannot go to Tor stays refused, and keeps its own reason."""
    if rule.allow is None:
        return decision
    if not rule.allow:
        return decision if decision.action is Action.BLOCK else REFUSE_BY_RULE
    if decision.action is Action.REPAIR:
        return Decision(Action.REPAIR, FORWARD_BY_RULE.reason, host=decision.host)
    if decision.action is Action.FORWARD or exposure in _ALLOWED:
        return FORWARD_BY_RULE
    if exposure is Exposure.ISSUED and known.standing is Standing.ISSUED and len(known.names) == 1:
        return Decision(Action.REPAIR, FORWARD_BY_RULE.reason, host=known.names[0])
    return decision


_ALLOWED = (Exposure.ADDRESS, Exposure.ADDRESS_AS_TEXT, Exposure.LOCAL)


def _port(accepted: frozenset[int], about: Facts) -> bool | None:
    return None if about.port is None else about.port in accepted


def _listener(accepted: frozenset[str], about: Facts) -> bool | None:
    return None if about.listener is None else about.listener in accepted


def _name(accepted: frozenset[str], about: Facts) -> bool | None:
    return None if about.names is None else not accepted.isdisjoint(about.names)


def _suffix(accepted: frozenset[str], about: Facts) -> bool | None:
    if about.names is None:
        return None
    return any(any(map(f".{name}".endswith, accepted)) for name in about.names)


def _network(accepted: frozenset[IPv4Network | IPv6Network], about: Facts) -> bool | None:
    if about.addresses is None:
        return None
    return any(address in network for address in about.addresses for network in accepted)


def _by_process(names_of: Callable[[Process], Sequence[str | None]]) -> Callable[[frozenset[str], Facts], bool | None]:
    """A test of a program. One that cannot be known fits no rule that names one."""

    def test(accepted: frozenset[str], about: Facts) -> bool | None:
        names = () if about.process is None else names_of(about.process)
        if not accepted.isdisjoint(names):
            return True
        return False if about.sought or any(name is not None for name in names) else None

    return test


def _programs(process: Process) -> Sequence[str | None]:
    """The kernel cuts a name off after 15 bytes, and an interpreter is not what a person runs."""
    exe = process.exe
    return process.name, exe and exe[max(exe.rfind("/"), exe.rfind("\\")) + 1 :], process.script


def _units(process: Process) -> Sequence[str | None]:
    """The label with its kind, and without."""
    label = process.label
    return label, label and label.partition(":")[2]


_TESTS: Mapping[str, Callable[[Any, Facts], bool | None]] = {
    "port": _port,
    "listener": _listener,
    "name": _name,
    "suffix": _suffix,
    "network": _network,
    "program": _by_process(_programs),
    "executable": _by_process(lambda process: (process.exe,)),
    "unit": _by_process(_units),
}
