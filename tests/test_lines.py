"""The two forms of a line: JSON objects with their three first keys, sentences for a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import AT, SAMPLES, TCP

from shim.events import (
    ConfigReloaded,
    ControlFailed,
    Event,
    HelperEnded,
    LeakFound,
    ProcessIdentified,
    QueriesDropped,
    Ready,
    UpstreamChanged,
    UpstreamFailed,
)
from shim.locale import LANGUAGES, catalogue
from shim.record.fields import View, fields
from shim.record.lines import JsonLine, TextLine, wants_color

KEYS = {"conn": "c1", "count": 3, "seconds": 0.21, "none": None, "yes": True, "list": ["a", "b"], "in": {"pid": 1}}


def rendered(render: JsonLine | TextLine, at: float, event: str, level: str, keys: dict[str, object]) -> str:
    line = render(None, "", {"at": at, "event": event, "level": level, "keys": keys})
    assert line.endswith(b"\n")
    return line[:-1].decode()


@pytest.fixture
def json_line() -> JsonLine:
    return JsonLine()


def test_json_is_one_object_that_begins_with_time_event_level(json_line: JsonLine) -> None:
    line = rendered(json_line, AT, "ready", "info", KEYS)
    assert "\n" not in line
    found = json.loads(line)
    assert list(found.items())[:3] == [("timestamp", "2026-11-22T12:00:00.037Z"), ("event", "ready"), ("level", "info")]
    assert {key: found[key] for key in KEYS} == KEYS


@given(
    st.dictionaries(
        st.text(min_size=1), st.text() | st.integers(-(2**63), 2**63 - 1) | st.none() | st.booleans(), min_size=1
    )
)
def test_any_text_is_encoded_as_json_wants_it(keys: dict[str, object]) -> None:
    assert json.loads(rendered(JsonLine(), AT, "x", "info", {"k": keys}))["k"] == keys


def test_japanese_stays_readable_in_json(json_line: JsonLine) -> None:
    assert "名前解決" in rendered(json_line, AT, "leak_found", "warning", {"message": "名前解決"})


@pytest.mark.parametrize(
    ("at", "timestamp"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1795348800.0, "2026-11-22T12:00:00.000Z"),
        (1795348800.9994, "2026-11-22T12:00:00.999Z"),
        (1795348800.9996, "2026-11-22T12:00:01.000Z"),
        (1795348799.0004, "2026-11-22T11:59:59.000Z"),
    ],
)
def test_timestamps_are_rounded_to_the_nearest_millisecond(at: float, timestamp: str) -> None:
    assert json.loads(rendered(JsonLine(), at, "x", "info", {"a": 1}))["timestamp"] == timestamp


@given(st.lists(st.floats(0, 4e9), min_size=1, max_size=5))
def test_the_remembered_second_never_shows_in_another(times: list[float]) -> None:
    render = JsonLine()
    for at in times:
        assert rendered(render, at, "x", "info", {"a": 1}) == rendered(JsonLine(), at, "x", "info", {"a": 1})


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_text_has_local_time_and_an_aligned_level() -> None:
    render = TextLine(catalogue("en"), color=False)
    keys = {"count": 3}
    assert rendered(render, AT, "lines_dropped", "warning", keys).startswith("2026-11-22 21:00:00 warn  3 log lines")
    assert rendered(render, AT + 1, "lines_dropped", "info", keys).startswith("2026-11-22 21:00:01 info  3 log lines")


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_every_event_is_one_line_in_every_language(event: Event, color: bool, lang: str) -> None:
    texts = catalogue(lang)
    level, name, keys = fields(event, View(reveal=True, catalogue=texts))
    line = rendered(TextLine(texts, color), AT, name, level, keys)
    plain = line
    for code in ("\x1b[0m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m"):
        plain = plain.replace(code, "")
    assert plain.isprintable()
    assert (plain != line) == color
    assert "None" not in plain
    assert "{" not in plain


def test_connections_stand_in_columns() -> None:
    texts = catalogue("en")
    shown = [
        rendered(TextLine(texts, color=False), AT, *reversed(head), keys)[26:]
        for *head, keys in (fields(event, View(reveal=False, catalogue=texts)) for event in SAMPLES[2:5])
    ]
    assert shown == [
        "c1     socks5  CONNECT       name            forward [scrubbed]:443",
        "c1     socks5  CONNECT       issued          repair  [scrubbed]:443",
        "c1     socks5  CONNECT       address         block   [scrubbed]:443 (address_only)",
    ]


def test_a_finding_is_a_sentence_and_where_to_look_it_up() -> None:
    texts = catalogue("en")
    (event,) = (event for event in SAMPLES if getattr(event, "process", None) and hasattr(event, "finding"))
    level, name, keys = fields(event, View(reveal=False, catalogue=texts))
    line = rendered(TextLine(texts, color=False), AT, name, level, keys)
    assert "curl (pid 4242, SOCKS5, port 443) gave only an IP address" in line
    assert line.endswith(" [f1 c2 address_only possible [scrubbed]:443]")
    assert line.count("socks5h://") == 1


@pytest.mark.parametrize(("reveal", "parents"), [(False, ""), (True, "; bash 812")])
def test_who_sent_it_is_a_sentence(reveal: bool, parents: str) -> None:
    texts = catalogue("en")
    shown = [
        fields(event, View(reveal=reveal, catalogue=texts)) for event in SAMPLES if isinstance(event, ProcessIdentified)
    ]
    assert [rendered(TextLine(texts, color=False), AT, name, level, keys)[26:] for level, name, keys in shown] == [
        "c3     is from curl (pid 4242)",
        f"c3     is from python3 (pid 4243; pip; app:org.gnome.Terminal{parents})",
        "q1     is from an unknown program: shared_resolver",
    ]


@pytest.mark.parametrize(
    ("choice", "is_terminal", "environ", "expected"),
    [
        ("auto", True, {"TERM": "xterm"}, True),
        ("auto", True, {}, True),
        ("auto", False, {"TERM": "xterm"}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1", "TERM": "dumb"}, True),
        ("never", True, {"TERM": "xterm"}, False),
    ],
)
def test_colour_only_where_it_is_wanted(
    choice: str, is_terminal: bool, environ: dict[str, str], expected: bool
) -> None:
    assert wants_color(choice, is_terminal, environ) is expected


def finding_line(reveal: bool, revision: int) -> str:
    texts = catalogue("en")
    event = next(event for event in SAMPLES if isinstance(event, LeakFound) and event.name)
    level, name, keys = fields(replace(event, revision=revision), View(reveal, texts))
    return rendered(TextLine(texts, color=False), AT, name, level, keys)


def test_a_finding_tells_the_name_only_when_revealed() -> None:
    assert " host.example]" in finding_line(reveal=True, revision=1)
    assert "host.example" not in finding_line(reveal=False, revision=1)


def test_a_later_revision_tells_what_it_adds_and_not_the_sentence_again() -> None:
    line = finding_line(reveal=True, revision=2)
    assert "the finding is now" in line
    assert line.endswith("[host.example]")
    assert "gave only an IP address" not in line
    assert "host.example" not in finding_line(reveal=False, revision=2)


@pytest.mark.parametrize(
    ("event", "begin"),
    [
        (UpstreamFailed(AT, "auto", "no_tor_found"), "No Tor was found"),
        (UpstreamFailed(AT, "none", "no_upstream"), "No Tor was found"),
        (UpstreamFailed(AT, "tor", "no_state_directory"), "No Tor was found, and tor cannot be started"),
        (UpstreamFailed(AT, "127.0.0.1:9050", "closed"), "The upstream 127.0.0.1:9050 cannot be used: closed"),
        (UpstreamChanged(AT, "127.0.0.1:9050"), "The upstream is now 127.0.0.1:9050"),
        (UpstreamChanged(AT, None), "No upstream answers"),
        (ControlFailed(AT, "127.0.0.1:9051", "no_stem"), "Tor's control port 127.0.0.1:9051 cannot be used: stem is"),
        (ControlFailed(AT, "127.0.0.1:9051", "timeout"), "Tor's control port 127.0.0.1:9051 cannot be used: timeout"),
        (HelperEnded(AT, "guardian"), "The process that guards the others has ended"),
        (HelperEnded(AT, "witness"), "The process that looks up programs has ended"),
        (HelperEnded(AT, "worker"), "A worker process has ended"),
        (QueriesDropped(AT, TCP, 3, "queries_per_second"), "3 DNS queries were not answered"),
        (QueriesDropped(AT, TCP, 3, "send_queue"), "3 DNS replies were dropped"),
        (ConfigReloaded(AT, ()), "The new configuration is in force."),
        (ConfigReloaded(AT, ("listen.http", "dns.mode")), "The new configuration is in force, but for what needs"),
    ],
)
def test_one_event_has_another_sentence_for_another_case(event: Event, begin: str) -> None:
    texts = catalogue("en")
    level, name, keys = fields(event, View(reveal=False, catalogue=texts))
    line = rendered(TextLine(texts, color=False), AT, name, level, keys)
    assert line[26:].startswith(begin)


@pytest.mark.parametrize(
    ("parts", "shown"), [((), "sandbox: none."), (("seccomp", "landlock:7"), "seccomp, landlock:7.")]
)
def test_what_is_in_force_of_the_sandbox_is_said_or_that_nothing_is(parts: tuple[str, ...], shown: str) -> None:
    texts = catalogue("en")
    ready = Ready(AT, ("127.0.0.1:9250",), (), (), (), None, "warn", parts)
    level, name, keys = fields(ready, View(reveal=False, catalogue=texts))
    line = rendered(TextLine(texts, color=False), AT, name, level, keys)
    assert "SOCKS 127.0.0.1:9250; upstream none yet, mode warn" in line and line.endswith(shown)


def test_a_lone_surrogate_of_a_path_is_written_as_its_escape() -> None:
    render = TextLine(catalogue("en"), color=False)
    line = render(None, "", {"at": AT, "event": "lines_dropped", "level": "info", "keys": {"count": "\udc80"}})
    assert b"\\udc80" in line
