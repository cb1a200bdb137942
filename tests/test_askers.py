"""shim.sensor.askers: one look for all that a socket asks in a moment, and a new one after it."""

from __future__ import annotations

from collections.abc import Callable

from shim.model import Peer, Process
from shim.sensor.askers import KEEP_S, MAX_ASKERS, Askers, Seen

CURL: Seen = (Process(4242, "curl", "/usr/bin/curl"), None)
NOBODY: Seen = (None, "other_user")
HERE, THERE = Peer("127.0.0.1", 40000), Peer("127.0.0.1", 40001)
WHERE = ("127.0.0.1:53", "udp")


class Eyes:
    """Says what it is told to, and counts how often it was asked."""

    def __init__(self, *seen: Seen | None) -> None:
        self.seen = list(seen)
        self.glances: list[tuple[Peer, str, str]] = []
        self.looks: list[Callable[[Seen], None]] = []

    def glance(self, peer: Peer, listener: str, transport: str) -> Seen | None:
        self.glances.append((peer, listener, transport))
        return self.seen.pop(0) if self.seen else NOBODY

    def look(self, _query: str, _peer: Peer, _listener: str, _transport: str, then: Callable[[Seen], None]) -> None:
        self.looks.append(then)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_glance_for_all_of_a_moment() -> None:
    eyes, clock = Eyes(CURL, NOBODY), Clock()
    askers = Askers(eyes, clock)
    for _ in range(5):
        assert askers.glance(HERE, *WHERE) == CURL
        clock.now += KEEP_S / 5
    assert len(eyes.glances) == 1
    clock.now += KEEP_S
    assert askers.glance(HERE, *WHERE) == NOBODY


def test_what_cannot_be_said_is_kept_as_well() -> None:
    eyes = Eyes(NOBODY, CURL)
    askers = Askers(eyes, Clock())
    assert askers.glance(HERE, *WHERE) == askers.glance(HERE, *WHERE) == NOBODY


def test_sockets_are_kept_apart() -> None:
    eyes = Eyes(CURL, NOBODY, NOBODY, NOBODY)
    askers = Askers(eyes, Clock())
    assert askers.glance(HERE, *WHERE) == CURL
    assert askers.glance(THERE, *WHERE) == NOBODY
    assert askers.glance(HERE, "127.0.0.1:53", "tcp") == NOBODY
    assert askers.glance(HERE, "127.0.0.2:53", "udp") == NOBODY


def test_what_a_search_finds_answers_the_next_query() -> None:
    eyes, told = Eyes(None, None, None), list[Seen]()
    askers = Askers(eyes, Clock())
    for query in ("q1", "q2"):
        assert askers.glance(HERE, *WHERE) is None
        askers.look(query, HERE, *WHERE, told.append)
    assert told == []
    for found in eyes.looks:
        found(CURL)
    assert told == [CURL, CURL], "each is told once"
    assert askers.glance(HERE, *WHERE) == CURL
    assert len(eyes.glances) == 2


def test_memory_is_bounded() -> None:
    askers = Askers(Eyes(), Clock())
    for port in range(MAX_ASKERS * 3):
        askers.glance(Peer("127.0.0.1", port), *WHERE)
        assert len(askers) <= MAX_ASKERS
