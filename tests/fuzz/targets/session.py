"""However bytes are cut and whoever goes when: bytes delivered are bytes sent, in order, and each connection ends once.

A refusal is followed by nothing, nobody but the upstream is connected to, and nothing is left: no descriptor, no pipe,
no socket in the poll set, no deadline (see fuzz.table and rig.plane).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from rig.plane import FORWARD
from rig.tunnel import MIB, noise

from fuzz import grammar
from fuzz.model import Setting
from fuzz.table import Table
from fuzz.tape import Tape
from shim.events import ConnectionClosed
from shim.model import Action, Credentials, Decision, Exposure, Mode, Reply, Verdict
from shim.protocol.http_connect import HttpConnectServer
from shim.protocol.socks_server import SocksServer
from shim.proxy.poller import EpollPoller, SelectorPoller

COVERS = (
    "shim.proxy.session",
    "shim.proxy.hearing",
    "shim.proxy.upstream",
    "shim.proxy.relay",
    "shim.proxy.overhear",
    "shim.proxy.poller",
    "shim.proxy.pipes",
    "shim.proxy.wheel",
    "shim.proxy.quota",
)

STEPS = 60
MOST = 2 * MIB
"""Bytes that a side says at most."""

BLOCKED = Verdict(Exposure.ADDRESS, Decision(Action.BLOCK, "address_only", Reply.NOT_ALLOWED))
REPAIRED = Verdict(Exposure.ADDRESS, Decision(Action.REPAIR, "first_bytes", host="www.example.com"))
VERDICTS: tuple[tuple[Verdict, Verdict | None], ...] = (
    (FORWARD, None),
    (Verdict(Exposure.ADDRESS, Decision(Action.FORWARD)), None),
    (REPAIRED, None),
    (BLOCKED, None),
    (Verdict(Exposure.ADDRESS, BLOCKED.decision, hear=Mode.BLOCK), None),
    (Verdict(Exposure.ADDRESS, BLOCKED.decision, hear=Mode.REPAIR), REPAIRED),
)
SIZES = (1, 2, 3, 10, 50, 300, 5_000, 65_535, 65_537, 150_000, 300_000)
SECONDS = (0.25, 1, 2.5, 4)


def one_input(data: bytes) -> None:
    """Ten bytes choose how things stand, then each side's opening words stand behind their length, then come steps."""
    tape = Tape(data)
    poller, family = tape.choose((EpollPoller, EpollPoller, SelectorPoller)), tape.choose(("unix", "unix", "tcp"))
    over_tcp, codec = tape.byte() % 4 == 3, tape.choose((SocksServer, SocksServer, HttpConnectServer))
    verdict, named = tape.choose(VERDICTS)
    switches, looks = tape.byte(), tape.byte()
    isolation = Credentials(b"client", b"1") if switches & 2 else None
    pipelining, upstream, hint = not switches & 4, switches & 0xF0 != 0xF0, bool(switches & 8)
    setting = Setting(codec, verdict, named, isolation, pipelining, upstream, hint)
    client, answer = _stream(tape), _stream(tape)
    with Table(poller, family, over_tcp, setting) as table:
        if looks & 1:
            table.look_up(pending=bool(looks & 2))
        table.seat(client)
        orderly = _play(table, tape, answer)
        model = table.check()
        whole = model.tunnel and bytes(table.client.got).startswith(model.steps) and _tunnelled(table)
        if orderly and whole:
            table.through()
        table.rise()


def generate(rng: Random) -> bytes:
    """A conversation that may well succeed, and any steps."""
    http = rng.random() < 0.3
    codec = 2 if http else 0
    said = grammar.connect_head(rng) if http else grammar.socks_client(rng)
    behind = rng.choice((b"", grammar.client_hello(rng), grammar.http_request(rng)))
    head = bytes((rng.randrange(3), rng.randrange(3), rng.randrange(4), codec, rng.randrange(6), *rng.randbytes(2)))
    answer = rng.choice((b"\x05\x00", b"\x05\x00", b"\x05\x02\x01\x00")) + b"\x05\x00\x00\x01\0\0\0\0\0\0"
    if rng.random() < 0.3:
        answer = grammar.socks_upstream(rng)
    opening = b"".join(len(text).to_bytes(2, "big") + text for text in ((said + behind)[:4000], answer))
    steps = [(rng.choice(LIKELY), rng.randrange(256)) for _ in range(rng.randint(3, 40))]
    if rng.random() < 0.7:
        steps[:0] = AGREED
    return head + opening + bytes(byte for step in steps for byte in step)


def _stream(tape: Tape) -> Callable[[int], bytes]:
    """What a side says: its opening words, then bytes that tell each place from each other."""
    count = tape.byte() << 8 | tape.byte()
    opening = tape.exactly(min(count, 4000))
    whole = opening + noise(MOST - len(opening))
    return lambda said: whole[:said]


def _play(table: Table, tape: Tape, answer: Callable[[int], bytes]) -> bool:
    """Take steps off the tape; False as soon as something was done after which bytes may be lost."""
    orderly = True
    for _ in range(STEPS):
        if tape.over:
            break
        step, size = tape.byte() % len(MOVES), tape.byte()
        move = MOVES[step]
        side = table.upstream if size & 0x80 else table.client
        if move == "say" and side is not None:
            side.say(min(SIZES[(size & 0x7F) % len(SIZES)], MOST - side.said))
        elif move == "take" and side is not None and not side.gone:
            side.take(SIZES[(size & 0x7F) % len(SIZES)])
        elif move == "end" and side is not None:
            side.over = True
        elif move == "leave" and side is not None:
            orderly = False
            side.leave(bool(size & 1))
        elif move == "turn":
            for _ in range(1 + size % 3):
                table.poller.dispatch()
        elif move == "accept":
            table.accept_upstream(answer)
        elif move == "wait":
            orderly = False
            table.clock.advance(SECONDS[size % len(SECONDS)])
        elif move == "found":
            table.found()
        for each in (table.client, table.upstream):
            if each is not None:
                each.push()
        if step < 4:
            table.check()
    return orderly


def _tunnelled(table: Table) -> bool:
    """Whether bytes are passed on already, and nobody has ended that."""
    table.settle()
    table.client.take()
    model = table.check()
    replied = len(table.client.got) > len(model.steps) or not model.instead
    return replied and not table.of(ConnectionClosed) and bytes(table.client.got) != model.steps + model.instead


MOVES = ("say", "take", "turn", "accept", "found", "end", "leave", "wait")
_SAY, _TURN, _ACCEPT = MOVES.index("say"), MOVES.index("turn"), MOVES.index("accept")
AGREED = [(_SAY, 5), (_TURN, 2), (_ACCEPT, 0), *[(_SAY, 0x85 - 3), (_TURN, 2)] * 2]
"""Steps after which a tunnel stands, if words and verdict are such."""
LIKELY = (0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7)
