"""What a row's columns say in a reader's language, and what is counted over all of them.

Lays nothing out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shim.lab.survey.running import Result
from shim.locale import Catalogue

MARKS: Final = {"no_leak_observed": "✓", "leak": "✗", "inconclusive": "?", "not_installed": "–"}


def cell(name: str, result: Mapping[str, Any], texts: Catalogue) -> str:
    """One column's text."""
    match name:
        case "verdict":
            return f"{MARKS[result['verdict']]} {verdict(result, texts)}"
        case "setting":
            return str(result["setting"][texts.lang])
        case "sent":
            return _sent(result, texts)
        case "direct":
            return ", ".join(_packet(kind) for kind in result["direct"])
        case "dns":
            return str(result["dns"] or "")
    return str(result[name])


def _sent(result: Mapping[str, Any], texts: Catalogue) -> str:
    if result["verdict"] == "not_installed":
        return texts.text("survey.missing", name=result["reason"])
    if not result["sent"]:
        return texts.text("survey.fault")
    return texts.text(f"survey.sent.{result['sent']}")


def _packet(kind: str) -> str:
    return _WRITTEN.get(kind, kind.upper())


_WRITTEN: Final = {"dot": "DoT", "doh": "DoH", "mdns": "mDNS", "netbios": "NetBIOS"}


def verdict(result: Mapping[str, Any], texts: Catalogue) -> str:
    """In words."""
    return texts.text(f"survey.verdict.{result['verdict']}")


def title(name: str, texts: Catalogue) -> str:
    """A column's heading."""
    return texts.text(f"survey.column.{name}")


def key(texts: Catalogue) -> str:
    """What the marks mean."""
    return texts.text(
        "survey.key", **{name: f"{mark} {texts.text(f'survey.verdict.{name}')}" for name, mark in MARKS.items()}
    )


def counted(results: Sequence[Result]) -> dict[str, int]:
    """How many rows have each verdict, without those that none has."""
    found = {name: sum(result["verdict"] == name for result in results) for name in MARKS}
    return {name: count for name, count in found.items() if count}


def remedies(results: Sequence[Result], texts: Catalogue) -> dict[str, int]:
    """Each remedy once, numbered in the order of the table."""
    told = dict.fromkeys(result["remedy"][texts.lang] for result in results if result["remedy"])
    return {remedy: number for number, remedy in enumerate(told, 1)}
