"""A log read back: the events that findings come from, and the findings that come from them.

Knows the form of the log's JSON lines and judges nothing itself; opens no file and writes none.

What a line said of a request's verdict is taken as it was said, not judged again: the policy of the moment is not in
the log. Times are those of the log, whole milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any, BinaryIO

from shim.advice import table
from shim.errors import ShimError
from shim.events import (
    DnsQueried,
    Event,
    FirstBytesSeen,
    HandshakeFailed,
    LeakFound,
    ProcessIdentified,
    ProcessSought,
    RequestDecided,
    TorAsked,
)
from shim.judge.attributed import fold
from shim.judge.hosts import address_from_text
from shim.model import (
    Action,
    Ancestor,
    Command,
    Confidence,
    Decision,
    DnsAnswer,
    Exposure,
    Host,
    Peer,
    Process,
    Protocol,
    Request,
    Verdict,
)

MAX_LINE = 1 << 20
"""Bytes. The longest line the log writes is far below."""

SCRUBBED = "[scrubbed]"

Keys = dict[str, Any]

_NAMING = ("destination", "name", "qname", "names", "addresses")
_BY_ADDRESS = (Exposure.ADDRESS, Exposure.ADDRESS_AS_TEXT, Exposure.RESOLVED_BY_TOR, Exposure.ISSUED)


class ReplayError(ShimError):
    """A log that cannot be replayed: `reason` is a short code, `line` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class Replay:
    """One pass over a log; once it is over, the counts say how much the result is worth."""

    def __init__(self) -> None:
        self.inputs = 0
        """Events that findings can come from."""
        self.missing = 0
        """Lines that the log itself says it lost."""
        self.told = 0
        """Findings in the log, each revision: they were told when it was written, and are not read."""
        self._runs = 0
        self._fold = fold(table())

    def findings(self, file: BinaryIO) -> Iterator[LeakFound]:
        """The findings of a log, in their order. Each `ready` but the first begins a new run. ReplayError."""
        for number, line in enumerate(_lines(file), 1):
            if len(line) > MAX_LINE:
                raise ReplayError("too_long", number)
            if line.strip():
                yield from self._line(line, number)
        yield from self._fold.rest()

    def _line(self, line: bytes, number: int) -> tuple[LeakFound, ...]:
        keys = _object(line, number)
        name = keys.get("event")
        reader = _READERS.get(name) if isinstance(name, str) else None
        if reader is None:
            return self._other(name, keys)
        if any(_is_scrubbed(keys.get(key)) for key in _NAMING):
            raise ReplayError("scrubbed", number)
        try:
            event = reader(_time(keys), keys)
        except (KeyError, TypeError, ValueError):
            raise ReplayError("malformed", number) from None
        self.inputs += 1
        return self._fold.feed(event)

    def _other(self, name: object, keys: Keys) -> tuple[LeakFound, ...]:
        if name == "ready":
            self._runs += 1
            if self._runs > 1:
                ended, self._fold = self._fold, fold(table())
                return ended.rest()
        elif name == "leak_found":
            self.told += 1
        elif name == "lines_dropped":
            self.missing += keys["count"] if isinstance(keys.get("count"), int) else 1
        return ()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines, one that is too long cut off behind its limit."""
    while line := file.readline(MAX_LINE + 1):
        yield line


def _object(line: bytes, number: int) -> Keys:
    try:
        keys = json.loads(line)
    except (ValueError, RecursionError):
        raise ReplayError("not_json", number) from None
    if not isinstance(keys, dict):
        raise ReplayError("not_json", number)
    return keys


def _is_scrubbed(value: object) -> bool:
    """Names alone, and HOST:PORT, which keeps its port."""
    if isinstance(value, list):
        return any(_is_scrubbed(item) for item in value)
    return isinstance(value, str) and (value == SCRUBBED or value.startswith(f"{SCRUBBED}:"))


def _request_decided(at: float, keys: Keys) -> RequestDecided:
    host, port = _host_and_port(_text(keys, "destination"), keys["host_form"])
    request = Request(Protocol(keys["protocol"]), Command(keys["command"]), host, port)
    reason, name = _text_or_none(keys, "reason"), _text_or_none(keys, "name")
    plaintext = keys.get("plaintext") is True
    names = tuple(_string(item) for item in keys.get("names", ()))
    verdict = Verdict(
        Exposure(keys["exposure"]), Decision(Action(keys["action"]), reason, None, name), names, plaintext
    )
    if verdict.exposure in _BY_ADDRESS and isinstance(host, str) and address_from_text(host) is None:
        raise ValueError("no address")
    conn, client, offers = _text(keys, "conn"), _peer(_text(keys, "client")), _text_or_none(keys, "offers")
    return RequestDecided(at, conn, client, "", request, verdict, offers or "")


def _handshake_failed(at: float, keys: Keys) -> HandshakeFailed:
    reply = bytes.fromhex(_text(keys, "reply"))
    peer, foreign = _peer(_text(keys, "client")), _text_or_none(keys, "foreign")
    return HandshakeFailed(at, _text(keys, "conn"), peer, "", _text(keys, "error"), reply, foreign)


def _first_bytes_seen(at: float, keys: Keys) -> FirstBytesSeen:
    name = _text_or_none(keys, "name")
    return FirstBytesSeen(
        at, _text(keys, "conn"), _text(keys, "protocol"), name, keys["address"] is True, keys["encrypted"] is True
    )


def _dns_query(at: float, keys: Keys) -> DnsQueried:
    return DnsQueried(
        at,
        _text(keys, "query"),
        _peer(_text(keys, "client")),
        "",
        _text(keys, "transport"),
        _text(keys, "qname"),
        _text(keys, "qtype"),
        _text(keys, "rcode"),
        DnsAnswer(keys["answer"]),
        tuple(ip_address(_string(item)) for item in keys["addresses"]),
        _process(keys.get("process")),
        _text_or_none(keys, "process_reason"),
    )


def _tor_asked(at: float, keys: Keys) -> TorAsked:
    return TorAsked(
        at,
        _text(keys, "stream"),
        _text_or_none(keys, "source"),
        _text(keys, "protocol"),
        Command(keys["command"]),
        _text(keys, "destination"),
        keys["dangerous"] is True,
        keys["refused"] is True,
        Confidence(keys["confidence"]),
    )


def _process_sought(at: float, keys: Keys) -> ProcessSought:
    return ProcessSought(at, _text(keys, "subject"))


def _process_identified(at: float, keys: Keys) -> ProcessIdentified:
    reason = _text_or_none(keys, "process_reason")
    return ProcessIdentified(at, _text(keys, "subject"), _process(keys.get("process")), reason)


_READERS: Mapping[str, Callable[[float, Keys], Event]] = {
    "request_decided": _request_decided,
    "handshake_failed": _handshake_failed,
    "first_bytes_seen": _first_bytes_seen,
    "dns_query": _dns_query,
    "tor_asked": _tor_asked,
    "process_sought": _process_sought,
    "process_identified": _process_identified,
}
"""The events that findings are folded from. All others add nothing to one, and are passed over."""


def _time(keys: Keys) -> float:
    return datetime.fromisoformat(_text(keys, "timestamp")).timestamp()


def _text(keys: Keys, key: str) -> str:
    return _string(keys[key])


def _text_or_none(keys: Keys, key: str) -> str | None:
    return None if keys.get(key) is None else _text(keys, key)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    value.encode()  # half a surrogate pair is none, and nobody could write it down again
    return value


def _host_and_port(text: str, form: object) -> tuple[Host, int]:
    """HOST:PORT, with an address in brackets if it is IPv6. Text that is IPv6 keeps them: it is the same text."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF:
        raise ValueError("no port")
    return (ip_address(host.strip("[]")) if form == "address" else host), int(port)


def _peer(text: str) -> Peer:
    if text.startswith("uid:"):
        return Peer("", 0, int(text.removeprefix("uid:")))
    host, _, port = text.rpartition(":")
    return Peer(host.strip("[]"), int(port))


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError("not a number")
    return value


def _process(value: Any) -> Process | None:
    if value is None:
        return None
    keys: Keys = dict(value)
    arguments = tuple(_string(argument) for argument in keys.get("arguments", ()))
    uid = keys.get("uid")
    return Process(
        _number(keys["pid"]),
        _text(keys, "name"),
        _text_or_none(keys, "exe"),
        arguments=arguments,
        uid=None if uid is None else _number(uid),
        parents=tuple(Ancestor(_number(each["pid"]), _text(each, "name")) for each in keys.get("parents", ())),
        label=_text_or_none(keys, "label"),
        script=_text_or_none(keys, "script"),
        wrapper=_text_or_none(keys, "wrapper"),
    )
