"""Every memory, filled beyond its bound with the longest content there is, holds what `docs/limits.md` says.

The figures of that page are read here: one that is too small fails, and so does one that is far too large. The largest
memories are filled at an eighth of their size.
"""

from __future__ import annotations

import gc
import os
import re
import tracemalloc
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import pytest
from rig.shim import ROOT
from samples import LISTENER

from shim.advice import table
from shim.events import (
    DnsQueried,
    FirstBytesSeen,
    ProcessIdentified,
    ProcessSought,
    RequestDecided,
)
from shim.judge import attributed, beside, correlate, habits, ledger, overheard, probes, reconcile, tally
from shim.judge.attributed import fold
from shim.judge.issued import IssuedPool
from shim.judge.memory import DEFAULT_MAX_ENTRIES, AnswerMemory
from shim.judge.reconcile import Reconciler
from shim.model import (
    Action,
    Command,
    Decision,
    DnsAnswer,
    Exposure,
    Host,
    Peer,
    Process,
    Protocol,
    Request,
    Verdict,
)
from shim.proxy.quota import Limits, Quota
from shim.record.gather import Gatherer
from shim.record.scrub import code
from shim.record.writer import LineWriter
from shim.sensor.askers import Askers, Seen
from shim.sensor.limiter import RateLimiter
from shim.sensor.lookups import Lookups

MIB = 1 << 20
FAMILIES: tuple[Literal[4], Literal[6]] = (4, 6)
AT = 1e9
TIMES, PART = 3, 8
BOUNDS = {
    correlate: "ENTRIES",
    beside: "ENTRIES",
    ledger: "_ENTRIES",
    overheard: "_ENTRIES",
    attributed: "_ENTRIES",
    tally: "_ENTRIES",
    probes: "MACHINES",
    habits: "MAX_CLIENTS",
    reconcile: "DESTINATIONS",
}
IN_PART = ("addresses that Tor gave", "what findings are joined by", "requests that the shim made to Tor")


def long_name(number: int) -> str:
    """As long as a name may be, and no other's."""
    return f"{number:08d}" + f".{'x' * 60}" * 4


def v6(number: int) -> IPv6Address:
    return IPv6Address(0x20010DB8 << 96 | number)


