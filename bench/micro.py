"""What each step of one connection costs inside the process, in µs of its own CPU: the source of the design's budget.

No socket is opened and no server started; the best of several repeats is taken, for others can only add to it. The
kernel's part is not here: run.py's CPU per connection less the sum of these steps is the kernel and the dispatch.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the tree this file is in, not what is installed

from shim.advice import table
from shim.events import ConnectionClosed, Event, ProcessIdentified, ProcessSought, RequestDecided
from shim.judge.attributed import fold
from shim.judge.correlate import Correlator
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.locale import catalogue
from shim.model import Answer, Command, Host, Peer, Process, Protocol, Request
from shim.policy import Policy
from shim.protocol import ServerCodec
from shim.protocol.http_connect import HttpConnectServer
from shim.protocol.socks_client import SocksClient
from shim.protocol.socks_server import SocksServer
from shim.proxy.wheel import TimerWheel
from shim.record.bus import Bus
from shim.record.log import LogSink
from shim.record.writer import LineWriter

NAME = "bench.test"
LITERAL = IPv4Address("198.18.0.7")
PEER = Peer("127.0.0.1", 40000)
GRANTED = Answer(0, IPv4Address(0), 0)
SOCKS5 = (b"\x05\x01\x00", b"\x05\x01\x00\x03\x0abench.test\x01\xbb")
SOCKS4A = (b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00bench.test\x00",)
HTTP = (b"CONNECT bench.test:443 HTTP/1.1\r\nHost: bench.test:443\r\n\r\n",)
BATCH = 64  # events in one delivery of the bus: about what 16 clients at a time give in 20 ms

Step = Callable[[], object]


def handshake(codec: Callable[[], ServerCodec], messages: tuple[bytes, ...]) -> Step:
    """The client's side of one connection, its reply included."""

    def step() -> None:
        server = codec()
        for message in messages:
            server.receive_data(message)
            server.data_to_send()
        server.reply(GRANTED)
        server.trailing_data()

    return step


def request_for(host: Host) -> Request:
    return Request(Protocol.SOCKS5, Command.CONNECT, host, 443)


def upstream() -> None:
    """The upstream's side: greeting and request in one write, both answers in one read."""
    client = SocksClient(request_for(NAME), None)
    client.data_to_send()
    client.receive_data(b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    client.trailing_data()


def judged(host: Host) -> Step:
    judge, request = Judge(Policy(), AnswerMemory()), request_for(host)
    return lambda: judge.judge(request, PEER, 0.0)


def timer() -> Step:
    wheel = TimerWheel(lambda _delay, _turn: None)

    class Item:
        def expire(self) -> None:
            """Never comes: each is cancelled."""

    item = Item()
    return lambda: wheel.add(item, 10.0).discard(item)


def made(host: Host) -> Callable[[], tuple[Event, ...]]:
    """Makes what one connection publishes, as the data plane makes it."""
    request = request_for(host)
    verdict = Judge(Policy(), AnswerMemory()).judge(request, PEER, 0.0)

    def step() -> tuple[Event, ...]:
        now = time.time()
        return (
            RequestDecided(now, "c1", PEER, "127.0.0.1:9250", request, verdict),
            ConnectionClosed(now, "c1", 64, 74, 0.001, "closed"),
        )

    return step


def found() -> Step:
    """A finding whose program is looked up: joined, named, advised, counted."""
    folded, request = fold(table()), request_for(LITERAL)
    verdict = Judge(Policy(), AnswerMemory()).judge(request, PEER, 0.0)
    decided = RequestDecided(0.0, "c1", PEER, "127.0.0.1:9250", request, verdict)
    sought, identified = ProcessSought(0.0, "c1"), ProcessIdentified(0.0, "c1", Process(7, "curl", "/usr/bin/curl"))

    def step() -> None:
        for event in (sought, decided, identified):
            folded.feed(event)

    return step


def recorded(host: Host, style: str | None, level: str = "info") -> Step:
    """The events of BATCH connections through bus and correlator, and the log into /dev/null if `style` names one."""
    bus = Bus(lambda _delay, _flush: None, batch=10 * BATCH)
    bus.subscribe(Correlator().feed)
    if style:
        writer = LineWriter(os.open(os.devnull, os.O_WRONLY))
        log = LogSink(writer, catalogue("en"), format=style, level=level, reveal=False, schedule=lambda _d, _f: None)
        bus.subscribe(log.take)
    events = made(host)()

    def step() -> None:
        for _ in range(BATCH):
            for event in events:
                bus.publish(event)
        bus.flush()
        if style:
            log.flush()

    return step


def steps() -> Iterator[tuple[str, Step, int]]:
    """Each step with how many connections one call of it serves."""
    yield "SOCKS5 handshake, server side", handshake(SocksServer, SOCKS5), 1
    yield "SOCKS4a handshake, server side", handshake(SocksServer, SOCKS4A), 1
    yield "HTTP CONNECT, server side", handshake(HttpConnectServer, HTTP), 1
    yield "SOCKS5 handshake, upstream side", upstream, 1
    yield "classify and decide, a name", judged(NAME), 1
    yield "classify and decide, an address", judged(LITERAL), 1
    yield "classify and decide, an address as text", judged(str(LITERAL)), 1
    yield "one deadline, set and cancelled", timer(), 1
    yield "two events made", made(NAME), 1
    yield "a finding of a program that is looked up", found(), 1
    yield "two events through bus and correlator, no log", recorded(NAME, None), BATCH
    yield "the same with their two lines as JSON", recorded(NAME, "json"), BATCH
    yield "the same with their two lines as text", recorded(NAME, "text"), BATCH
    yield "the same as JSON at level warning (no line)", recorded(NAME, "json", "warning"), BATCH
    yield "an address: three events, three lines as JSON", recorded(LITERAL, "json"), BATCH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each repeat")
    chosen = parser.parse_args()
    print("| step | µs per connection |\n| --- | ---: |")
    for name, step, serves in steps():
        watch = timeit.Timer(step, timer=time.process_time)
        step()
        once = max(watch.timeit(5) / 5, 1e-7)
        number = max(1, int(chosen.seconds / once))
        best = min(watch.repeat(chosen.repeats, number)) / number / serves
        print(f"| {name} | {best * 1e6:.2f} |", flush=True)


if __name__ == "__main__":
    main()
