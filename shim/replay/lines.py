"""One line of the log as the event that it was.

Judges nothing: what a line says of a request's verdict is taken as it is. Raises nothing but KeyError, TypeError and
ValueError, for what the shim does not write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final

from shim.events import (
    DnsQueried,
    Event,
    FirstBytesSeen,
    HandshakeFailed,
    ProcessIdentified,
    ProcessSought,
    RequestDecided,
    TorAsked,
)
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

SCRUBBED: Final = "[scrubbed]"

Keys = dict[str, Any]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAMING = ("destination", "name", "qname", "names", "addresses")
_BY_ADDRESS = (Exposure.ADDRESS, Exposure.ADDRESS_AS_TEXT, Exposure.RESOLVED_BY_TOR, Exposure.ISSUED)
_SOMEBODY = Peer("127.0.0.1", 0)
"""Who asked, where a line does not say: the contract's lines have no `client`."""


def is_scrubbed(keys: Keys) -> bool:
    """Whether a name is missing that a finding would hang on."""
    return any(_scrubbed(keys.get(key)) for key in _NAMING)


def _request_decided(at: float, keys: Keys) -> RequestDecided:
    exposure = Exposure(keys["exposure"])
    host, port = _host_and_port(_text(keys, "destination"), keys.get("host_form"), exposure)
    request = Request(Protocol(keys["protocol"]), Command(keys["command"]), host, port)
    reason, name = text_or_none(keys, "reason"), text_or_none(keys, "name")
    plaintext = keys.get("plaintext") is True
    names = tuple(_string(item) for item in keys.get("names", ()))
    verdict = Verdict(exposure, Decision(Action(keys["action"]), reason, None, name), names, plaintext)
    if exposure in _BY_ADDRESS and isinstance(host, str) and address_from_text(host) is None:
        raise ValueError("no address")
    return RequestDecided(
        at, id_of(keys, "conn"), _peer(keys), "", request, verdict, text_or_none(keys, "offers") or ""
    )


def _handshake_failed(at: float, keys: Keys) -> HandshakeFailed:
    reply = bytes.fromhex(_text(keys, "reply"))
    foreign = text_or_none(keys, "foreign")
    return HandshakeFailed(at, id_of(keys, "conn"), _peer(keys), "", _text(keys, "error"), reply, foreign)


def _first_bytes_seen(at: float, keys: Keys) -> FirstBytesSeen:
    name = text_or_none(keys, "name")
    return FirstBytesSeen(
        at, id_of(keys, "conn"), _text(keys, "protocol"), name, keys["address"] is True, keys["encrypted"] is True
    )


def _dns_query(at: float, keys: Keys) -> DnsQueried:
    return DnsQueried(
        at,
        id_of(keys, "query"),
        _peer(keys),
        "",
        _text(keys, "transport"),
        _text(keys, "qname"),
        _text(keys, "qtype"),
        _text(keys, "rcode"),
        DnsAnswer(keys["answer"]),
        tuple(ip_address(_string(item)) for item in keys.get("addresses", ())),
        process_of(keys),
        text_or_none(keys, "process_reason"),
    )


def _tor_asked(at: float, keys: Keys) -> TorAsked:
    return TorAsked(
        at,
        id_of(keys, "stream"),
        text_or_none(keys, "source"),
        _text(keys, "protocol"),
        Command(keys["command"]),
        _text(keys, "destination"),
        keys["dangerous"] is True,
        keys["refused"] is True,
        Confidence(keys["confidence"]),
    )


def _process_sought(at: float, keys: Keys) -> ProcessSought:
    return ProcessSought(at, id_of(keys, "subject"))


def _process_identified(at: float, keys: Keys) -> ProcessIdentified:
    reason = text_or_none(keys, "process_reason")
    return ProcessIdentified(at, id_of(keys, "subject"), process_of(keys), reason)


READERS: Mapping[str, Callable[[float, Keys], Event]] = {
    "request_decided": _request_decided,
    "handshake_failed": _handshake_failed,
    "first_bytes_seen": _first_bytes_seen,
    "dns_query": _dns_query,
    "tor_asked": _tor_asked,
    "process_sought": _process_sought,
    "process_identified": _process_identified,
}
"""The events that findings are folded from. All others add nothing to one, and are passed over."""


def time_of(keys: Keys) -> float:
    """When it was, in seconds since the epoch."""
    return datetime.fromisoformat(_text(keys, "timestamp")).timestamp()


def _text(keys: Keys, key: str) -> str:
    return _string(keys[key])


def id_of(keys: Keys, key: str) -> str:
    """The id of a connection or the like. It is shown as it stands, so nothing else may come in its place."""
    text = _text(keys, key)
    if _ID.fullmatch(text) is None:
        raise ValueError("no id")
    return text


def text_or_none(keys: Keys, key: str) -> str | None:
    """The text under a key that may be missing or null."""
    return None if keys.get(key) is None else _text(keys, key)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    value.encode()  # half a surrogate pair is none, and nobody could write it down again
    return value


def _host_and_port(text: str, form: object, exposure: Exposure) -> tuple[Host, int]:
    """HOST:PORT, with an address in brackets if it is IPv6. Text that is IPv6 keeps them: it is the same text.

    Without `form` it is taken for what it looks like: an address, unless its exposure says that it came as text.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF:
        raise ValueError("no port")
    if form is None and exposure is not Exposure.ADDRESS_AS_TEXT:
        return _looks_like(host), int(port)
    return (ip_address(host.strip("[]")) if form == "address" else host), int(port)


def _looks_like(host: str) -> Host:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return host


def _peer(keys: Keys) -> Peer:
    text = text_or_none(keys, "client")
    if text is None:
        return _SOMEBODY
    if text.startswith("uid:"):
        return Peer("", 0, int(text.removeprefix("uid:")))
    host, _, port = text.rpartition(":")
    return Peer(host.strip("[]"), int(port))


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError("not a number")
    return value


def process_of(line: Keys) -> Process | None:
    """The program that a line names."""
    if line.get("process") is None:
        return None
    keys: Keys = dict(line["process"])
    arguments = tuple(_string(argument) for argument in keys.get("arguments", ()))
    uid = keys.get("uid")
    return Process(
        _number(keys["pid"]),
        _text(keys, "name"),
        text_or_none(keys, "exe"),
        arguments=arguments,
        uid=None if uid is None else _number(uid),
        parents=tuple(Ancestor(_number(each["pid"]), _text(each, "name")) for each in keys.get("parents", ())),
        label=text_or_none(keys, "label"),
        script=text_or_none(keys, "script"),
        wrapper=text_or_none(keys, "wrapper"),
    )


def _scrubbed(value: object) -> bool:
    """Names alone, and HOST:PORT, which keeps its port."""
    if isinstance(value, list):
        return any(_scrubbed(item) for item in value)
    return isinstance(value, str) and (value == SCRUBBED or value.startswith(f"{SCRUBBED}:"))