def answers() -> object:
    memory = AnswerMemory(DEFAULT_MAX_ENTRIES // PART)
    for number in range(DEFAULT_MAX_ENTRIES // PART + 100):
        address = v6(number)
        for turn in range(9):
            memory.learn(f"10.0.{number >> 8 & 255}.{number & 255}", address, long_name(number * 9 + turn), AT)
    assert len(memory) == DEFAULT_MAX_ENTRIES // PART
    return memory


def issued() -> object:
    pool = IssuedPool(start=7)
    taken = 0
    for number in range(2 * 65535):
        for family in FAMILIES:
            taken += pool.issue(long_name(number), AT, family) is not None
    assert taken == len(pool) == 2 * 65535, "a full pool refuses"
    return pool


def decided(number: int, host: Host, exposure: Exposure, peer: Peer) -> RequestDecided:
    request = Request(Protocol.SOCKS5, Command.CONNECT, host, 443)
    return RequestDecided(AT, f"c{number}", peer, LISTENER, request, Verdict(exposure, Decision(Action.FORWARD)))


def findings() -> object:
    """Names by SOCKS and by DNS, addresses and what is said behind them, programs, probes, reverse queries."""
    judge = fold(table(), "f")
    for number in range(8192 // PART + 100):
        peer = Peer(str(v6(number)), number)
        name = long_name(number)
        events = [
            decided(3 * number, name, Exposure.NAME, peer),
            decided(3 * number + 1, v6(number), Exposure.ADDRESS, peer),
            DnsQueried(
                *(AT, f"q{number}", peer, LISTENER, "udp", name, "A", "NOERROR", DnsAnswer.ISSUE),
                *((IPv4Address(number),), None, "off"),
            ),
            DnsQueried(
                *(AT, f"r{number}", peer, LISTENER, "udp", "qwertzuiopa", "A", "NXDOMAIN", DnsAnswer.REFUSE),
                *((), None, "off"),
            ),
            DnsQueried(
                *(AT, f"s{number}", peer, LISTENER, "udp", f"{IPv4Address(0x5DB80000 + number).reverse_pointer}"),
                *("PTR", "NXDOMAIN", DnsAnswer.REFUSE, (), None, "off"),
            ),
            ProcessSought(AT, f"w{number}"),
            ProcessSought(AT, f"c{3 * number + 1}"),
            ProcessIdentified(AT, f"c{3 * number + 1}", program(number), None),
            FirstBytesSeen(AT, f"c{3 * number + 1}", "tls", name, None, False),
        ]
        for event in events:
            judge.feed(event)
    return judge


def program(number: int) -> Process:
    return Process(number, "program", f"/usr/bin/{number:0200d}", arguments=(f"{number:0200d}",))


def around() -> object:
    reconciler = Reconciler()
    for number in range(32768 // PART + 100):
        reconciler.opened(f"[{v6(number)}]:443", f"{long_name(number)}:443", AT)
    return reconciler


def clients() -> object:
    limiter, quota = RateLimiter(5000), Quota(Limits())
    for number in range(TIMES * 16384):
        limiter.allows(str(v6(number)), AT)
    for number in range(quota.limits.connections):
        quota.admit(str(v6(number)))
    assert len(limiter) == 1024
    return limiter, quota


class Eyes:
    def look(self, _query: str, peer: Peer, _listener: str, _over: str, then: Callable[[Seen], None]) -> None:
        then((program(peer.port), None))


def askers() -> object:
    kept = Askers(Eyes())
    for number in range(2 * 1024 - 1):
        kept.look("q1", Peer("127.0.0.1", number), LISTENER, "udp", lambda _seen: None)
    assert 1000 < len(kept) <= 1024
    return kept


def lookups() -> object:
    refused: list[object] = []
    waiting: list[object] = []
    asked = Lookups(lambda *all_of_it: waiting.append(all_of_it))
    for number in range(TIMES * 512):
        request = Request(Protocol.SOCKS5, Command.RESOLVE, long_name(number), 0)
        for turn in range(2 * 64):
            asked.ask(request, Peer("127.0.0.1", turn), f"q{turn}", refused.append)
    assert len(waiting) == 512
    return asked, waiting


def log() -> object:
    reader, end = os.pipe()
    writer = LineWriter(end)
    line = b"x" * 199 + b"\n"
    kinds = [f"kind{number}" for number in range(30)]
    for number in range(TIMES * 8 * MIB // 200):
        writer.write(line[:190] + b"%09d\n" % number, kinds[number % 30])
    assert writer.missing
    os.close(reader)
    os.close(end)
    return writer


def texts() -> object:
    gatherer = Gatherer()
    for number in range(TIMES * 1024):
        gatherer.admit(f"program {number:0200d}", "address_only", AT)
        code(f"code_{number:0200d}", False)
    return gatherer


FILLED: dict[str, Callable[[], object]] = {
    "addresses that Tor gave": answers,
    "addresses issued for names": issued,
    "what findings are joined by": findings,
    "requests that the shim made to Tor": around,
    "counts of clients": clients,
    "who asked DNS a moment ago": askers,
    "names that Tor is asked for": lookups,
    "lines that wait for their reader": log,
    "warnings that are gathered, and texts": texts,
}


def stated() -> dict[str, int]:
    """MiB by row of the page's table."""
    page = (ROOT / "docs" / "limits.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| (\d+) MiB \| [^|]+ \|$", page, re.MULTILINE)
    return {what: int(figure) for what, figure in rows}


def test_the_page_has_every_row_that_is_tested() -> None:
    assert FILLED.keys() <= stated().keys()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", FILLED)
def test_it_holds_no_more_than_is_stated(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in [*BOUNDS.items(), (reconcile, "SOCKETS")]:
        monkeypatch.setattr(module, name, getattr(module, name) // PART)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = FILLED[what]()
        gc.collect()
        taken = (tracemalloc.get_traced_memory()[0] - before) / MIB
    finally:
        tracemalloc.stop()
    taken *= PART if what in IN_PART else 1
    print(what, round(taken, 2), "MiB")
    assert held is not None
    assert stated()[what] / 3 <= taken <= stated()[what]
