"""shim.sensor.lookups: one question for many askers of one client, and a bound on all of it."""

from __future__ import annotations

from ipaddress import IPv4Address

from shim.model import Answer, Command, Peer, Protocol, Request
from shim.sensor.lookups import MAX_ASKERS, MAX_LOOKUPS, Done, Lookups

HERE, THERE = Peer("127.0.0.1", 1), Peer("127.0.0.2", 1)
FOUND = Answer(0, IPv4Address("93.184.216.34"), 0)


class Upstream:
    """Takes questions and answers when told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, Done]] = []

    def __call__(self, request: Request, peer: Peer, query: str, done: Done) -> None:
        self.asked.append((str(request.host), peer.host, query, done))

    def answer(self, number: int, answer: Answer | None = FOUND) -> None:
        self.asked[number][3](answer)


def resolve(name: str) -> Request:
    return Request(Protocol.SOCKS5, Command.RESOLVE, name, 0)


def test_one_question_answers_all_who_ask_it_meanwhile() -> None:
    upstream, told = Upstream(), list[Answer | None]()
    lookups = Lookups(upstream)
    for number in range(3):
        lookups.ask(resolve("a.test"), Peer("127.0.0.1", number), f"q{number}", told.append)
    assert [(host, query) for host, _, query, _ in upstream.asked] == [("a.test", "q0")]
    upstream.answer(0)
    assert told == [FOUND] * 3


def test_after_the_answer_it_is_asked_again() -> None:
    upstream, told = Upstream(), list[Answer | None]()
    lookups = Lookups(upstream)
    for number in range(2):
        lookups.ask(resolve("a.test"), HERE, "q", told.append)
        upstream.answer(number)
    assert len(upstream.asked) == len(told) == 2


def test_clients_names_and_commands_are_kept_apart() -> None:
    upstream, told = Upstream(), list[Answer | None]()
    lookups = Lookups(upstream)
    lookups.ask(resolve("a.test"), HERE, "q1", told.append)
    lookups.ask(resolve("a.test"), THERE, "q2", told.append)
    lookups.ask(resolve("b.test"), HERE, "q3", told.append)
    lookups.ask(Request(Protocol.SOCKS5, Command.RESOLVE_PTR, "a.test", 0), HERE, "q4", told.append)
    assert len(upstream.asked) == 4
    upstream.answer(2, None)
    assert told == [None]


def test_so_many_questions_at_once_and_the_next_gets_none() -> None:
    upstream, told = Upstream(), list[Answer | None]()
    lookups = Lookups(upstream)
    for number in range(MAX_LOOKUPS):
        lookups.ask(resolve(f"{number}.test"), HERE, "q", told.append)
    assert told == []
    lookups.ask(resolve("more.test"), HERE, "q", told.append)
    assert (told, len(upstream.asked)) == ([None], MAX_LOOKUPS)
    upstream.answer(0)
    lookups.ask(resolve("more.test"), HERE, "q", told.append)
    assert len(upstream.asked) == MAX_LOOKUPS + 1


def test_so_many_askers_of_one_question_and_the_next_gets_none() -> None:
    upstream, told = Upstream(), list[Answer | None]()
    lookups = Lookups(upstream)
    for _ in range(MAX_ASKERS + 1):
        lookups.ask(resolve("a.test"), HERE, "q", told.append)
    assert told == [None]
    upstream.answer(0)
    assert told == [None, *[FOUND] * MAX_ASKERS]


def test_an_answer_at_once_leaves_nothing_behind() -> None:
    told = list[Answer | None]()
    lookups = Lookups(lambda _request, _peer, _query, done: done(None))
    for _ in range(MAX_LOOKUPS * 2):
        lookups.ask(resolve("a.test"), HERE, "q", told.append)
    assert told == [None] * MAX_LOOKUPS * 2


def test_a_second_answer_is_nobodys() -> None:
    upstream, told = Upstream(), list[Answer | None]()
    Lookups(upstream).ask(resolve("a.test"), HERE, "q", told.append)
    upstream.answer(0)
    upstream.answer(0, None)
    assert told == [FOUND]
