"""Any line to or from who looks up programs: understood, or ValueError; what is understood says the same again."""

from __future__ import annotations

import json
from random import Random

from fuzz import grammar
from shim.events import Fault
from shim.model import Process
from shim.witness import words
from shim.witness.clues import Flow, LocalPeer
from shim.witness.words import Answer

COVERS = ("shim.witness.words",)

ODD: tuple[object, ...] = (None, True, -1, 0, 1 << 62, 1 << 70, 0.5, 1e300, "", "x", "\ud7ff", [], [[]], {}, [1, "x"])
CLUES = (
    [1, 1000, 1.5],
    ["tcp", "127.0.0.1", 40000, "127.0.0.1", 9250, False],
    ["udp", "fe80::1%eth0", 5353, "::1", 53, True],
)
PROCESS = [7, "curl", "/usr/bin/curl", 99, ["curl", "x y"], "unit:a.service", 1000, [[1, "init"]], None, "torsocks"]


def one_input(data: bytes) -> None:
    line = data.replace(b"\n", b"")
    _question(line)
    _answer(line)


def generate(rng: Random) -> bytes:
    """A line as one side or the other writes it, some with something else in a place or two."""
    clues = [list(rng.choice(CLUES)) for _ in range(rng.choice((1, 1, 2, 8, 9)))]
    said = rng.choice(([7, 1.5, clues], [7, None, 1000], [7, "gone", None], [1.5, "ValueError", "shim.model:12"]))
    head = _written(_spoilt(rng, said))
    if rng.random() < 0.4:
        return head + b" " + _written(_spoilt(rng, list(PROCESS)))
    return b"prepare" if rng.random() < 0.05 else head


def _spoilt(rng: Random, said: list[object]) -> list[object]:
    for place in range(len(said)):
        inner = said[place]
        if rng.random() < 0.15:
            said[place] = rng.choice((*ODD, grammar.name(rng).decode("latin-1")))
        elif isinstance(inner, list) and rng.random() < 0.5:
            said[place] = _spoilt(rng, list(inner))
    return said


def _written(said: object) -> bytes:
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _question(line: bytes) -> None:
    try:
        asked = words.question(line)
    except ValueError:
        return
    if asked is None:
        assert line == b"prepare"
        return
    assert all(isinstance(clue, Flow | LocalPeer) for clue in asked.clues)
    again = words.ask(asked.number, asked.deadline, asked.clues)
    assert again.count(b"\n") == 1
    assert words.question(again.rstrip(b"\n")) == asked


def _answer(line: bytes) -> None:
    try:
        said = words.answer(line)
    except ValueError:
        return
    again = words.tell(said) if isinstance(said, Answer) else words.tell_fault(said)
    assert again.count(b"\n") == 1
    assert words.answer(again.rstrip(b"\n")) == said
    assert isinstance(said, Fault) or said.sighting.process is None or isinstance(said.sighting.process, Process)
