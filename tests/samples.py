"""One or more of every event, for the tests of what is made of events."""

from __future__ import annotations

import dataclasses
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar

from shim import events
from shim.events import Event
from shim.model import (
    Action,
    Ancestor,
    Answer,
    Command,
    Confidence,
    Credentials,
    Decision,
    DnsAnswer,
    Exposure,
    Host,
    LeakKind,
    Peer,
    Process,
    Protocol,
    Request,
    Verdict,
)

AT = 1795348800.037  # 2026-11-22 12:00:00.037 UTC
TCP = Peer("127.0.0.1", 40000)
UNIX = Peer("", 0, uid=1000)
CURL = Process(4242, "curl", "/usr/bin/curl")
PIP = Process(
    4243,
    "python3",
    "/usr/bin/python3.11",
    start=543617,
    arguments=("python3", "-m", "pip", "download", "https://host.example/"),
    label="app:org.gnome.Terminal",
    uid=1000,
    parents=(Ancestor(812, "bash"),),
    script="pip",
)
LISTENER = "127.0.0.1:9250"
SECRET = Credentials(b"s3ntinel-user", b"s3ntinel-password")


def decided(host: Host, verdict: Verdict, conn: str = "c1", **request: Any) -> events.RequestDecided:
    asked = {"protocol": Protocol.SOCKS5, "command": Command.CONNECT, "port": 443, "credentials": SECRET} | request
    return events.RequestDecided(AT, conn, TCP, LISTENER, Request(host=host, **asked), verdict)


def leak(kind: LeakKind, advice: str, **more: Any) -> events.LeakFound:
    plain = {
        "at": AT,
        "finding": "f1",
        "revision": 1,
        "confidence": Confidence.POSSIBLE,
        "protocol": "socks5",
        "port": 443,
        "destination": "93.184.216.34:443",
        "action": Action.FORWARD,
        "evidence": ("address_request",),
        "rule": "L03",
        "conn": "c2",
    }
    return events.LeakFound(kind=kind, advice=advice, **(plain | more))


FORWARD = Verdict(Exposure.NAME, Decision(Action.FORWARD))
NAMED = Request(Protocol.SOCKS5, Command.RESOLVE, "host.example", 0, SECRET)

