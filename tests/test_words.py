"""What loop and witness say to each other: all that is said arrives, and what is nonsense is a ValueError."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.desks import desk
from rig.lookers import CURL, NAMED, TIMEOUT_S, Scripted, clue

from shim.events import Fault
from shim.model import Ancestor, Process
from shim.witness import words
from shim.witness.clues import Endpoint, Flow, LocalPeer
from shim.witness.looking import GONE, Sighting
from shim.witness.words import AT_ONCE, MAX_CLUES, MAX_LINE, Answer, Question

WHOLE = Process(
    4242,
    "pip",
    "/usr/bin/python3.11",
    77,
    ("python3", "/usr/bin/pip", "install", "日本"),
    "flatpak:org.example.App",
    1000,
    (Ancestor(4000, "bash"), Ancestor(1, "init")),
    "pip",
    "torsocks",
)
CLUES = (
    clue(40000),
    Flow("udp", Endpoint("fe80::1%eth0", 5), Endpoint("::", 53), query=True),
    LocalPeer(4242, 1000, 12.5),
    LocalPeer(0, 0, 0.0),
)


def test_a_question_arrives_as_it_was_asked() -> None:
    line = words.ask(7, 12.5, CLUES)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert words.question(line[:-1]) == Question(7, 12.5, CLUES)
    assert words.question(words.ask_to_prepare()[:-1]) is None


@pytest.mark.parametrize("seen", [NAMED, Sighting(WHOLE, None, 0), Sighting(None, GONE), Sighting(None, GONE, 5)])
def test_an_answer_arrives_as_it_was_given(seen: Sighting) -> None:
    assert words.answer(words.tell(Answer(7, seen))[:-1]) == Answer(7, seen)


def test_a_fault_arrives_too() -> None:
    fault = Fault(1.5, "KeyError", "shim.witness.witness:7")
    assert words.answer(words.tell_fault(fault)[:-1]) == fault


def test_bytes_that_are_no_text_are_written_out() -> None:
    """A path may hold any bytes; Python makes lone surrogates of them, which are no JSON."""
    odd = Process(1, "x", "/tmp/\udcff\udcfe日", script="\udc80.py")
    said = words.answer(words.tell(Answer(1, Sighting(odd)))[:-1])
    assert isinstance(said, Answer) and said.sighting.process is not None
    assert (said.sighting.process.exe, said.sighting.process.script) == ("/tmp/\\xff\\xfe日", "\\x80.py")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=30,
)


@given(said=JSON)
def test_nonsense_is_no_question_and_no_answer(said: object) -> None:
    with contextlib.suppress(TypeError):  # an integer that is too long for it
        line = words.orjson.dumps(said)
        for read in (words.question, words.answer):
            with contextlib.suppress(ValueError):
                read(line)


@given(line=st.binary(max_size=200))
def test_nor_are_bytes(line: bytes) -> None:
    for read in (words.question, words.answer):
        with contextlib.suppress(ValueError):
            read(line)


@pytest.mark.parametrize(
    "said",
    [
        *("[1,2.5,[]]", "[-1,2.5,[[1,2,3.5]]]", "[true,2.5,[[1,2,3.5],[]]]", "[1,2.5,[[1,2]]]", "[1,2,[[1,2,3.5]]]"),
        '[1,2.5,[["tcp","host.example",1,"127.0.0.1",2,false]]]',
        '[1,2.5,[["tcp","127.0.0.1",65536,"127.0.0.1",2,false]]]',
        '[1,2.5,[["tcp","127.0.0.1",-1,"127.0.0.1",2,false]]]',
        '[1,2.5,[["tcp","127.0.0.1\\u0000",1,"127.0.0.1",2,false]]]',
        '[1,2.5,[["tcp","fe80::1%../../x",1,"127.0.0.1",2,false]]]',
        '[1,2.5,[["sctp","127.0.0.1",1,"127.0.0.1",2,false]]]',
        f"[1,2.5,[{','.join(['[1,2,3.5]'] * (MAX_CLUES + 1))}]]",
    ],
)
def test_what_is_almost_a_question_is_none(said: str) -> None:
    with pytest.raises(ValueError):
        words.question(said.encode())


def test_a_desk_answers_nothing_to_nonsense_and_goes_on() -> None:
    looker = Scripted()
    looker.known[clue(1)] = NAMED
    with desk(looker) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.sendall(b"\n\xff\n{}\nprepared\n[1,2.5,[[1,2]]]\n" + words.ask(1, time.monotonic() - 1, (clue(1),)))
        sock.sendall(words.ask(2, time.monotonic() + TIMEOUT_S, (clue(1),)))
        assert words.answer(sock.recv(1000).rstrip(b"\n")) == Answer(2, Sighting(CURL, None, 1000))


def test_what_is_asked_together_is_answered_together() -> None:
    looker = Scripted()
    looker.known = {clue(number): NAMED for number in range(1, AT_ONCE + 3)}
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with desk(looker, pair=(ours, theirs)) as sock:
        sock.settimeout(TIMEOUT_S)
        until = time.monotonic() + TIMEOUT_S
        sock.sendall(b"".join(words.ask(number, until, (clue(number),)) for number in range(1, AT_ONCE + 3)))
        said = [sock.recv(MAX_LINE).splitlines() for _ in range(2)]
    assert list(map(len, said)) == [AT_ONCE, 2]
    assert looker.checked == [*range(AT_ONCE), 0, 1], "whom it has looked at since they came, it need not look at again"
    assert [words.answer(line) for lines in said for line in lines] == [
        Answer(number, NAMED) for number in range(1, AT_ONCE + 3)
    ]


def test_a_desk_leaves_who_never_ends_a_line() -> None:
    with desk(Scripted()) as sock:
        sock.settimeout(TIMEOUT_S)
        with contextlib.suppress(OSError):
            for _ in range(1000):
                sock.sendall(b"x" * 10_000)
        assert _ended(sock)


def _ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True
