"""shim.replay and `shim replay`: a log read back gives the findings that it tells of, or says why it cannot."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stories import THERE, V4, Story

from shim import events
from shim.advice import table
from shim.cli import start
from shim.events import Event, FirstBytesSeen, LeakFound, ProcessIdentified, ProcessSought, RequestDecided, TorAsked
from shim.judge.attributed import fold
from shim.locale import catalogue
from shim.model import Command, Confidence, DnsMode, Mode, Peer, Process, Protocol
from shim.record.fields import View, fields
from shim.record.lines import JsonLine
from shim.record.log import LogSink
from shim.record.writer import LineWriter
from shim.replay import MAX_LINE, Replay, ReplayError

SHOWN = View(reveal=True, catalogue=catalogue("en"))
UNIX = Peer("", 0, uid=1000)


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


def rich_story(mode: Mode, dns: DnsMode) -> list[Event]:
    """Something of everything, in the order of a live bus: each event, then what was found by it."""
    story = Story(mode, dns)
    story.tell(events.Ready(story.at, ("127.0.0.1:9250",), (), ("127.0.0.1:5453",), (), None, mode))
    for scene in (names, issued, looked_up_before, addresses, odd_questions, first_bytes, refusals, tor_was_asked):
        scene(story)
    live: list[Event] = []
    folded = fold(table())
    for event in looked_for(story.events):
        live += [event, *folded.feed(event)]
        live.append(events.ConnectionClosed(event.at, "c1", 1, 2, 0.5, "client_closed"))
    return [*live, *folded.rest()]


def names(story: Story) -> None:
    for name in ("www.example.com", "WWW.Example.org."):
        story.connect(name)
        story.ask(name.lower().removesuffix("."), process=Process(4242, "curl", "/usr/bin/curl"))
        story.ask(name.lower() + "corp.lan", "HTTPS", process=Process(7, "firefox", None))
        story.connect(name, peer=UNIX)


def issued(story: Story) -> None:
    story.ask("secret.example.net")
    asked = story.events[-1]
    for address in getattr(asked, "addresses", ()):
        for form in (address, str(address), address + 1):
            story.connect(form, 80, protocol=Protocol.SOCKS4)
        story.connect(address, command=Command.RESOLVE_PTR)


def looked_up_before(story: Story) -> None:
    story.resolve("cdn.example", "198.51.100.1")
    story.connect("198.51.100.1")
    story.connect(ip_address("198.51.100.1"), peer=THERE)
    story.resolve("intranet", "198.51.100.1", Peer("192.0.2.9", 1))
    story.connect("198.51.100.1", peer=THERE)


def addresses(story: Story) -> None:
    story.connect("mail.example", 143)
    for form in ("2001:db8::1", "[2001:db8::1]", IPv6Address("2001:db8::1"), IPv6Address("::ffff:93.184.216.34")):
        story.connect(form)
        story.connect(form, 853, Peer("2001:db8::77", 5))
    story.connect(V4, 80, THERE, Protocol.SOCKS4)


def odd_questions(story: Story) -> None:
    for label in ("qwhjdkzlmn", "xkcdpvbtrs", "wpad", "how\\032to", "example.onion", "printer.local", "."):
        story.ask(label)


def first_bytes(story: Story) -> None:
    for last in range(8):
        story.connect(V4 + last, peer=UNIX)
        conn = story.events[-1]
        assert isinstance(conn, RequestDecided)
        name = "www.example.net" if last % 2 else None
        story.tell(FirstBytesSeen(story.at, conn.conn, "tls", name, address=False, encrypted=last == 3))
    story.ask(V4.reverse_pointer, "PTR")


def refusals(story: Story) -> None:
    for command in (Command.BIND, Command.UDP_ASSOCIATE):
        story.connect("0.0.0.0", 0, command=command)
    for host in ("localhost", "127.1", IPv4Address("10.0.0.1")):
        story.connect(host, 8080, protocol=Protocol.HTTP)
    story.fail("not_socks", "http")
    story.fail("malformed_name")
    story.fail("not_socks")


def tor_was_asked(story: Story) -> None:
    for number, source in enumerate(("127.0.0.1:41360", "[::1]:4", "unix:/run/tor/socks", None), 1):
        dangerous, target = number % 2 == 0, "[2001:db8::1]:80" if number == 2 else "www.example.com:443"
        story.tell(
            TorAsked(
                story.at, f"t{number}", source, "socks5", Command.CONNECT, target, dangerous, False, Confidence.PROBABLE
            )
        )


def looked_for(told: list[Event]) -> list[Event]:
    """Of every three requests one is looked up in vain and one is found, a little later than the next event."""
    events_: list[Event] = []
    waiting: Event | None = None
    for place, event in enumerate(told):
        asked = event.conn if isinstance(event, RequestDecided) else event.stream if isinstance(event, TorAsked) else ""
        seeking = asked and place % 3
        if seeking:
            events_.append(ProcessSought(event.at, asked))
        events_.append(event)
        if waiting is not None:
            events_.append(waiting)
        wrapper = "proxychains" if place % 2 else None
        pip = Process(place, "python3", None, 9, ("python3", "pip"), "unit:x", 0, (), "pip", wrapper)
        process = pip if place % 3 == 1 else None
        reason = None if process else "gone"
        waiting = ProcessIdentified(event.at, asked, process, reason) if seeking else None
    return events_


def written(live: list[Event], path: Path, *, reveal: bool = True, level: str = "debug", form: str = "json") -> Path:
    """The log of these events."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    sink = LogSink(LineWriter(fd), catalogue("en"), format=form, level=level, reveal=reveal)
    for event in live:
        sink.take(event)
    sink.close()
    os.close(fd)
    return path


