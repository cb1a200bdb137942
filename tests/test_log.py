"""The log as a bus subscriber: what is written, when, and what never is."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from samples import AT, CURL, SAMPLES, SECRET, leak, tainted

from shim import events
from shim.events import Event
from shim.locale import LANGUAGES, catalogue
from shim.model import Confidence, LeakKind, Peer, Process
from shim.record.bus import Bus
from shim.record.fields import SHOWN
from shim.record.log import LogSink
from shim.record.writer import LineWriter

SENTINEL = "s3ntinel.example.org"


class Loop:
    """A scheduler and a clock in the hand."""

    def __init__(self) -> None:
        self.now = AT
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay_s: float, run: Callable[[], None]) -> None:
        self.waiting.append((self.now + delay_s, run))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [run for at, run in self.waiting if at <= self.now]
        self.waiting = [(at, run) for at, run in self.waiting if at > self.now]
        for run in due:
            run()


class Log:
    """A sink on a pipe, and what comes out of it."""

    def __init__(self, loop: Loop | None = None, *, limit_bytes: int = 8 << 20, lang: str = "en", **how: Any) -> None:
        self.reader, self.end = os.pipe()
        os.set_blocking(self.reader, False)
        self.writer = LineWriter(self.end, limit_bytes)
        settings = {"format": "json", "level": "info", "reveal": False, "color": "never"} | how
        if loop is not None:
            settings |= {"schedule": loop.call_later, "clock": lambda: loop.now}
        self.sink = LogSink(self.writer, catalogue(lang), **settings)

    def text(self) -> str:
        """What has been written since last asked."""
        found = b""
        try:
            while data := os.read(self.reader, 1 << 16):
                found += data
        except BlockingIOError:
            pass
        return found.decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def close(self) -> None:
        self.writer.close()
        os.close(self.reader)
        os.close(self.end)


@pytest.fixture
def logs() -> Iterator[Callable[..., Log]]:
    opened: list[Log] = []

    def open_log(*args: Any, **how: Any) -> Log:
        opened.append(Log(*args, **how))
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()


def closed(conn: str, at: float = AT) -> events.ConnectionClosed:
    return events.ConnectionClosed(at, conn, 1, 2, 0.5, "client_closed")


def warned(at: float, number: int = 1, **more: Any) -> events.LeakFound:
    found = leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5", process=CURL, finding=f"f{number}", **more)
    return dataclasses.replace(found, at=at)


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
@pytest.mark.parametrize("form", ["json", "text"])
def test_each_event_of_the_level_and_above_is_one_line(logs: Callable[..., Log], level: str, form: str) -> None:
    log = logs(format=form, level=level)
    order = ["debug", "info", "warning", "error"]
    for event in SAMPLES:
        loud = order.index(SHOWN[type(event)][0]) >= order.index(level) or isinstance(event, events.Ready)
        log.sink.take(dataclasses.replace(event, at=AT + 100 * SAMPLES.index(event)))  # too far apart to be gathered
        assert len(log.text().splitlines()) == loud


def test_a_json_line_is_the_contracts(logs: Callable[..., Log]) -> None:
    log = logs()
    log.sink.take(closed("c1"))
    assert log.lines() == [
        {
            "timestamp": "2026-11-22T12:00:00.037Z",
            "event": "connection_closed",
            "level": "info",
            "conn": "c1",
            "sent": 1,
            "received": 2,
            "seconds": 0.5,
            "reason": "client_closed",
        }
    ]


def test_lines_wait_for_the_end_of_the_turn_with_one_timer(logs: Callable[..., Log]) -> None:
    loop = Loop()
    log = logs(loop)
    for number in range(3):
        log.sink.take(closed(f"c{number}"))
    assert log.text() == ""
    assert len(loop.waiting) == 1
    loop.advance(0)
    assert [line["conn"] for line in log.lines()] == ["c0", "c1", "c2"]
    assert loop.waiting == []
    log.sink.take(closed("c3"))
    loop.advance(0)
    assert [line["conn"] for line in log.lines()] == ["c3"]


def test_what_the_reader_does_not_take_is_tried_again(logs: Callable[..., Log]) -> None:
    loop = Loop()
    log = logs(loop)
    for number in range(2000):
        log.sink.take(closed(f"c{number}"))
    seen = []
    for _ in range(100):
        loop.advance(0.05)
        seen += log.lines()
    assert [line["conn"] for line in seen] == [f"c{number}" for number in range(2000)]
    assert loop.waiting == []


def test_a_reader_that_stands_still_costs_one_timer_however_many_windows_end(logs: Callable[..., Log]) -> None:
    loop = Loop()
    log = logs(loop, format="text")
    log.writer.write(b"x" * 100_000)
    for number in range(50):
        other = dataclasses.replace(CURL, name=f"program {number}")
        log.sink.take(dataclasses.replace(warned(loop.now), process=other))
    for _ in range(100):
        loop.advance(1)
    assert len(loop.waiting) == 1
    assert log.text().endswith("x")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_gap_tells_how_many_lines_are_missing(logs: Callable[..., Log], form: str) -> None:
    loop = Loop()
    log = logs(loop, format=form, limit_bytes=1000)
    for number in range(100):
        log.sink.take(closed(f"c{number}"))
    loop.now += 7
    loop.advance(0)
    log.sink.take(closed("late"))
    loop.advance(0)
    *before, gap, late = log.text().splitlines()
    assert "late" in late
    missing = 100 - len(before)
    if form == "json":
        told = json.loads(gap)
        assert (told["event"], told["level"], told["count"]) == ("lines_dropped", "warning", missing)
        assert told["timestamp"] == "2026-11-22T12:00:07.037Z"
    else:
        assert f"{missing} log lines are missing" in gap


def test_text_gathers_and_tells_when_the_window_ends_though_nothing_else_happens(logs: Callable[..., Log]) -> None:
    loop = Loop()
    log = logs(loop, format="text")
    for number in range(13):
        log.sink.take(warned(loop.now, number))
        loop.advance(0.1)
    (first,) = log.text().splitlines()
    assert "curl (pid 4242" in first
    loop.advance(57)
    assert log.text() == ""
    loop.advance(3)
    (more,) = log.text().splitlines()
    assert more.endswith("warn  curl: address_only, and 12 more in 60 s")
    log.sink.take(warned(loop.now))
    loop.advance(0)
    assert "curl (pid 4242" in log.text()


def test_what_was_held_back_is_told_before_a_new_window_and_at_the_end(logs: Callable[..., Log]) -> None:
    loop = Loop()
    log = logs(loop, format="text")
    for pause in (0, 1, 69, 1):
        loop.now += pause
        log.sink.take(warned(loop.now))  # all in one batch: only the events bring time
    log.sink.close()
    assert [("and 1 more in 60 s" in line, "pid 4242" in line) for line in log.text().splitlines()] == [
        (False, True),
        (True, False),
        (False, True),
        (True, False),
    ]


def test_more_confidence_is_shown_at_once(logs: Callable[..., Log]) -> None:
    log = logs(format="text", clock=lambda: AT)
    log.sink.take(warned(AT))
    log.sink.take(warned(AT + 1, revision=2, confidence=Confidence.CONFIRMED))
    assert len(log.text().splitlines()) == 2
    log.sink.take(warned(AT + 2, revision=3, confidence=Confidence.CONFIRMED))
    assert log.text() == ""


def test_an_upstream_that_stays_away_is_gathered_too(logs: Callable[..., Log]) -> None:
    log = logs(format="text", clock=lambda: AT)
    for number in range(5):
        log.sink.take(events.UpstreamFailed(AT, "127.0.0.1:9050", "connection_refused", f"c{number}"))
    assert len(log.text().splitlines()) == 1
    log.sink.close()
    assert log.text().splitlines()[0].endswith("127.0.0.1:9050: connection_refused, and 4 more in 60 s")


def test_json_has_every_finding(logs: Callable[..., Log]) -> None:
    log = logs()
    for number in range(20):
        log.sink.take(warned(AT, number))
    log.sink.close()
    assert [line["finding"] for line in log.lines()] == [f"f{number}" for number in range(20)]


def test_level_and_names_can_be_changed_while_it_runs(logs: Callable[..., Log]) -> None:
    log = logs(level="warning")
    log.sink.take(closed("c1"))
    log.sink.configure(level="info", reveal=True)
    log.sink.take(closed("c2"))
    log.sink.take(warned(AT))
    first, second = log.lines()
    assert (first["conn"], second["destination"]) == ("c2", "93.184.216.34:443")


def test_an_unknown_level_is_a_bug(logs: Callable[..., Log]) -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        logs().sink.configure(level="loud", reveal=False)


def test_close_writes_what_waits(logs: Callable[..., Log]) -> None:
    loop = Loop()
    log = logs(loop)
    log.sink.take(closed("c1"))
    log.sink.close()
    assert len(log.lines()) == 1
    loop.advance(1)
    assert log.lines() == []


def test_colour_is_for_those_who_want_it(logs: Callable[..., Log]) -> None:
    plain, colored = logs(format="text"), logs(format="text", color="always")
    for log in (plain, colored):
        log.sink.take(closed("c1"))
    assert "\x1b" not in plain.text()
    assert colored.text().startswith("\x1b[2m")


def test_through_the_bus(logs: Callable[..., Log]) -> None:
    loop = Loop()
    log, bus = logs(loop), Bus(loop.call_later)
    bus.subscribe(lambda event: [warned(event.at)] if isinstance(event, events.ConnectionClosed) else None)
    bus.subscribe(log.sink.take)
    bus.publish(closed("c1"))
    loop.advance(0.02)
    loop.advance(0)
    assert [line["event"] for line in log.lines()] == ["connection_closed", "leak_found"]


@pytest.fixture(params=[(form, lang) for form in ("json", "text") for lang in LANGUAGES], ids="-".join)
def hostile_log(request: pytest.FixtureRequest, logs: Callable[..., Log]) -> Callable[[bool], Log]:
    form, lang = request.param
    return lambda reveal: logs(format=form, lang=lang, level="debug", reveal=reveal)


def every_event(text: str, spare: tuple[type, ...] = ()) -> Iterator[Event]:
    """All samples with `text` wherever something may come from outside, one window of gathering apart."""
    for number, event in enumerate(SAMPLES):
        yield dataclasses.replace(tainted(event, text, spare_types=spare), at=AT + 100 * number)


@pytest.mark.parametrize("reveal", [True, False])
def test_a_sentinel_host_shows_in_no_line_unless_revealed(hostile_log: Callable[[bool], Log], reveal: bool) -> None:
    log = hostile_log(reveal)
    for event in every_event(SENTINEL, spare=(Peer, Process)):  # who asks is no destination
        log.sink.take(event)
    log.sink.close()
    text = log.text()
    assert len(text.splitlines()) >= len(SAMPLES)
    assert ("s3ntinel" in text) is reveal


def test_credentials_show_in_no_line_at_all(hostile_log: Callable[[bool], Log]) -> None:
    log = hostile_log(True)
    for event in SAMPLES:
        log.sink.take(event)
    log.sink.close()
    text = log.text().lower()
    assert "host.example" in text
    for secret in (SECRET.username, SECRET.password):
        for form in (secret.decode(), secret.hex(), base64.b64encode(secret).decode().lower()):
            assert form not in text


@pytest.mark.parametrize("reveal", [True, False])
def test_escape_sequences_never_reach_the_terminal(hostile_log: Callable[[bool], Log], reveal: bool) -> None:
    log = hostile_log(reveal)
    for event in every_event("\x1b]0;owned\x07\u202egnp\x9b2J\n\r\u2028"):
        log.sink.take(event)
    log.sink.close()
    text = log.text()
    assert all(line.isprintable() for line in text.split("\n"))
    assert r"\x1b]0;owned\x07\u202egnp\x9b2J" in text.replace(r"\\", "\\")
