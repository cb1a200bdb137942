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
    """Sees what it is told to, when it is told to, or at once."""

    def __init__(self, *seen: Seen) -> None:
        self.seen = list(seen)
        self.looks: list[Callable[[Seen], None]] = []

    def look(self, _query: str, _peer: Peer, _listener: str, _transport: str, then: Callable[[Seen], None]) -> None:
        self.looks.append(then)
        if self.seen:
            then(self.seen.pop(0))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(askers: Askers, peer: Peer = HERE, listener: str = WHERE[0], transport: str = WHERE[1]) -> list[Seen]:
    """What is told when somebody looks."""
    told: list[Seen] = []
    askers.look("q1", peer, listener, transport, told.append)
    return told


def test_one_look_for_all_of_a_moment() -> None:
    eyes, clock = Eyes(CURL, NOBODY), Clock()
    askers = Askers(eyes, clock)
    assert askers.glance(HERE, *WHERE) is None
    assert asked(askers) == [CURL]
    for _ in range(5):
        assert askers.glance(HERE, *WHERE) == CURL
        clock.now += KEEP_S / 5
    clock.now += KEEP_S
    assert askers.glance(HERE, *WHERE) is None
    assert asked(askers) == [NOBODY]
    assert askers.glance(HERE, *WHERE) == NOBODY, "what cannot be said is kept as well"


def test_sockets_are_kept_apart() -> None:
    askers = Askers(Eyes(CURL), Clock())
    asked(askers)
    assert askers.glance(HERE, *WHERE) == CURL
    assert askers.glance(THERE, *WHERE) is None
    assert askers.glance(HERE, "127.0.0.1:53", "tcp") is None
    assert askers.glance(HERE, "127.0.0.2:53", "udp") is None


def test_each_who_waits_is_told_once_and_the_next_query_is_answered() -> None:
    eyes, told = Eyes(), list[Seen]()
    askers = Askers(eyes, Clock())
    for query in ("q1", "q2"):
        assert askers.glance(HERE, *WHERE) is None
        askers.look(query, HERE, *WHERE, told.append)
    assert told == []
    for found in eyes.looks:
        found(CURL)
    assert told == [CURL, CURL], "each is told once"
    assert askers.glance(HERE, *WHERE) == CURL


def test_memory_is_bounded() -> None:
    askers = Askers(Eyes(*[CURL] * MAX_ASKERS * 3), Clock())
    for port in range(MAX_ASKERS * 3):
        asked(askers, Peer("127.0.0.1", port))
        assert len(askers) <= MAX_ASKERS
