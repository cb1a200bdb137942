"""What the event loop and the process that looks up programs say to each other: one line of JSON each.

Believes neither side: what is not as it must be is no question and no answer. The one is asked by a process that
strangers talk to, the other reads what strangers call their programs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from shim.events import Fault
from shim.model import Ancestor, Process
from shim.value import value
from shim.witness.clues import Clue, Endpoint, Flow, LocalPeer
from shim.witness.looking import Sighting

MAX_LINE: Final = 64 * 1024
"""Bytes. Of a command line 4 KiB are kept, which JSON may make six times as long."""

MAX_CLUES: Final = 8

AT_ONCE: Final = 16
"""Questions that are sent together, and answers: so few that the kernel takes the questions whole or not at all, and
that the first answer does not wait long for the last."""

_HOST = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[\w.:-]{1,32})?")
_MAX_PORT = 0xFFFF
_MAX_NUMBER = 1 << 62
_TRANSPORTS = ("tcp", "udp")
_PREPARE = b"prepare"
_BETWEEN = b" "
"""Stands in no line before a process: JSON is written without spaces, and codes have none."""

_KEPT = 128
"""Processes whose lines are remembered, on either side: most look-ups find one of a few."""

_TEXT, _MAYBE_TEXT, _NUMBER, _MAYBE_NUMBER = (str,), (str, type(None)), (int,), (int, type(None))
_KINDS = (_NUMBER, _TEXT, _MAYBE_TEXT, _NUMBER, (list,), _MAYBE_TEXT, _MAYBE_NUMBER, (list,), _MAYBE_TEXT, _MAYBE_TEXT)
"""Of a process's fields, in their order."""


@value
class Question:
    """Who is it? The first of the clues that leads to a socket counts. Of no use after `deadline` (monotonic)."""

    number: int
    deadline: float
    clues: tuple[Clue, ...]


@value
class Answer:
    """To the question of that number."""

    number: int
    sighting: Sighting


def ask(number: int, deadline: float, clues: Sequence[Clue]) -> bytes:
    """A question as a line."""
    return orjson.dumps([number, deadline, [_plain(clue) for clue in clues]], option=orjson.OPT_APPEND_NEWLINE)


def ask_to_prepare() -> bytes:
    """The line that asks for getting to know all processes beforehand."""
    return _PREPARE + b"\n"


def question(line: bytes) -> Question | None:
    """What a line asks; None for getting to know all processes beforehand. ValueError for what is neither."""
    if line == _PREPARE:
        return None
    number, deadline, clues = _three(line)
    if type(number) is not int or not 0 <= number < _MAX_NUMBER or type(deadline) is not float:
        raise ValueError
    if type(clues) is not list or not 0 < len(clues) <= MAX_CLUES:
        raise ValueError
    return Question(number, deadline, tuple(map(_clue, clues)))


def tell(answer: Answer) -> bytes:
    """An answer as a line: what differs each time, and behind it the process, which does not."""
    seen = answer.sighting
    head = orjson.dumps([answer.number, seen.reason, seen.uid])
    return head + b"\n" if seen.process is None else head + _BETWEEN + _line_of(seen.process)


def tell_fault(fault: Fault) -> bytes:
    """A fault as a line."""
    return orjson.dumps([fault.at, fault.error, fault.place], option=orjson.OPT_APPEND_NEWLINE)


def answer(line: bytes) -> Answer | Fault:
    """What a line says. ValueError for what says nothing."""
    head, between, body = line.partition(_BETWEEN)
    first, second, third = _three(head)
    if type(first) is float and type(second) is type(third) is str:
        return Fault(first, second, third)
    if type(first) is not int or not isinstance(second, _MAYBE_TEXT) or not isinstance(third, _MAYBE_NUMBER):
        raise ValueError
    return Answer(first, Sighting(_process(body) if between else None, second, third))


def _three(line: bytes) -> list[Any]:
    """The three things that each line holds. orjson's error is a ValueError."""
    said = orjson.loads(line)
    if type(said) is not list or len(said) != 3:
        raise ValueError
    return said


def _plain(clue: Clue) -> list[object]:
    if isinstance(clue, LocalPeer):
        return [clue.pid, clue.uid, clue.at]
    return [clue.transport, *clue.client, *clue.server, clue.query]


def _clue(plain: object) -> Clue:
    if type(plain) is list and len(plain) == 3:
        pid, uid, at = plain
        if type(pid) is type(uid) is int and abs(pid) < _MAX_NUMBER and type(at) is float:
            return LocalPeer(pid, uid, at)
    elif type(plain) is list and len(plain) == 6:
        transport, host, port, our_host, our_port, query = plain
        if transport in _TRANSPORTS and type(query) is bool:
            return Flow(transport, _endpoint(host, port), _endpoint(our_host, our_port), query)
    raise ValueError


def _endpoint(host: object, port: object) -> Endpoint:
    if type(host) is str and _is_host(host) and type(port) is int and 0 <= port <= _MAX_PORT:
        return Endpoint(host, port)
    raise ValueError


@lru_cache(256)
def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


@lru_cache(_KEPT)
def _line_of(process: Process) -> bytes:
    fields = [
        process.pid,
        process.name,
        process.exe,
        process.start,
        process.arguments,
        process.label,
        process.uid,
        [[parent.pid, parent.name] for parent in process.parents],
        process.script,
        process.wrapper,
    ]
    try:
        return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return orjson.dumps(_clean(fields), option=orjson.OPT_APPEND_NEWLINE)


def _clean(said: object) -> object:
    """Paths may hold bytes that are no text, of which Python makes lone surrogates: JSON has none of those."""
    if isinstance(said, str):
        return said.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return list(map(_clean, said)) if isinstance(said, list | tuple) else said


@lru_cache(_KEPT)
def _process(body: bytes) -> Process:
    fields = orjson.loads(body)
    if type(fields) is not list or len(fields) != len(_KINDS) or not all(map(isinstance, fields, _KINDS)):
        raise ValueError
    pid, name, exe, start, arguments, label, uid, parents, script, wrapper = fields
    if not all(isinstance(argument, str) for argument in arguments):
        raise ValueError
    line = tuple(map(_ancestor, parents))
    return Process(pid, name, exe, start, tuple(arguments), label, uid, line, script, wrapper)


def _ancestor(plain: object) -> Ancestor:
    match plain:
        case [int(pid), str(name)]:
            return Ancestor(pid, name)
    raise ValueError
