"""What it adds to the finding of an address that its program is known, and how that program sends one that was typed.

Knows no program itself: its custom stands in the table of advice. Lowers no confidence.
"""

from __future__ import annotations

from typing import Final, Literal

from shim.events import LeakFound
from shim.judge.findings import is_vouched_for
from shim.model import Action, Confidence, LeakKind, Protocol

Custom = Literal["", "text", "alike"]
"""How a program sends a typed address by SOCKS5. "text": as text, as it sends names, and in binary only if it is set to
look names up itself. "alike": in binary, whatever it is set to. "": not known."""

LOOKS_UP: Final = "local_lookups_on"
ALIKE: Final = "typed_looks_alike"

_STALE = "L06"
_SAID_A_NAME = "tls_sni_is_name"


def by_custom(found: LeakFound, custom: Custom) -> tuple[Confidence, tuple[str, ...]]:
    """The finding's confidence and evidence, now that the custom of its program is known. Adds nothing twice.

    A program that is set to look names up itself gives a typed address in the same form as a name that it has looked up
    (measured: Firefox with remote DNS off). So where its first bytes will be heard they decide, even by a name that may
    stand in for another; a refused request has none, and nearly all that people type are names.
    """
    if not custom or found.kind is not LeakKind.ADDRESS_ONLY or found.protocol != Protocol.SOCKS5:
        return found.confidence, found.evidence
    if found.rule == _STALE or is_vouched_for(found):
        return found.confidence, found.evidence
    code = LOOKS_UP if custom == "text" else ALIKE
    confidence = found.confidence
    decided = found.action is Action.BLOCK or _SAID_A_NAME in found.evidence
    if code == LOOKS_UP and decided and confidence is Confidence.POSSIBLE:
        confidence = Confidence.PROBABLE
    return confidence, (*found.evidence, code)