SAMPLES: tuple[Event, ...] = (
    events.Ready(
        AT, (LISTENER, "[::1]:9250", "unix:/run/shim"), (), (), (), "127.0.0.1:9050", "warn", ("landlock:7", "seccomp")
    ),
    events.Ready(AT, (), ("127.0.0.1:8118",), ("127.0.0.1:5453",), ("127.0.0.1:9251",), None, "block"),
    decided("host.example", FORWARD),
    decided(
        IPv4Address("198.18.7.9"),
        Verdict(Exposure.ISSUED, Decision(Action.REPAIR, host="host.example"), ("host.example",)),
    ),
    decided(IPv6Address("2001:db8::1"), Verdict(Exposure.ADDRESS, Decision(Action.BLOCK, "address_only"))),
    events.HandshakeFailed(AT, "c6", TCP, LISTENER, "not_socks", b"", "http"),
    events.HandshakeFailed(AT, "c7", UNIX, LISTENER, "malformed_name", b"\5\1\0\1\0\0\0\0\0\0"),
    events.UpstreamAnswered(AT, "c8", TCP, NAMED, Answer(0, IPv4Address("93.184.216.34"), 0)),
    events.UpstreamAnswered(AT, "c8", UNIX, NAMED, Answer(0xF0, "host.example", 0)),
    events.UpstreamFailed(AT, "127.0.0.1:9050", "connection_refused", "c9"),
    events.UpstreamFailed(AT, "auto", "no_tor_found"),
    events.UpstreamChanged(AT, "127.0.0.1:9050"),
    events.UpstreamChanged(AT, None),
    events.TorBootstrapped(AT, 75, "Loading relay descriptors"),
    events.TorAsked(
        AT, "t1", "127.0.0.1:41360", "socks5", Command.CONNECT, "host.example:443", False, False, Confidence.CONFIRMED
    ),
    events.TorAsked(AT, "t2", None, "socks4", Command.CONNECT, "93.184.216.34:80", True, True, Confidence.PROBABLE),
    events.ControlConnected(AT, "127.0.0.1:9051"),
    events.ControlFailed(AT, "unix:/run/tor/control", "wrong_password"),
    events.ControlFailed(AT, "127.0.0.1:9051", "no_stem"),
    events.ControlDropped(AT, 17),
    events.ConnectionClosed(AT, "c1", 1820, 48211, 0.2101234, "client_closed"),
    events.DnsQueried(
        AT, "q1", TCP, LISTENER, "udp", "host.example", "A", "NOERROR", DnsAnswer.TOR, (IPv4Address("93.184.216.34"),)
    ),
    events.DnsQueried(
        AT, "q2", TCP, LISTENER, "tcp", "host.example", "TYPE65", "", DnsAnswer.DROP, process=CURL, process_reason=None
    ),
    events.QueriesDropped(AT, TCP, 17),
    events.QueriesDropped(AT, TCP, 3, "send_queue"),
    events.SettingUnused(AT, "dns.mode", "listen.dns"),
    events.StateFailed(AT, "no_space_left_on_device"),
    events.ProcessSought(AT, "c3"),
    events.FirstBytesSeen(AT, "c3", "tls", "host.example", False, True),
    events.FirstBytesSeen(AT, "c3", "http", None, True, False),
    events.ProcessIdentified(AT, "c3", CURL),
    events.ProcessIdentified(AT, "c3", PIP),
    events.ProcessIdentified(AT, "q1", None, "shared_resolver"),
    events.HelperEnded(AT, "witness"),
    events.HelperEnded(AT, "guardian"),
    events.HelperEnded(AT, "worker"),
    leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5", process=CURL),
    leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks4", name="host.example", query="q1", prevented=True, count=3),
    leak(LeakKind.DIRECT_TRAFFIC, "advice.direct_traffic", conn=None, stream="t1", rule="L25"),
    leak(LeakKind.NOT_SOCKS, "advice.not_socks.tls", protocol="tcp", port=None, destination="", action=Action.BLOCK),
    events.ConfigReloaded(AT, ()),
    events.ConfigReloaded(AT, ("listen.socks", "upstream.address")),
    events.ConfigRejected(AT, ("shim.toml: policy.mode: must be one of 'warn'", "shim.toml: log.x: unknown key")),
    events.ListenerPaused(AT, LISTENER, "too_many_open_files"),
    events.ConnectionRefused(AT, "c3", TCP, "connections_per_client"),
    events.Draining(AT, 3, 5.0),
    events.Fault(AT, "ValueError", "shim.model:12"),
)

OWN = frozenset(
    (
        *("advice", "conn", "finding", "listener", "mode", "query", "stream", "subject", "transport"),
        *("control", "dashboard", "dns", "http", "socks", "source", "upstream"),
        *("needs_restart", "problems", "summary"),
    )
)
"""Fields that the shim itself, its operator or its tor fills in: they name no destination."""

T = TypeVar("T")


def tainted(value: T, text: str, spare: frozenset[str] = OWN, spare_types: tuple[type, ...] = ()) -> T:
    """The event, or a value in it, with `text` in the place of every string that may have come from outside."""
    if isinstance(value, (Enum, *spare_types)):
        return value
    if isinstance(value, str | IPv4Address | IPv6Address):
        return text  # type: ignore[return-value]
    if isinstance(value, bytes):
        return text.encode("utf-8", "surrogatepass")  # type: ignore[return-value]
    if isinstance(value, tuple):
        items = [tainted(item, text, spare, spare_types) for item in value]
        return value._make(items) if hasattr(value, "_make") else tuple(items)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.name not in spare]
        changed = {name: tainted(getattr(value, name), text, spare, spare_types) for name in names}
        return dataclasses.replace(value, **changed)  # type: ignore[type-var]
    return value