def shown(found: LeakFound) -> dict[str, Any]:
    """A finding as the log shows it, its time in whole milliseconds."""
    level, event, keys = fields(found, SHOWN)
    line: dict[str, Any] = json.loads(
        JsonLine()(None, "", {"at": found.at, "level": level, "event": event, "keys": keys})
    )
    return line


def replayed(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        return [shown(found) for found in Replay().findings(file)]


def told(path: Path) -> list[dict[str, Any]]:
    """The findings that stand in the log."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["event"] == "leak_found"]


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("dns", DnsMode)
@pytest.mark.parametrize("mode", Mode)
def test_replay_finds_what_was_found_live(mode: Mode, dns: DnsMode, level: str, tmp_path: Path) -> None:
    """At level info programs and first bytes stand in the findings alone, and what Tor was asked for nowhere."""
    log = written(rich_story(mode, dns), tmp_path / "log", level=level)
    assert replayed(log) == [line for line in told(log) if level == "debug" or "stream" not in line]
    assert len(told(log)) > 40
    assert {line["revision"] for line in told(log)} >= {1, 2}


def test_the_story_is_rich() -> None:
    found = [event for event in rich_story(Mode.WARN, DnsMode.ISSUE) if isinstance(event, LeakFound)]
    rules = {f"L{number:02d}" for number in (*range(1, 6), *range(6, 9), *range(10, 18), 19, 20, 22, 23, 24, 25, 26)}
    assert rules <= {each.rule for each in found}
    assert any("candidate:intranet" in each.evidence for each in found)


# What the judge is asked, by event: which keys of the log hold it.
JUDGED = {
    "request_decided": {"timestamp", "client", "protocol", "command", "host_form", "destination"},
    "upstream_answered": {"timestamp", "client", "command", "destination", "reply", "bound"},
    "dns_query": {"timestamp", "client", "qname", "qtype", "rcode", "answer", "addresses"},
}


def test_all_that_the_judge_was_told_is_in_the_log(tmp_path: Path) -> None:
    live = rich_story(Mode.REPAIR, DnsMode.ISSUE)
    lines = [json.loads(line) for line in written(live, tmp_path / "log").read_text().splitlines()]
    inputs = [line for line in lines if line["event"] in JUDGED]
    kinds = (events.RequestDecided, events.UpstreamAnswered, events.DnsQueried)
    assert len(inputs) == sum(isinstance(event, kinds) for event in live)
    for line in inputs:
        assert JUDGED[line["event"]] <= line.keys()
        assert "[scrubbed]" not in json.dumps(line)
    repaired = [line for line in inputs if line["event"] == "request_decided" and line["action"] == "repair"]
    assert repaired
    assert all(line["names"] == [line["name"]] for line in repaired)


@pytest.mark.parametrize("level", ["debug", "info"])
def test_names_that_are_scrubbed_end_it(level: str, tmp_path: Path) -> None:
    log = written(rich_story(Mode.WARN, DnsMode.REFUSE), tmp_path / "log", reveal=False, level=level)
    with log.open("rb") as file, pytest.raises(ReplayError) as caught:
        list(Replay().findings(file))
    first = next(place for place, line in enumerate(log.read_text().splitlines(), 1) if "request_decided" in line)
    assert (caught.value.reason, caught.value.line) == ("scrubbed", first)


def decided(**changes: Any) -> bytes:
    """A line of a request, with keys changed or, where None, left out."""
    line = {
        "timestamp": "2026-11-22T12:00:00.037Z",
        "event": "request_decided",
        "level": "info",
        "conn": "c1",
        "client": "127.0.0.1:40000",
        "protocol": "socks5",
        "command": "CONNECT",
        "host_form": "address",
        "exposure": "address",
        "action": "forward",
        "destination": "93.184.216.34:443",
    }
    return json.dumps({key: value for key, value in (line | changes).items() if value is not None}).encode() + b"\n"


def read(*lines: bytes) -> tuple[Replay, list[LeakFound]]:
    run = Replay()
    return run, list(run.findings(io.BytesIO(b"".join(lines))))


BARE: dict[str, Any] = {"client": None, "host_form": None}
"""Keys that this log has and the contract's lines have not."""


@pytest.mark.parametrize("more", [{}, BARE])
def test_a_line_as_the_contract_has_it(more: dict[str, Any]) -> None:
    run, (found,) = read(decided(**more))
    assert (found.finding, found.kind, found.conn, found.destination) == (
        "f1",
        "address_only",
        "c1",
        "93.184.216.34:443",
    )
    assert (run.inputs, run.told, run.missing) == (1, 0, 0)


@pytest.mark.parametrize(
    ("exposure", "destination", "kind"),
    [
        ("address", "[2001:db8::1]:443", "address_only"),
        ("address_as_text", "93.184.216.34:80", "address_as_text"),
        ("issued", "198.18.7.9:80", "local_resolution"),
        ("resolved_by_tor", "93.184.216.34:80", None),
        ("name", "www.example.com:80", None),
        ("local", "printer.local:631", None),
        ("not_applicable", "0.0.0.0:0", None),
    ],
)
def test_a_host_is_what_its_exposure_says(exposure: str, destination: str, kind: str | None) -> None:
    command = "RESOLVE_PTR" if exposure == "not_applicable" else "CONNECT"
    _, found = read(decided(exposure=exposure, destination=destination, command=command, **BARE))
    assert [each.kind for each in found] == ([] if kind is None else [kind])


def finding(**changes: Any) -> bytes:
    """The line of a finding, as the contract has it."""
    line = {
        "finding": "f1",
        "revision": 1,
        "kind": "address_only",
        "confidence": "possible",
        "name": None,
        "process": {"pid": 4242, "name": "curl", "exe": "/usr/bin/curl"},
        "evidence": ["address_request"],
    }
    return decided(event="leak_found", **(line | changes))


def test_a_log_without_debug_takes_programs_and_names_from_its_findings() -> None:
    later = finding(revision=2, name="www.example.com", evidence=["address_request", "tls_sni_is_name"])
    _, (first, second) = read(decided(**BARE), finding(), later)
    assert (first.revision, first.confidence, first.name) == (1, "possible", None)
    assert (second.revision, second.confidence, second.name, second.rule) == (2, "probable", "www.example.com", "L02")
    assert first.process == second.process == Process(4242, "curl", "/usr/bin/curl")
    assert first.advice == second.advice == "advice.for.curl.socks5"


@pytest.mark.parametrize(
    "line",
    [
        finding(conn=None),
        finding(conn=["c1"]),
        finding(timestamp=None),
        finding(revision=None),
        finding(process={"pid": "x"}),
        finding(revision=2, evidence=[["x"]]),
        finding(revision=2, evidence=["tls_sni_is_name"], name=1),
        finding(query="q1"),
        finding(destination="[scrubbed]:443"),
    ],
)
def test_a_finding_that_cannot_be_read_loses_none(line: bytes) -> None:
    _, (found,) = read(decided(), line)
    assert (found.process, found.process_reason) == (None, "off")


def test_a_finding_waits_for_its_line_and_no_longer_than_look_ups_take() -> None:
    lines = [decided(conn=f"c{number}") for number in range(4098)]
    _, found = read(*lines, finding(conn="c4097"))
    assert [each.conn for each in found[:2]] == ["c0", "c1"]
    assert found[2].process is not None
    assert len(found) == 4098


def test_keys_and_events_that_are_not_known_are_passed_over() -> None:
    other = b'{"event": "weather", "destination": "[scrubbed]:80"}\n{"timestamp": 1}\n{"event": ["x"]}\n\n'
    closed = b'{"event": "connection_closed", "conn": "c1"}\n'
    run, found = read(other, decided(weather="fine", level="loud"), closed)
    assert (len(found), run.inputs) == (1, 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"Ready on SOCKS 127.0.0.1:9250\n", "not_json"),
        (b'["request_decided"]\n', "not_json"),
        (b'{"event": "request_decided"', "not_json"),
        (b"\xff\xfe\n", "not_json"),
        (b"[" * 100_000 + b"\n", "not_json"),
        (b'{"x": ' + b"9" * 5000 + b"}\n", "not_json"),
        (b'{"x": "' + b"x" * MAX_LINE + b'"}\n', "too_long"),
        (decided(destination="[scrubbed]:443"), "scrubbed"),
        (decided(name="[scrubbed]"), "scrubbed"),
        (decided(names=["[scrubbed]"]), "scrubbed"),
        (decided(timestamp="yesterday"), "malformed"),
        (decided(timestamp=None), "malformed"),
        (decided(conn=None), "malformed"),
        (decided(conn=1), "malformed"),
        (decided(conn="\ud800"), "malformed"),
        (decided(conn="c\x1b[31m1"), "malformed"),
        (decided(conn="c1\n"), "malformed"),
        (decided(client="somewhere"), "malformed"),
        (decided(client="uid:root"), "malformed"),
        (decided(protocol="socks6"), "malformed"),
        (decided(command="EXPLODE"), "malformed"),
        (decided(exposure="naked"), "malformed"),
        (decided(action="shrug"), "malformed"),
        (decided(destination="www.example.com:443"), "malformed"),
        (decided(destination="www.example.com:443", host_form="name"), "malformed"),
        (decided(destination="93.184.216.34"), "malformed"),
        (decided(destination="93.184.216.34:65536"), "malformed"),
        (decided(destination="93.184.216.34:x"), "malformed"),
        (decided(names=[1]), "malformed"),
        (decided(names=1), "malformed"),
        (decided(reason=["x"]), "malformed"),
        (decided(event="dns_query"), "malformed"),
        (decided(event="handshake_failed", error="x", reply="zz"), "malformed"),
        (decided(event="first_bytes_seen"), "malformed"),
        (decided(event="process_sought"), "malformed"),
        (decided(event="process_identified", subject="c1", process=1), "malformed"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: bytes, reason: str) -> None:
    with pytest.raises(ReplayError) as caught:
        read(decided(), b"\n", line)
    assert (caught.value.reason, caught.value.line) == (reason, 3)
    assert str(caught.value) == reason, "and nothing of what stands in it"


def queried(**changes: Any) -> bytes:
    """A line of a query."""
    line = {
        "query": "q1",
        "transport": "udp",
        "qname": "www.example.com",
        "qtype": "A",
        "rcode": "REFUSED",
        "answer": "refuse",
        "addresses": [],
        "process": None,
        "process_reason": "off",
    }
    return decided(event="dns_query", **(line | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"qname": 1},
        {"answer": "maybe"},
        {"addresses": ["x"]},
        {"addresses": [1]},
        {"addresses": 1},
        {"process": {"pid": 1}},
        {"process": {"pid": "1", "name": "curl", "exe": None}},
        {"process": "curl"},
        {"process": {"pid": 1, "name": "curl", "exe": None, "arguments": [1]}},
        {"process": {"pid": 1, "name": "curl", "exe": None, "label": 1}},
        {"process": {"pid": 1, "name": "curl", "exe": None, "uid": "1"}},
        {"process": {"pid": 1, "name": "curl", "exe": None, "parents": [1]}},
        {"process": {"pid": 1, "name": "curl", "exe": None, "parents": [{"pid": "1", "name": "sh"}]}},
    ],
)
def test_a_query_that_cannot_be_read_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(ReplayError, match="malformed"):
        read(queried(**changes))


