"""`shim config explain`: which rule of the policy fits a request, why, and what would be decided.

Judges nothing itself and makes no request: it asks the judge, who remembers nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from shim.address import MAX_PORT, Address
from shim.cli.helptext import Command
from shim.cli.options import address_type, config_options, load
from shim.cli.status import EXIT_OK, EXIT_USAGE
from shim.locale import Catalogue
from shim.model import Command as Verb
from shim.model import Host, Peer, Process, Protocol, Request, Sought, Verdict
from shim.protocol.hostname import is_valid_hostname

if TYPE_CHECKING:
    from shim.config import Config
    from shim.judge.rules import Facts

FORMATS = ("text", "json")
_SOMEBODY = Peer("127.0.0.1", 0)
_OPTIONS = {
    "program": "--program",
    "executable": "--program",
    "unit": "--unit",
    "listener": "--listener",
}
"""Which option tells what a condition asks for; for all others it is the destination's."""
_DESTINATION = "--destination"


class Asked(NamedTuple):
    """What is known of the request; None where it was not given."""

    destination: tuple[Host, int] | None
    protocol: Protocol
    listener: str | None
    process: Process | None

    def request(self) -> Request | None:
        """The request itself, if its destination is known. A name by SOCKS4 is SOCKS4a, which has addresses as text."""
        if self.destination is None:
            return None
        (host, port), protocol = self.destination, self.protocol
        if protocol is Protocol.SOCKS4A:
            host = str(host)
        elif protocol is Protocol.SOCKS4 and isinstance(host, str):
            protocol = Protocol.SOCKS4A
        return Request(protocol, Verb.CONNECT, host, port)


class Step(NamedTuple):
    """One rule that was looked at: whether it fits (None: that cannot be told), why, and what it changes."""

    number: int
    fits: bool | None
    conditions: Mapping[str, bool | None]
    effects: Mapping[str, object]


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def explain(
        config: Path | None,
        program: str | None,
        unit: str | None,
        destination: tuple[Host, int] | None,
        listener: Address | None,
        protocol: str,
        format: str,
        **values: Any,
    ) -> int:
        settings = load(texts, config, values)
        if settings is None:
            return EXIT_USAGE
        proto = Protocol(protocol)
        if proto is Protocol.SOCKS4 and destination is not None and isinstance(destination[0], str):
            raise click.BadParameter(texts.text("cli.explain.socks4_name"), param_hint=_DESTINATION)
        at = str(listener) if listener is not None else _only_listener(settings, proto)
        asked = Asked(destination, proto, at, _process(program, unit))
        steps = list(_steps(settings, asked))
        verdict = _verdict(settings, asked, steps)
        if format == "json":
            click.echo(json.dumps(_as_json(steps, verdict)))
        else:
            for line in _as_text(steps, verdict, len(settings.policy.rule), texts):
                click.echo(line)
        return EXIT_OK

    return Command(texts, "explain", "cli.config_explain", callback=explain, params=_params(texts))


def _params(texts: Catalogue) -> list[click.Parameter]:
    destination = click.Option(
        [_DESTINATION],
        metavar="HOST:PORT",
        callback=lambda _context, _option, text: None if text is None else _host_and_port(text, texts),
        help=texts.text("cli.option.destination"),
    )
    return [
        *config_options(texts),
        click.Option(["--program"], metavar="NAME|PATH", help=texts.text("cli.option.program")),
        click.Option(["--unit"], metavar="NAME", help=texts.text("cli.option.unit")),
        destination,
        click.Option(["--listener"], type=address_type(texts), metavar="ADDR", help=texts.text("cli.option.listener")),
        click.Option(
            ["--protocol"],
            type=click.Choice([str(protocol) for protocol in Protocol]),
            default=str(Protocol.SOCKS5),
            help=texts.text("cli.option.protocol"),
        ),
        click.Option(
            ["--format"], type=click.Choice(FORMATS), default="text", help=texts.text("cli.option.doctor_format")
        ),
    ]


def _host_and_port(text: str, texts: Catalogue) -> tuple[Host, int]:
    host, _, port = text.rpartition(":")
    read = _host(host)
    if read is None or not (port.isascii() and port.isdigit() and int(port[:6]) <= MAX_PORT):
        raise click.BadParameter(texts.text("cli.explain.no_destination"), param_hint=_DESTINATION)
    return read, int(port)


