"""What each step of one DNS query costs inside the process, in µs of its own CPU.

No socket is opened. The best of several repeats is taken, for others can only add to it. dns.py's CPU per query less
the sum of these steps is the kernel, asyncio-dgram and the loop: its row `echo` has nothing but those.
"""

from __future__ import annotations

import os
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the tree this file is in, not what is installed

from dnslib import QTYPE, RR, A, DNSRecord

from shim.advice import table
from shim.events import DnsQueried, Event, LeakFound
from shim.judge.attributed import fold
from shim.judge.correlate import Correlator
from shim.judge.issued import IssuedPool
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.locale import catalogue
from shim.model import DnsMode, Peer
from shim.policy import DnsPolicy, Policy
from shim.protocol import dns
from shim.record.bus import Bus
from shim.record.log import LogSink
from shim.record.writer import LineWriter
from shim.sensor.limiter import RateLimiter
from shim.sensor.responder import Responder

QUERIES = 2000
BATCH = 64
WIRES = [bytes(DNSRecord.question(f"host{number}.bench.test", "A").pack()) for number in range(QUERIES)]
CLIENT = Peer("127.0.0.1", 40000)
WHERE = ("127.0.0.1:5453", "udp")
ISSUED = (IPv4Address("198.18.0.7"),)
Step = Callable[[int], object]


def judge(mode: DnsMode) -> Judge:
    pool = IssuedPool(start=7) if mode is DnsMode.ISSUE else None
    return Judge(Policy(), AnswerMemory(), dns=DnsPolicy(mode), pool=pool)


def responder(mode: DnsMode, publish: Callable[[Event], None]) -> Step:
    answering = Responder(judge(mode), publish, lambda *_: None, RateLimiter(1e9))
    return lambda number: answering.handle(WIRES[number], CLIENT, *WHERE, print)


def told(mode: DnsMode) -> tuple[list[DnsQueried], list[tuple[LeakFound, ...]]]:
    """What all the queries publish, and what follows from it."""
    queried: list[Event] = []
    handle, findings = responder(mode, queried.append), fold(table())
    for number in range(QUERIES):
        handle(number)
    events = [event for event in queried if isinstance(event, DnsQueried)]
    return events, [findings.feed(event) for event in events]


def logged(mode: DnsMode, style: str, level: str) -> Step:
    """Bus and log of all that one query publishes, into /dev/null."""
    events, found = told(mode)
    bus = Bus(lambda _delay, _flush: None, batch=10 * BATCH)
    writer = LineWriter(os.open(os.devnull, os.O_WRONLY))
    log = LogSink(writer, catalogue("en"), format=style, level=level, reveal=False, schedule=lambda _d, _f: None)
    bus.subscribe(log.take)

    def step(number: int) -> None:
        bus.publish(events[number])
        for finding in found[number]:
            bus.publish(finding)
        if not number % BATCH:
            bus.flush()
            log.flush()

    return step


def with_dnslib(number: int) -> bytes:
    """The same by the library alone, for comparison: read, answer, pack."""
    query = DNSRecord.parse(WIRES[number])
    reply = query.reply()
    reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A("198.18.0.7"), ttl=1))
    return bytes(reply.pack())


def steps() -> Iterator[tuple[str, Step]]:
    queries = [query for wire in WIRES if isinstance(query := dns.read_query(wire, tcp=False), dns.Query)]
    issuing, limiter = judge(DnsMode.ISSUE), RateLimiter(1e9)
    events, _ = told(DnsMode.ISSUE)
    yield "dnslib alone: parse, reply, pack", with_dnslib
    yield "a query read", lambda number: dns.read_query(WIRES[number], tcp=False)
    yield "the plan for it", lambda number: issuing.plan(queries[number].name, dns.TYPE_A, None)
    yield "the limit", lambda _: limiter.allows("127.0.0.1", time.time())
    yield "an address issued", lambda number: issuing.issue(queries[number].name, 4, time.time())
    yield "its reply made", lambda number: dns.answer(queries[number], ISSUED, 1)
    yield "a refusal made", lambda number: dns.refuse(queries[number], dns.Rcode.REFUSED)
    for mode in (DnsMode.REFUSE, DnsMode.ISSUE):
        yield f"all of the sensor, {mode}", responder(mode, lambda _: None)
    yield "correlation", partial(_feed, Correlator().feed, events)
    yield "findings as they are told", partial(_feed, fold(table()).feed, events)
    for style, level in (("text", "info"), ("json", "info"), ("text", "warning"), ("json", "warning")):
        yield f"bus and log, {style}, {level}", logged(DnsMode.ISSUE, style, level)


def _feed(feed: Callable[[Event], object], events: list[DnsQueried], number: int) -> None:
    feed(events[number])


def main() -> None:
    print("| step | µs per query |\n| --- | ---: |")
    for name, step in steps():

        def all_of_them(step: Step = step) -> None:
            for number in range(QUERIES):
                step(number)

        all_of_them()
        best = min(timeit.repeat(all_of_them, timer=time.process_time, number=1, repeat=9)) / QUERIES
        print(f"| {name} | {best * 1e6:.1f} |", flush=True)


if __name__ == "__main__":
    main()