def test_a_query_keeps_its_process() -> None:
    _, (found,) = read(queried(process={"pid": 7, "name": "curl", "exe": None, "more": 1}, process_reason=None))
    assert (found.process, found.process_reason) == (Process(7, "curl", None), None)
    _, (found,) = read(queried(process_reason="gone"))
    assert (found.process, found.process_reason) == (None, "gone")


def sought(conn: str = "c1") -> bytes:
    """A line of a look-up that begins."""
    return decided(event="process_sought", subject=conn)


def test_a_finding_whose_look_up_never_ended_is_told_all_the_same() -> None:
    _, (found,) = read(sought(), decided())
    assert (found.conn, found.process, found.process_reason) == ("c1", None, "busy")
    _, found_ = read(sought(), decided(), b'{"event": "ready"}\n', b'{"event": "ready"}\n', decided())
    assert [each.process_reason for each in found_] == ["busy", "off"]


def test_a_second_run_in_one_file_begins_anew() -> None:
    ready = b'{"event": "ready"}\n'
    _, found = read(ready, decided(), decided(), ready, decided())
    assert [each.finding for each in found] == ["f1", "f2", "f1"]


@given(st.lists(st.sampled_from([decided(), queried(), b"{}\n", b"\n", b'{"event":"ready"}\n', b"x\n"]), max_size=6))
def test_lines_are_counted_as_an_editor_counts_them(lines: list[bytes]) -> None:
    try:
        run, _ = read(*lines)
    except ReplayError as error:
        assert error.line == lines.index(b"x\n") + 1
    else:
        assert b"x\n" not in lines
        assert run.inputs == sum(line in (decided(), queried()) for line in lines)


