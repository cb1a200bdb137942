"""The sentence a person reads about a finding, and the advice that belongs to it.

Names the program, the protocol, the port and the remedy, never the destination.
"""

from __future__ import annotations

from functools import lru_cache

from shim.events import LeakFound
from shim.locale import Catalogue
from shim.model import Action, LeakKind, Process
from shim.record.scrub import code, printable
from shim.record.scrub import program as name_of

_LABELS = {"socks4a": "SOCKS4a"}
"""Protocols that are not written in capitals."""


def advice(event: LeakFound, catalogue: Catalogue) -> str:
    """What to set, and where: one text, for every language's own punctuation without a full stop."""
    return catalogue.text(event.advice)


def message(event: LeakFound, catalogue: Catalogue) -> str:
    """One sentence in the manner of Tor's own warning. What was done about it may have a text of its own."""
    return _message(event.kind, event.action, event.advice, event.process, event.protocol, event.port, catalogue)


def program(event: LeakFound, catalogue: Catalogue) -> str:
    """The program's name, or that it is unknown; where an interpreter runs a script, that is the program."""
    return _program(event.process, catalogue)


@lru_cache(256)  # programs warned about repeat themselves, and filling in texts is the dearest part of a finding's line
def _message(
    kind: LeakKind,
    action: Action,
    advice_id: str,
    process: Process | None,
    protocol: str,
    port: int | None,
    catalogue: Catalogue,
) -> str:
    message_id = f"message.{kind}"
    particular = f"{message_id}.{action}"
    details = [] if process is None else _details(process)
    details.append(_LABELS.get(protocol) or code(protocol, False).upper())
    if port is not None:
        details.append(catalogue.text("text.port", port=port))
    who = catalogue.text(
        "text.who", program=_program(process, catalogue), details=catalogue.text("text.and").join(details)
    )
    return catalogue.text(
        particular if particular in catalogue else message_id, who=who, advice=catalogue.text(advice_id)
    )


def _details(process: Process) -> list[str]:
    """What runs the script, what was put into the program, its number."""
    of_script = [] if process.script is None else [name_of(process, False)]
    inside = [] if process.wrapper is None else [printable(process.wrapper)]
    return [*of_script, *inside, f"pid {process.pid}"]


def _program(process: Process | None, catalogue: Catalogue) -> str:
    return catalogue.text("text.someone") if process is None else printable(process.script or name_of(process, False))
