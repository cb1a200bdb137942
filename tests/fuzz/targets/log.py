"""Any story: its findings are told, each line is one printable line in either form, and no destination is in any."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from fuzz import grammar
from fuzz.tape import Tape
from shim.advice import table
from shim.errors import ProtocolError
from shim.events import (
    DnsQueried,
    Event,
    FirstBytesSeen,
    HandshakeFailed,
    LeakFound,
    ProcessIdentified,
    ProcessSought,
    RequestDecided,
    UpstreamAnswered,
)
from shim.judge.attributed import fold
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.locale import catalogue
from shim.model import Answer, DnsAnswer, Mode, Peer, Process, Request
from shim.policy import Policy
from shim.protocol.dns import Query, read_query, type_name
from shim.protocol.first_bytes import FirstBytesReader
from shim.protocol.hostname import is_valid_hostname
from shim.protocol.socks_server import SocksServer
from shim.record.fields import View, fields
from shim.record.lines import JsonLine, TextLine

COVERS = (
    "shim.judge.attributed",
    "shim.judge.beside",
    "shim.judge.classify",
    "shim.judge.correlate",
    "shim.judge.decide",
    "shim.judge.findings",
    "shim.judge.judge",
    "shim.judge.queries",
    "shim.judge.remedies",
    "shim.judge.tally",
    "shim.record.fields",
    "shim.record.lines",
    "shim.record.message",
    "shim.record.scrub",
)

WORD = "s3ntinel"
"""Stands in every name: no text of the shim's own has it."""

PEER = Peer("127.0.0.1", 40000)
VIEWS = [View(reveal=False, catalogue=catalogue(lang)) for lang in ("en", "ja")]
PROGRAMS = ("curl", "firefox", "python3", "java", "chrome", "node", "tor", "systemd-resolve", "x")
STEPS = 12


def one_input(data: bytes) -> None:
    """A byte for the mode, then steps: what kind, how long, what."""
    tape = Tape(data)
    story = Story(tape.choose(tuple(Mode)), bool(tape.byte() & 1))
    at = 1_700_000_000.0
    for number in range(STEPS):
        if tape.over:
            break
        at += tape.byte() / 16
        for event in story.step(tape.byte(), f"c{number}", tape.exactly(tape.byte()), at):
            story.take(event)
    for found in story.fold.rest():
        _check(found)


def generate(rng: Random) -> bytes:
    steps = []
    for _ in range(rng.randint(1, 8)):
        kind = rng.randrange(5)
        made = (grammar.socks_client, grammar.dns_query, grammar.client_hello, grammar.http_request, grammar.name)[kind]
        said = made(rng)[:255]
        steps.append(bytes((rng.randrange(40), kind, len(said))) + said)
    return rng.randbytes(2) + b"".join(steps)


class Story:
    """A judge, a fold, and what is told of both."""

    def __init__(self, mode: Mode, text_blocks: bool) -> None:
        policy = Policy(mode, address_as_text="block" if text_blocks else "warn")
        self.judge = Judge(policy, AnswerMemory())
        self.fold = fold(table())

    def take(self, event: Event) -> None:
        """As the log does it: the event, and what is found by it."""
        _check(event)
        for found in self.fold.feed(event):
            _check(found)

    def step(self, kind: int, conn: str, said: bytes, at: float) -> Iterator[Event]:
        """What happens."""
        match kind % 5:
            case 0:
                yield from self._request(conn, said, at)
            case 1:
                query = read_query(said, tcp=False)
                if isinstance(query, Query):
                    name = _named(query.name)
                    qtype = type_name(query.qtype)
                    yield DnsQueried(
                        at, f"q{conn}", PEER, "127.0.0.1:53", "udp", name, qtype, "NXDOMAIN", DnsAnswer.REFUSE
                    )
            case 2 | 3:
                found = FirstBytesReader().feed(said)
                if found is not None and found.protocol != "other":
                    name = found.name and _named(found.name)
                    yield FirstBytesSeen(at, "c0", found.protocol, name, found.address, found.encrypted)
            case _:
                text = said.decode("utf-8", "surrogateescape")
                name = PROGRAMS[len(said) % len(PROGRAMS)]
                process = Process(7, name, f"/usr/bin/{name}", arguments=(text, f"https://{WORD}.test/"), script=None)
                yield ProcessIdentified(at, "c0", process)

    def _request(self, conn: str, said: bytes, at: float) -> Iterator[Event]:
        codec = SocksServer()
        try:
            request = codec.receive_data(said)
            if request is None:
                return
        except ProtocolError as error:
            yield HandshakeFailed(at, conn, PEER, "127.0.0.1:9250", error.error, error.reply, error.protocol)
            return
        request = _marked(request)
        verdict = self.judge.judge(request, PEER, at, "127.0.0.1:9250")
        if verdict.finding:
            yield ProcessSought(at, conn)
        yield RequestDecided(at, conn, PEER, "127.0.0.1:9250", request, verdict, codec.offers())
        answer = Answer(0, f"{WORD}.test", 0)
        self.judge.answered(request, PEER, answer, at)
        yield UpstreamAnswered(at, conn, PEER, request, answer)


def _marked(request: Request) -> Request:
    return replace(request, host=_named(request.host)) if isinstance(request.host, str) else request


def _named(name: str) -> str:
    """The word as its first label, where it is a name."""
    marked = f"{WORD}.{name}"
    return marked if name.isascii() and is_valid_hostname(marked.encode("ascii")) and not name[-1:].isdigit() else name


def _check(event: Event) -> None:
    for view in VIEWS:
        level, name, keys = fields(event, view)
        for form in (JsonLine(), TextLine(view.catalogue, color=False)):
            line = form(None, "", {"at": event.at, "level": level, "event": name, "keys": keys}).decode("utf-8")
            assert line.endswith("\n")
            assert line[:-1].isprintable()
            assert WORD not in line.lower()
            if isinstance(form, JsonLine):
                assert json.loads(line)["event"] == name
    assert not isinstance(event, LeakFound) or event.advice
