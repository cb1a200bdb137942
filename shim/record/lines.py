"""The two forms of a line, as structlog processors: JSON for programs, text for a person's terminal.

Give finished bytes, the newline included. Take keys that are scrubbed and printable already, and add nothing to what
they say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from structlog.typing import EventDict, WrappedLogger

from shim.locale import Catalogue
from shim.record.scrub import SCRUBBED

_MILLISECONDS = tuple(b"%03dZ" % number for number in range(1000))

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_COLORS = {"debug": _DIM, "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[1;31m"}
_LABELS = {"debug": "debug", "info": "info ", "warning": "warn ", "error": "error"}
_UPSTREAM = {
    "no_tor_found": "upstream_missing",
    "no_upstream": "upstream_missing",
    "no_state_directory": "upstream_stateless",
    "another_user": "upstream_foreign",
}
"""Errors of an upstream for which there is more to say than that it cannot be used."""
_NO_STEM = "no_stem"
_HELPERS = ("guardian", "worker")
_LISTENERS = {"socks": "SOCKS", "http": "HTTP", "dns": "DNS", "dashboard": "dashboard"}


class JsonLine:
    """One JSON object: `timestamp` (RFC 3339, UTC, milliseconds), `event`, `level`, then the keys."""

    __slots__ = ("_heads", "_prefix", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._prefix = b""
        self._heads: dict[tuple[str, str], bytes] = {}

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> bytes:
        at = line["at"] + 0.0005  # so that cutting off rounds
        second = int(at)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime('{"timestamp":"%Y-%m-%dT%H:%M:%S.', time.gmtime(second)).encode()
        # The head is put together by hand: our own words need no escaping, and the encoder is half of a line's cost.
        kind = line["event"], line["level"]
        head = self._heads.get(kind) or self._head(*kind)
        tail = orjson.dumps(line["keys"], option=orjson.OPT_APPEND_NEWLINE)[1:]
        return self._prefix + _MILLISECONDS[int((at - second) * 1000)] + head + tail

    def _head(self, event: str, level: str) -> bytes:
        """What all lines of one kind have in common; there are as many as there are events."""
        head = self._heads[event, level] = f'","event":"{event}","level":"{level}",'.encode()
        return head


class TextLine:
    """Local time, level, a sentence; whole seconds, which is all that a person at a terminal needs."""

    __slots__ = ("_color", "_heads", "_second", "_sentences", "_text")

    def __init__(self, catalogue: Catalogue, color: bool) -> None:
        self._text = catalogue.text
        self._color = color
        self._second = -1
        self._heads: dict[str, str] = {}
        self._sentences: dict[str, Callable[[dict[str, Any]], str]] = {
            "config_reloaded": self._config_reloaded,
            "connection_closed": catalogue.text("text.connection_closed").format_map,
            "control_failed": self._control_failed,
            "helper_ended": self._helper_ended,
            "leak_found": self._leak_found,
            "process_identified": self._process_identified,
            "queries_dropped": self._queries_dropped,
            "ready": self._ready,
            "request_decided": _request_decided,
            "upstream_changed": self._upstream_changed,
            "upstream_failed": self._upstream_failed,
        }

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> bytes:
        second = int(line["at"])
        if second != self._second:
            self._second, self._heads = second, self._heads_of(second)
        event, keys = line["event"], line["keys"]
        sentence_of = self._sentences.get(event)
        sentence = self._plain(event, keys) if sentence_of is None else sentence_of(keys)
        # A lone surrogate, which a path may hold, is written as its escape.
        return f"{self._heads[line['level']]}{sentence}\n".encode("utf-8", "backslashreplace")

    def _heads_of(self, second: int) -> dict[str, str]:
        """What all lines of this second begin with, by their level."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        if not self._color:
            return {level: f"{when} {label} " for level, label in _LABELS.items()}
        return {level: f"{_DIM}{when}{_RESET} {_COLORS[level]}{label}{_RESET} " for level, label in _LABELS.items()}

    def _plain(self, event: str, keys: dict[str, Any]) -> str:
        return self._text(f"text.{event}", **{key: _flat(value) for key, value in keys.items()})

    def _ready(self, keys: dict[str, Any]) -> str:
        listeners = [f"{label} {address}" for key, label in _LISTENERS.items() for address in keys[key]]
        upstream = keys["upstream"] or self._text("text.no_upstream")
        sandbox = ", ".join(keys["sandbox"]) or self._text("text.no_sandbox")
        return self._text(
            "text.ready", listeners=", ".join(listeners), upstream=upstream, mode=keys["mode"], sandbox=sandbox
        )

    def _process_identified(self, keys: dict[str, Any]) -> str:
        if keys["process"] is None:
            return self._plain("process_unknown", keys)
        process = dict(keys["process"])
        around = _around(process, process.pop("parents", ()))
        return self._plain("process_identified", {**keys, **process, "around": around})

    def _leak_found(self, keys: dict[str, Any]) -> str:
        """A sentence and where to look it up; of a later revision only what it adds."""
        subject = keys.get("conn") or keys.get("query") or keys.get("stream")
        name = None if keys["name"] == SCRUBBED else keys["name"]
        if keys["revision"] > 1:
            evidence = ", ".join(keys["evidence"])
            raised = self._text("text.leak_raised", **{**keys, "subject": subject, "evidence": evidence})
            return f"{raised} [{name}]" if name else raised
        tail = (keys["finding"], subject, keys["kind"], keys["confidence"], keys["destination"], name)
        return f"{keys['message']} [{' '.join(part for part in tail if part)}]"

    def _upstream_failed(self, keys: dict[str, Any]) -> str:
        """Where there is none at all, or none to be trusted, what to do about it."""
        return self._plain(_UPSTREAM.get(keys["error"], "upstream_failed"), keys)

    def _control_failed(self, keys: dict[str, Any]) -> str:
        """Where the library for it is missing, how to get it."""
        return self._plain("control_missing" if keys["error"] == _NO_STEM else "control_failed", keys)

    def _helper_ended(self, keys: dict[str, Any]) -> str:
        """What it costs."""
        helper = keys["helper"] if keys["helper"] in _HELPERS else "witness"
        return self._plain(f"helper_ended.{helper}", keys)

    def _queries_dropped(self, keys: dict[str, Any]) -> str:
        """What to change, or that nobody can."""
        return self._plain("replies_dropped" if keys["reason"] == "send_queue" else "queries_dropped", keys)

    def _upstream_changed(self, keys: dict[str, Any]) -> str:
        if keys["upstream"] is None:
            return self._text("text.upstream_lost")
        return self._plain("upstream_changed", keys)

    def _config_reloaded(self, keys: dict[str, Any]) -> str:
        return self._plain("config_reloaded.restart" if keys["needs_restart"] else "config_reloaded", keys)


def wants_color(choice: str, is_terminal: bool, environ: Mapping[str, str]) -> bool:
    """Whether `always`, `never` or `auto` means colour here; auto obeys NO_COLOR and a dumb terminal."""
    if choice == "auto":
        return is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return choice == "always"


def _request_decided(keys: dict[str, Any]) -> str:
    """Codes in columns: the same in every language."""
    reason = f" ({keys['reason']})" if "reason" in keys else ""
    return (
        f"{keys['conn']:<6} {keys['protocol']:<7} {keys['command']:<13} {keys['exposure']:<15} {keys['action']:<7} "
        f"{keys['destination']}{reason}"
    )


def _around(process: Mapping[str, Any], parents: Iterable[Mapping[str, Any]]) -> str:
    """What a process runs in and under, the same in every language."""
    line = " < ".join(f"{parent['name']} {parent['pid']}" for parent in parents)
    marks = *(process[key] for key in ("script", "label", "wrapper") if key in process), line
    return "".join(f"; {mark}" for mark in marks if mark)


def _flat(value: object) -> object:
    return "; ".join(value) if isinstance(value, list) else value