def _host(text: str) -> Host | None:
    try:
        address: IPv4Address | IPv6Address = ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return text if text.isascii() and text[:1] != "[" and is_valid_hostname(text.encode()) else None
    bracketed = text.startswith("[") and text.endswith("]")
    return address if bracketed == isinstance(address, IPv6Address) else None


def _process(program: str | None, unit: str | None) -> Process | None:
    """A path tells the name as well; a name alone leaves open where the program lies."""
    if program is None and unit is None:
        return None
    path = program if program is not None and "/" in program else None
    return Process(0, (program or "").rpartition("/")[2], path, label=unit)


def _only_listener(settings: Config, protocol: Protocol) -> str | None:
    """Where such a request comes in, if there is but one such place."""
    listen = settings.listen
    places = listen.http if protocol is Protocol.HTTP else listen.socks
    return str(places[0]) if len(places) == 1 else None


def _steps(settings: Config, asked: Asked) -> Iterator[Step]:
    """Rule by rule, up to the first that fits."""
    from shim.judge.rules import conditions, fits
    from shim.rule import EFFECTS

    about = _facts(asked)
    for number, rule in enumerate(settings.policy.rule, 1):
        held = fits(rule, about)
        effects = {key: value for key in EFFECTS if (value := getattr(rule, key)) is not None}
        yield Step(number, held, conditions(rule, about), effects)
        if held:
            return


def _facts(asked: Asked) -> Facts:
    from shim.judge.rules import Facts, facts
    from shim.model import Knowledge

    request = asked.request()
    if request is None:
        return Facts(None, None, None, asked.listener, asked.process, False)
    return facts(request, Knowledge(), "", asked.process, False)._replace(listener=asked.listener)


def _verdict(settings: Config, asked: Asked, steps: list[Step]) -> Verdict | None:
    """What would be decided; None if that hangs on what was not given."""
    from shim.judge.judge import Judge
    from shim.judge.memory import AnswerMemory

    request = asked.request()
    if request is None or any(step.fits is None for step in steps):
        return None
    judge = Judge(settings.policy, AnswerMemory())
    return judge.judge(request, _SOMEBODY, 0.0, asked.listener or "", asked.process, Sought.ENDED)


def _as_json(steps: list[Step], verdict: Verdict | None) -> dict[str, object]:
    decided = None
    if verdict is not None:
        decided = {
            "exposure": verdict.exposure,
            "action": verdict.decision.action,
            "reason": verdict.decision.reason,
            "policy_rule": verdict.rule or None,
        }
    return {"rules": [step._asdict() for step in steps], "decision": decided}


def _as_text(steps: list[Step], verdict: Verdict | None, count: int, texts: Catalogue) -> Iterator[str]:
    for step in steps:
        yield _step(step, texts)
    if not count:
        yield texts.text("explain.no_rules")
    elif not steps[-1].fits:
        yield texts.text("explain.none")
    if verdict is None:
        missing = {
            _OPTIONS.get(key, _DESTINATION) for step in steps for key, held in step.conditions.items() if held is None
        }
        yield texts.text("explain.undecided", options=", ".join(sorted(missing or {_DESTINATION})))
        return
    decision = verdict.decision
    why = f"{decision.action} ({decision.reason})" if decision.reason else str(decision.action)
    yield texts.text("explain.decision", exposure=verdict.exposure, decision=why)


def _step(step: Step, texts: Catalogue) -> str:
    """The conditions that matter: those that fail, or those that are open, or all that hold."""
    place = f"policy.rule[{step.number}]"
    keys = ", ".join(key for key, held in step.conditions.items() if held is step.fits)
    if step.fits is None:
        return texts.text("explain.open", place=place, keys=keys)
    if not step.fits:
        return texts.text("explain.fails", place=place, keys=keys)
    effects = ", ".join(f"{key} = {json.dumps(value)}" for key, value in step.effects.items())
    return texts.text("explain.fits" if keys else "explain.fits_all", place=place, keys=keys, effects=effects)
