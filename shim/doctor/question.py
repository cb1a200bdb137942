"""A DNS question to one server, and what of its reply matters here (RFC 1035).

Builds and reads messages only: sends none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

TYPE_A, TYPE_NS = 1, 2
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_RD = 0x0100
_POINTER = 0xC0
_MAX_LABELS = 128


@dataclass(frozen=True)
class Reply:
    """RCODE, number of answers, and the IPv4 addresses among them with their TTLs in seconds."""

    rcode: int
    answers: int
    addresses: tuple[tuple[IPv4Address, int], ...]


def question(ident: int, name: str, qtype: int) -> bytes:
    """A query for an ASCII name, "" for the root. `ident` is 0 to 65535."""
    labels = [label.encode("ascii") for label in name.split(".") if label]
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return _HEADER.pack(ident, _RD, 1, 0, 0, 0) + wire + _QUESTION.pack(qtype, 1)


def read_reply(asked: bytes, wire: bytes) -> Reply | None:
    """The reply to `asked`; None for anything else."""
    if len(wire) < _HEADER.size or wire[:2] != asked[:2] or not wire[2] & 0x80:
        return None
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(wire)
    end = len(asked) if questions else _HEADER.size
    if questions > 1 or wire[_HEADER.size : end].lower() != asked[_HEADER.size : end].lower():
        return None
    try:
        return Reply(flags & 0xF, answers, _addresses(wire, end, answers))
    except (IndexError, struct.error):
        return None


def _addresses(wire: bytes, at: int, answers: int) -> tuple[tuple[IPv4Address, int], ...]:
    found = []
    for _ in range(answers):
        at = _past_name(wire, at)
        rtype, _, ttl, length = _RECORD.unpack_from(wire, at)
        at += _RECORD.size
        if rtype == TYPE_A and length == 4:
            found.append((IPv4Address(wire[at : at + 4]), ttl))
        at += length
    return tuple(found)


def _past_name(wire: bytes, at: int) -> int:
    """Where a name ends. Its pointers are not followed."""
    for _ in range(_MAX_LABELS):
        length = wire[at]
        if length >= _POINTER:
            return at + 2
        at += 1 + length
        if not length:
            return at
    raise IndexError("a name without an end")
