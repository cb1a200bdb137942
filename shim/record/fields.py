"""Events as flat keys: the one place that turns what happened into what is shown, scrubbed and harmless.

Reads no clock, and no credentials: nothing of a line is made from them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shim import events
from shim.events import Event
from shim.locale import Catalogue
from shim.model import Peer, Process, endpoint
from shim.record import message
from shim.record.scrub import SCRUBBED, code, destination, name, offers, printable, program

Keys = dict[str, Any]


DEBUG, INFO, WARNING, ERROR = "debug", "info", "warning", "error"


@dataclass(frozen=True, slots=True)
class View:
    """How events are shown: with or without names, and in which language."""

    reveal: bool
    catalogue: Catalogue


def fields(event: Event, view: View) -> tuple[str, str, Keys]:
    """Level, event name and keys of one event, ready for a line. KeyError for what is no Event."""
    level, event_name, keys_of = SHOWN[type(event)]
    return level, event_name, keys_of(event, view)


def _ready(event: events.Ready, view: View) -> Keys:
    return {
        "socks": _texts(event.socks),
        "http": _texts(event.http),
        "dns": _texts(event.dns),
        "dashboard": _texts(event.dashboard),
        "upstream": _upstream(event.upstream),
        "mode": event.mode,
        "sandbox": [":".join(code(word, view.reveal) for word in part.split(":")) for part in event.sandbox],
    }


def _request_decided(event: events.RequestDecided, view: View) -> Keys:
    request, verdict = event.request, event.verdict
    decision = verdict.decision
    keys: Keys = {
        "conn": event.conn,
        "client": _client(event.peer),
        "protocol": request.protocol,
        "command": request.command,
        "host_form": "name" if isinstance(request.host, str) else "address",
        "exposure": verdict.exposure,
        "action": decision.action,
        "destination": destination(request.destination, True) if view.reveal else f"{SCRUBBED}:{request.port}",
    }
    if decision.reason is not None:
        keys["reason"] = code(decision.reason, view.reveal)
    if decision.host is not None:
        keys["name"] = name(decision.host, view.reveal)
    if verdict.rule:
        keys["policy_rule"] = verdict.rule
    if verdict.plaintext:
        keys["plaintext"] = True
    if event.offers:
        keys["offers"] = offers(event.offers, view.reveal)
    if verdict.names:
        keys["names"] = [name(each, view.reveal) for each in verdict.names]
    return keys


def _handshake_failed(event: events.HandshakeFailed, view: View) -> Keys:
    keys: Keys = {
        "conn": event.conn,
        "client": _client(event.peer),
        "error": code(event.error, view.reveal),
        "reply": event.reply.hex(),
    }
    if event.foreign is not None:
        keys["foreign"] = code(event.foreign, view.reveal)
    return keys


def _first_bytes_seen(event: events.FirstBytesSeen, view: View) -> Keys:
    return {
        "conn": event.conn,
        "protocol": code(event.protocol, view.reveal),
        "name": None if event.name is None else name(event.name, view.reveal),
        "address": event.address,
        "encrypted": event.encrypted,
    }


def _upstream_answered(event: events.UpstreamAnswered, view: View) -> Keys:
    return {
        "conn": event.conn,
        "client": _client(event.peer),
        "command": event.request.command,
        "destination": destination(event.request.destination, view.reveal),
        "reply": f"{event.answer.reply:02x}",
        "bound": destination(endpoint(event.answer.host, event.answer.port), view.reveal),
    }


def _upstream_failed(event: events.UpstreamFailed, view: View) -> Keys:
    keys: Keys = {"upstream": _upstream(event.upstream), "error": code(event.error, view.reveal)}
    subject = {"conn": event.conn, "query": event.query}
    return keys | {key: value for key, value in subject.items() if value is not None}


def _upstream_changed(event: events.UpstreamChanged, view: View) -> Keys:
    return {"upstream": _upstream(event.upstream)}


def _tor_bootstrapped(event: events.TorBootstrapped, view: View) -> Keys:
    return {"progress": event.progress, "summary": printable(event.summary)}


def _tor_asked(event: events.TorAsked, view: View) -> Keys:
    return {
        "stream": event.stream,
        "source": None if event.source is None else printable(event.source),
        "protocol": code(event.protocol, view.reveal),
        "command": event.command,
        "destination": destination(event.destination, view.reveal),
        "dangerous": event.dangerous,
        "refused": event.refused,
        "confidence": event.confidence,
    }


def _control_connected(event: events.ControlConnected, view: View) -> Keys:
    return {"control": printable(event.control)}


def _control_failed(event: events.ControlFailed, view: View) -> Keys:
    return {"control": printable(event.control), "error": code(event.error, view.reveal)}


def _control_dropped(event: events.ControlDropped, view: View) -> Keys:
    return {"count": event.count}


def _connection_closed(event: events.ConnectionClosed, view: View) -> Keys:
    return {
        "conn": event.conn,
        "sent": event.sent,
        "received": event.received,
        "seconds": int(event.seconds * 1000 + 0.5) / 1000,  # a tenth of what round() takes
        "reason": code(event.reason, view.reveal),
    }


def _dns_query(event: events.DnsQueried, view: View) -> Keys:
    return {
        "query": event.query,
        "client": _client(event.peer),
        "transport": event.transport,
        "qname": name(event.qname, view.reveal),
        "qtype": code(event.qtype, view.reveal),
        "rcode": code(event.rcode, view.reveal) if event.rcode else "",
        "answer": event.answer,
        "addresses": [name(str(address), view.reveal) for address in event.addresses],
        **_process(event.process, event.process_reason, view),
    }


def _process_sought(event: events.ProcessSought, view: View) -> Keys:
    return {"subject": event.subject}


def _process_identified(event: events.ProcessIdentified, view: View) -> Keys:
    return {"subject": event.subject, **_process(event.process, event.reason, view)}


def _helper_ended(event: events.HelperEnded, view: View) -> Keys:
    return {"helper": code(event.helper, view.reveal)}


def _leak_found(event: events.LeakFound, view: View) -> Keys:
    subject = {"conn": event.conn, "query": event.query, "stream": event.stream}
    return {
        "finding": event.finding,
        "revision": event.revision,
        "kind": event.kind,
        "confidence": event.confidence,
        **{key: value for key, value in subject.items() if value is not None},
        "protocol": code(event.protocol, view.reveal),
        "destination": destination(event.destination, view.reveal),
        "name": None if event.name is None else name(event.name, view.reveal),
        **_process(event.process, event.process_reason, view),
        "action": event.action,
        "evidence": [code(item, view.reveal) for item in event.evidence],
        **({} if event.prevented is None else {"prevented": event.prevented}),
        **({} if event.count == 1 else {"count": event.count}),
        "rule": code(event.rule, view.reveal),
        "advice": message.advice(event, view.catalogue),
        "message": message.message(event, view.catalogue),
    }


def _queries_dropped(event: events.QueriesDropped, view: View) -> Keys:
    return {"client": _client(event.peer), "count": event.count, "reason": code(event.reason, view.reveal)}


def _state_failed(event: events.StateFailed, view: View) -> Keys:
    return {"error": code(event.error, view.reveal)}


def _setting_unused(event: events.SettingUnused, view: View) -> Keys:
    from shim.config.problems import (
        KEYS,
    )  # loaded by whoever publishes this; without it a replay starts in half the time

    texts = {"setting": event.setting, "needs": event.needs}
    return {key: text if text in KEYS else name(text, view.reveal) for key, text in texts.items()}


def _config_reloaded(event: events.ConfigReloaded, view: View) -> Keys:
    return {"needs_restart": _texts(event.needs_restart)}


def _config_rejected(event: events.ConfigRejected, view: View) -> Keys:
    return {"problems": _texts(event.problems)}


def _listener_paused(event: events.ListenerPaused, view: View) -> Keys:
    return {"listener": printable(event.listener), "error": code(event.error, view.reveal)}


def _connection_refused(event: events.ConnectionRefused, view: View) -> Keys:
    return {"conn": event.conn, "client": _client(event.peer), "limit": code(event.limit, view.reveal)}


def _draining(event: events.Draining, view: View) -> Keys:
    return {"open": event.open, "seconds": round(event.seconds, 3)}


def _fault(event: events.Fault, view: View) -> Keys:
    """A place is a line of a module that is loaded: anything else may be something that came in from outside."""
    module, _, _ = event.place.rpartition(":")
    place = event.place if module in sys.modules else code(event.place, view.reveal)
    return {"error": code(event.error, view.reveal), "place": place}


def _process(process: Process | None, reason: str | None, view: View) -> Keys:
    """`process` is always there; null comes with the reason."""
    if process is None:
        return {"process": None, "process_reason": code(reason or "unknown", view.reveal)}
    exe = None if process.exe is None else printable(process.exe)
    known: Keys = {"pid": process.pid, "name": program(process, view.reveal), "exe": exe}
    for key, text in (("script", process.script), ("label", process.label), ("wrapper", process.wrapper)):
        if text is not None:
            known[key] = printable(text)
    return {"process": known | _surroundings(process)} if view.reveal else {"process": known}


def _surroundings(process: Process) -> Keys:
    """What may name any number of destinations (a command line does), or tells much of whose machine it is."""
    known: Keys = {}
    if process.arguments:
        known["arguments"] = [printable(argument) for argument in process.arguments]
    if process.uid is not None:
        known["uid"] = process.uid
    if process.parents:
        known["parents"] = [{"pid": parent.pid, "name": printable(parent.name)} for parent in process.parents]
    return known


def _client(peer: Peer) -> str:
    if peer.uid is not None:
        return peer.key
    host = printable(peer.host)
    return f"[{host}]:{peer.port}" if ":" in host else f"{host}:{peer.port}"


def _upstream(address: str | None) -> str | None:
    return None if address is None else printable(address)


def _texts(texts: tuple[str, ...]) -> list[str]:
    return [printable(text) for text in texts]


SHOWN: Mapping[type, tuple[str, str, Callable[[Any, View], Keys]]] = {
    events.Ready: (INFO, "ready", _ready),
    events.RequestDecided: (INFO, "request_decided", _request_decided),
    events.HandshakeFailed: (INFO, "handshake_failed", _handshake_failed),
    events.FirstBytesSeen: (DEBUG, "first_bytes_seen", _first_bytes_seen),
    events.UpstreamAnswered: (DEBUG, "upstream_answered", _upstream_answered),
    events.UpstreamFailed: (ERROR, "upstream_failed", _upstream_failed),
    events.UpstreamChanged: (INFO, "upstream_changed", _upstream_changed),
    events.TorBootstrapped: (INFO, "tor_bootstrapped", _tor_bootstrapped),
    events.TorAsked: (DEBUG, "tor_asked", _tor_asked),
    events.ControlConnected: (INFO, "control_connected", _control_connected),
    events.ControlFailed: (WARNING, "control_failed", _control_failed),
    events.ControlDropped: (WARNING, "control_dropped", _control_dropped),
    events.ConnectionClosed: (INFO, "connection_closed", _connection_closed),
    events.DnsQueried: (INFO, "dns_query", _dns_query),
    events.QueriesDropped: (WARNING, "queries_dropped", _queries_dropped),
    events.StateFailed: (ERROR, "state_failed", _state_failed),
    events.ProcessSought: (DEBUG, "process_sought", _process_sought),
    events.ProcessIdentified: (DEBUG, "process_identified", _process_identified),
    events.HelperEnded: (WARNING, "helper_ended", _helper_ended),
    events.LeakFound: (WARNING, "leak_found", _leak_found),
    events.SettingUnused: (WARNING, "setting_unused", _setting_unused),
    events.ConfigReloaded: (INFO, "config_reloaded", _config_reloaded),
    events.ConfigRejected: (ERROR, "config_rejected", _config_rejected),
    events.ListenerPaused: (WARNING, "listener_paused", _listener_paused),
    events.ConnectionRefused: (INFO, "connection_refused", _connection_refused),
    events.Draining: (INFO, "draining", _draining),
    events.Fault: (ERROR, "fault", _fault),
}
"""Of every kind of event its level and name, which are known without making the keys, and what makes them."""
