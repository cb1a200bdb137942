"""A known program's custom: what its form of an address says, where it says nothing, and that it lowers nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from samples import AT, leak

from shim.events import LeakFound
from shim.judge.customs import ALIKE, LOOKS_UP, Custom, by_custom
from shim.model import Action, Confidence, LeakKind

POSSIBLE, PROBABLE, CONFIRMED = Confidence


def found(**more: object) -> LeakFound:
    one = leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5")
    fixed = {"at": AT, "protocol": "socks5", "rule": "L03", "confidence": POSSIBLE, "evidence": ("address_request",)}
    return replace(one, **(fixed | {"action": Action.FORWARD} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("custom", "action", "confidence", "code"),
    [
        ("text", Action.FORWARD, POSSIBLE, LOOKS_UP),
        ("text", Action.REPAIR, POSSIBLE, LOOKS_UP),
        ("text", Action.BLOCK, PROBABLE, LOOKS_UP),
        ("alike", Action.FORWARD, POSSIBLE, ALIKE),
        ("alike", Action.BLOCK, POSSIBLE, ALIKE),
    ],
)
def test_an_address_in_binary(custom: Custom, action: Action, confidence: Confidence, code: str) -> None:
    assert by_custom(found(action=action), custom) == (confidence, ("address_request", code))


@pytest.mark.parametrize("confidence", [PROBABLE, CONFIRMED])
@pytest.mark.parametrize("custom", ["text", "alike", ""])
def test_what_is_known_already_stays(custom: Custom, confidence: Confidence) -> None:
    assert by_custom(found(action=Action.BLOCK, confidence=confidence), custom)[0] is confidence


@pytest.mark.parametrize(
    "more",
    [
        {"kind": LeakKind.ADDRESS_AS_TEXT},
        {"kind": LeakKind.LOCAL_RESOLUTION},
        {"protocol": "socks4"},
        {"protocol": "http"},
        {"rule": "L06"},
        {"rule": "L21"},
        {"rule": "L22"},
        {"evidence": ("address_request", "allowed_by_rule")},
    ],
    ids=str,
)
@pytest.mark.parametrize("custom", ["text", "alike"])
def test_of_anything_else_it_says_nothing(custom: Custom, more: dict[str, object]) -> None:
    """SOCKS4 has no other form, CONNECT has one for all, and a known endpoint was not looked up."""
    one = found(action=Action.BLOCK, **more)
    assert by_custom(one, custom) == (one.confidence, one.evidence)


def test_an_unknown_custom_says_nothing() -> None:
    one = found(action=Action.BLOCK)
    assert by_custom(one, "") == (one.confidence, one.evidence)
