"""Any message gets one event and at most one reply, at once or late, that fits and that another library can read."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from random import Random

import dns.exception
import dns.message

from fuzz import grammar
from fuzz.tape import Tape
from shim.events import DnsQueried, Event
from shim.judge.issued import IssuedPool
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import Answer, Command, DnsMode, Host, Peer, Request
from shim.policy import DnsPolicy, Policy
from shim.protocol.dns import MAX_UDP, PLAIN_UDP, Bad, Drop, Query, read_query
from shim.sensor.limiter import RateLimiter
from shim.sensor.lookups import Done
from shim.sensor.responder import NOTHING, Responder

COVERS = ("shim.protocol.dns", "shim.sensor.responder", "shim.judge.answering", "shim.judge.names")

PEER = Peer("127.0.0.1", 5353)
HOSTS: tuple[Host, ...] = (
    IPv4Address("93.184.216.34"),
    IPv6Address("2001:db8::1"),
    "page.test",
    "no\\name",
    "a..b",
    "x" * 64,
    ".".join(["x" * 50] * 6),
    "",
    "\u00e9",
)
"""What an exit may answer."""


class Sensor:
    """A responder with its judge, and an upstream that says `answer`, at once or late."""

    def __init__(self, mode: DnsMode, answer: Answer | None, late: bool) -> None:
        self.events: list[Event] = []
        self.delivered: list[bytes] = []
        self.waiting: list[Done] = []
        self.answer = answer
        self.late = late
        pool = IssuedPool(IPv4Network("198.18.0.0/24"), start=0, capacity=8) if mode is DnsMode.ISSUE else None
        judge = Judge(Policy(), AnswerMemory(), dns=DnsPolicy(mode, ipv6=late), pool=pool)
        self.responder = Responder(judge, self.events.append, self._resolve, RateLimiter(0))

    def _resolve(self, request: Request, _peer: Peer, _query: str, done: Done) -> None:
        assert request.command in (Command.RESOLVE, Command.RESOLVE_PTR)
        if self.late:
            self.waiting.append(done)
        else:
            done(self.answer)

    def ask(self, wire: bytes, transport: str) -> bytes:
        """The one reply, whenever it came; NOTHING when there is none."""
        reply = self.responder.handle(wire, PEER, "127.0.0.1:53", transport, self.delivered.append)
        while self.waiting:
            self.waiting.pop(0)(self.answer)
        assert [type(event) for event in self.events] == [DnsQueried], self.events
        assert len(self.delivered) == (reply is None)
        return self.delivered[0] if reply is None else reply


def one_input(data: bytes) -> None:
    """Five bytes choose how it is answered; the rest is the message."""
    tape = Tape(data)
    mode, transport = tape.choose(tuple(DnsMode)), tape.choose(("udp", "tcp"))
    rep, host, late = tape.choose((0, 0, 0, 4, 1, 0xF0)), tape.choose(HOSTS), tape.byte()
    wire = tape.rest()
    reply = Sensor(mode, Answer(rep, host, 0) if late < 0xF0 else None, bool(late & 1)).ask(wire, transport)
    check(read_query(wire, tcp=transport == "tcp"), wire, reply, transport)


def generate(rng: Random) -> bytes:
    return rng.randbytes(5) + grammar.dns_query(rng)


def check(read: Query | Bad | Drop, wire: bytes, reply: bytes, transport: str) -> None:
    """The reply to `wire`, which was read so."""
    if isinstance(read, Drop):
        assert reply == NOTHING
        return
    assert reply[:2] == wire[:2]
    assert reply[2] & 0x80, "a reply says that it is one"
    assert reply[2] & 0x79 == wire[2] & 0x79, "opcode and RD come back"
    assert read.name is None or read.name.isascii()
    if isinstance(read, Bad):
        assert reply == read.reply
        dns.message.from_wire(reply) if reply[2] & 0x78 == 0 else None
        return
    assert transport == "tcp" or len(reply) <= max(PLAIN_UDP, min(read.edns_size or 0, MAX_UDP))
    told = dns.message.from_wire(reply)
    (question,) = told.question
    assert (question.rdtype, question.rdclass & 0x7FFF) == (read.qtype, 1)
    assert tuple(label for label in question.name.labels if label) == read.qname
    assert (told.edns >= 0) == (read.edns_size is not None)
