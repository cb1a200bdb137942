"""One conversation with tor or with the shim, and what came of it in words that compare.

Knows no expectation; it only watches.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from select import select
from typing import Literal

from rig.cases import Case, Fresh, Steps
from rig.shim import Shim
from rig.tor import Tor
from rig.upstream import Upstream
from rig.wire import Client

Way = Literal["steps", "halves", "whole"]
WAYS: tuple[Way, ...] = ("steps", "halves", "whole")
PATIENCE_S = 5.0


@dataclass(frozen=True)
class Outcome:
    """What came of one input: what was accepted (HOST:PORT), what came back, and whether it was called unsafe."""

    target: str | None
    reply: bytes
    unsafe: bool


def ask_tor(tor: Tor, case: Case, way: Way) -> Outcome:
    fresh, mark = Fresh.new(), tor.mark()
    with Client(tor.socks) as client:
        host, port = client.sock.getsockname()
        source = f"{host}:{port}"
        reply, told = converse(client, case.steps(fresh), way, lambda: tor.told(mark, source).target)
        unsafe = tor.told(mark, source).unsafe is not None
    return Outcome(hidden(told, fresh), reply, unsafe)


def ask_shim(shim: Shim, silent: Upstream, case: Case, way: Way) -> Outcome:
    fresh, mark, asked = Fresh.new(), shim.mark(), len(silent.seen)
    with Client(shim.socks) as client:
        reply, told = converse(client, case.steps(fresh), way, lambda: target_of(silent, asked))
        client.reset()
    conn = shim.closed(mark)["conn"]
    decided = shim.find("request_decided", mark, conn=conn)
    unsafe = bool(decided) and decided[0]["exposure"] == "address"
    findings = shim.find("leak_found", mark, conn=conn, kind="address_only")
    if unsafe and not findings:
        shim.wait_for("leak_found", mark, conn=conn, kind="address_only")
    assert unsafe or not findings
    return Outcome(hidden(told, fresh), reply, unsafe)


def target_of(silent: Upstream, asked: int) -> str | None:
    """What the shim asked its upstream for, as tor would print it."""
    if len(silent.seen) == asked:
        return None
    seen = silent.seen[-1]
    return f"[{seen.host}]:{seen.port}" if seen.atyp == 4 else f"{seen.host}:{seen.port}"


def hidden(target: str | None, fresh: Fresh) -> str | None:
    """The target with the fresh parts replaced, so that two runs of one case compare."""
    number = str(int.from_bytes(bytes(map(int, fresh.v4.split(".")))))
    names = fresh.name.decode()
    for text, mark in ((names, "NAME"), (names.upper(), "NAME-UP"), (fresh.v4, "V4"), (fresh.v6, "V6"), (number, "N")):
        target = target and target.replace(text, mark)
    return target


def converse(client: Client, steps: Steps, way: Way, accepted: Callable[[], str | None]) -> tuple[bytes, str | None]:
    """Send the steps one way or another; what came back, and what was accepted, once either is settled."""
    listener = Listener(client)
    for number, step in enumerate(steps if way != "whole" else (b"".join(steps),)):
        if number:
            listener.hear(0.5)
        if listener.ended:
            break
        half = len(step) // 2 if way == "halves" else 0
        if half:
            client.send(step[:half])
            while listener.hear(0.02):
                pass  # refused already: what would follow turns its reply into a reset
        if not listener.ended:
            client.send(step[half:])
    deadline = time.monotonic() + PATIENCE_S
    target = None
    while not listener.ended and target is None and time.monotonic() < deadline:
        listener.hear(0.005)
        target = accepted()
    while listener.hear(0.01):
        pass
    return listener.got, target


class Listener:
    """What comes back, without waiting longer than asked."""

    def __init__(self, client: Client) -> None:
        self._sock, self.got, self.ended = client.sock, b"", False

    def hear(self, wait_s: float) -> bool:
        """Take what there is; false if nothing came in time."""
        if self.ended or not select([self._sock], [], [], wait_s)[0]:
            return False
        try:
            piece = self._sock.recv(4096)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # or tor's next reply waits 40 ms
        except ConnectionResetError:
            piece = b""
        self.got += piece
        self.ended = not piece
        return True


def is_subsequence(part: bytes, whole: bytes) -> bool:
    rest = iter(whole)
    return all(byte in rest for byte in part)