# The command.


def output(capfd: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    out, err = capfd.readouterr()
    return out.splitlines(), err


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_command_shows_the_logs_own_lines(lang: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = written(rich_story(Mode.WARN, DnsMode.ISSUE), tmp_path / "log")
    assert start(["replay", str(log), "--format", "json", "--lang", lang]) == 1
    out, err = output(capfd)
    untranslated = [{key: line[key] for key in line if key not in ("advice", "message")} for line in told(log)]
    found = [json.loads(line) for line in out]
    assert [{key: line[key] for key in line if key not in ("advice", "message")} for line in found] == untranslated
    assert (found == told(log)) is (lang == "en")
    assert err == ""


def test_text_is_a_line_a_finding(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = written(rich_story(Mode.WARN, DnsMode.ISSUE), tmp_path / "log")
    assert start(["replay", str(log)]) == 1
    out, _ = output(capfd)
    assert len(out) == len(told(log))
    assert out[0].endswith("[f1 q1 dns_query possible www.example.com]")


def test_a_log_without_a_leak(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    story = Story()
    story.connect("www.example.com")
    assert start(["replay", str(written(story.events, tmp_path / "log"))]) == 0
    assert output(capfd) == ([], "")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: written(rich_story(Mode.WARN, DnsMode.REFUSE), path, reveal=False), ": names are scrubbed"),
        (lambda path: written(rich_story(Mode.WARN, DnsMode.REFUSE), path, form="text"), "line 1: this is no JSON"),
        (lambda path: written(rich_story(Mode.WARN, DnsMode.REFUSE), path, level="warning"), "it holds findings, but"),
    ],
)
def test_a_log_that_cannot_be_replayed_says_why_and_how(
    make: Callable[[Path], Path], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert start(["replay", str(make(tmp_path / "log"))]) == 2
    out, err = output(capfd)
    assert out == []
    assert said in err
    assert str(tmp_path / "log") in err
    assert "--reveal --log-format json --log-level debug" in err


def test_a_file_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert start(["replay", str(tmp_path / "none")]) == 2
    assert start(["replay"]) == 2
    assert start(["replay", str(tmp_path / "none"), "--format", "xml"]) == 2


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"", 3),
        (b'{"event":"ready"}\n', 3),
        (decided(host_form="name", exposure="name") + b'{"event":"lines_dropped","count":7}\n', 3),
        (decided() + b'{"event":"lines_dropped","count":7}\n', 1),
        (decided() + b'{"event":"lines_dropped"}\n', 1),
    ],
)
def test_too_little_to_tell_is_not_clean(
    lines: bytes, status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_bytes(lines)
    assert start(["replay", str(log)]) == status
    _, err = output(capfd)
    assert ("7 lines are missing" in err) is (b'"count":7' in lines)


def test_a_log_from_a_pipe(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(decided())))
    assert start(["replay", "-"]) == 1
    assert len(output(capfd)[0]) == 1


def test_a_reader_that_has_seen_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    log.write_bytes(decided() * 2)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert start(["replay", str(log)]) == 1


def test_a_verdict_is_taken_as_it_was_said() -> None:
    """What the judge knew when it judged is not known any more: here, which name an address stood for."""
    _, (found,) = read(
        decided(exposure="issued", action="repair", name="secret.example.net", names=["secret.example.net"])
    )
    assert (found.kind, found.name, found.action) == ("local_resolution", "secret.example.net", "repair")
    assert found.evidence == ("issued_address",)
