"""Looking up by psutil, on whatever system the tests run: real programs, and the same reasons as anywhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from rig.lookers import look
from rig.senders import TIMEOUT_S, Sender, accepted, listening, receiving

from shim.model import Process
from shim.witness.clues import Clue, LocalPeer, of_connection, of_datagram
from shim.witness.elsewhere import Elsewhere
from shim.witness.looking import AMBIGUOUS, GONE, NOT_PERMITTED, TIMEOUT, Sighting, Trace

pytest.importorskip("psutil", reason="needs psutil (the extra `attribution`)")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def seen(*clues: Clue | None, seconds: float = TIMEOUT_S) -> list[Sighting]:
    looker = Elsewhere()
    glances = [looker.glance(clue) for clue in clues if clue is not None]
    traces = [trace for trace in glances if isinstance(trace, Trace)]
    assert traces == glances
    found = look(looker, *traces, seconds=seconds)
    looker.close()
    return [end.sighting for end in found]


def pids(sightings: list[Sighting]) -> list[int | None]:
    return [sighting.process and sighting.process.pid for sighting in sightings]


@pytest.mark.parametrize("host", ["127.0.0.1", *(("::1", "::ffff:127.0.0.1") if socket.has_ipv6 else ())])
def test_who_connects(stack: ExitStack, host: str) -> None:
    try:
        server = stack.enter_context(listening("::" if ":" in host else host))
    except OSError:
        pytest.skip("needs IPv6")
    senders = [stack.enter_context(Sender("tcp", (host, server.getsockname()[1]))) for _ in range(2)]
    taken = [accepted(server) for _ in senders]
    found = seen(*(of_connection(stack.enter_context(sock)) for sock, _ in taken))
    assert pids(found) == [pid for _, pid in taken]
    process = found[0].process
    assert isinstance(process, Process)
    assert (process.script, process.uid, process.parents[0].pid) == ("sender.py", os.getuid(), os.getpid())
    assert process.exe == str(Path(sys.executable).resolve())
    assert process.start > 0


@pytest.mark.parametrize("kind", ["udp-connected", "udp-bound", "udp-wildcard"])
def test_who_sends_a_datagram(stack: ExitStack, kind: str) -> None:
    server = stack.enter_context(receiving())
    sender = stack.enter_context(Sender(kind, server.getsockname(), 3))
    clues = [of_datagram(server.recvfrom(64)[1], server.getsockname()) for _ in range(3)]
    assert pids(seen(*clues)) == [sender.pid] * 3


@pytest.mark.parametrize("kind", ["tcp-hasty", "udp-hasty"])
def test_who_has_gone_is_not_found(stack: ExitStack, kind: str) -> None:
    server = stack.enter_context(listening() if kind == "tcp-hasty" else receiving())
    stack.enter_context(Sender(kind, server.getsockname())).end()
    if kind == "tcp-hasty":
        clue = of_connection(stack.enter_context(accepted(server)[0]))
    else:
        clue = of_datagram(server.recvfrom(64)[1], server.getsockname())
    (found,) = seen(clue)
    assert found.process is None
    assert found.reason in (GONE, NOT_PERMITTED)  # where processes hide, it may have been one of them


def test_two_that_hold_one_socket_are_not_told_apart(stack: ExitStack) -> None:
    server = stack.enter_context(listening())
    client = stack.enter_context(socket.create_connection(server.getsockname()))
    accepted, _ = server.accept()
    clue = of_connection(stack.enter_context(accepted))
    assert pids(seen(clue)) == [os.getpid()]
    heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(client.fileno(),))
    with heir:
        assert seen(clue) == [Sighting(None, AMBIGUOUS)]


def test_the_process_behind_a_unix_socket_is_known_by_its_number() -> None:
    assert pids(seen(LocalPeer(os.getpid(), os.getuid(), 0.0))) == [os.getpid()]


def test_a_search_ends_in_time() -> None:
    assert seen(LocalPeer(os.getpid(), 0, 0.0), seconds=-1) == [Sighting(None, TIMEOUT)]


def test_there_is_nothing_to_prepare() -> None:
    assert Elsewhere().prepare(lambda: True)
