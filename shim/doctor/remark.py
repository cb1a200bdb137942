"""What the doctor has to say: one remark for one thing looked at, and the exit status of them all.

Holds no texts: a remark's code is its message in the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What a remark means for the verdict."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, and no leak."""
    UNKNOWN = "unknown"
    """May leak or not: from here that cannot be seen."""
    LEAK = "leak"
    """Programs that look names up themselves tell them to somebody else than the sensor."""


@dataclass(frozen=True)
class Remark:
    """`code` is the message `doctor.CODE` of the catalogue, `mend` that of what to do about it, `fields` are theirs."""

    code: str
    status: Status
    fields: tuple[tuple[str, str], ...] = ()
    mend: str | None = None


def verdict(remarks: Iterable[Remark]) -> Status:
    """LEAK if anything leaks; else UNKNOWN if that cannot be ruled out, or nothing was looked at; else OK."""
    found = {remark.status for remark in remarks}
    if Status.LEAK in found:
        return Status.LEAK
    return Status.OK if Status.OK in found and Status.UNKNOWN not in found else Status.UNKNOWN
