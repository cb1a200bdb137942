"""Real programs and real sockets: who sent it, or why that is not known; never somebody else."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from rig import observer
from rig.lookers import look
from rig.senders import TIMEOUT_S, Sender, accepted, listening, receiving

from shim.witness.clues import Clue, Endpoint, Flow, LocalPeer, of_connection, of_datagram
from shim.witness.looking import (
    AMBIGUOUS,
    GONE,
    NOT_PERMITTED,
    OFF,
    OTHER_NAMESPACE,
    SHARED_RESOLVER,
    TIMEOUT,
    Sighting,
    Trace,
)
from shim.witness.witness import Witness

NOBODY = 65534
IPV6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()


@pytest.fixture
def witness() -> Iterator[Witness]:
    try:
        found = Witness()
    except (AttributeError, OSError):
        pytest.skip("needs sock_diag (Linux)")
    with closing(found):
        yield found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is opened in a test is closed at its end."""
    with ExitStack() as opened:
        yield opened


def searched(witness: Witness, trace: Trace) -> Sighting:
    (found,) = look(witness, trace)
    return found.sighting


def seen(witness: Witness, clue: Clue) -> Sighting:
    """At a glance or by a search, as it comes."""
    first = witness.glance(clue)
    return searched(witness, first) if isinstance(first, Trace) else first


def pid_of(sighting: Sighting | Trace) -> int | None:
    return sighting.process.pid if isinstance(sighting, Sighting) and sighting.process else None


def clue_of(sock: socket.socket) -> Clue:
    clue = of_connection(sock)
    assert clue is not None
    return clue


def take(stack: ExitStack, server: socket.socket, count: int) -> list[tuple[Clue, int]]:
    """Accept so many connections: what is known of each, and the pid that its client says it has."""
    taken = []
    for _ in range(count):
        sock, pid = accepted(server)
        taken.append((clue_of(stack.enter_context(sock)), pid))
    return taken


@pytest.mark.parametrize("host", ["127.0.0.1", *(("::1", "::ffff:127.0.0.1") if IPV6 else ())])
def test_a_program_is_searched_for_once_and_then_seen_at_a_glance(
    witness: Witness, stack: ExitStack, host: str
) -> None:
    server = stack.enter_context(listening("::" if ":" in host else host))
    sender = stack.enter_context(Sender("tcp", (host, server.getsockname()[1]), 5))
    (first, pid), *others = take(stack, server, 5)
    assert pid == sender.pid
    trace = witness.glance(first)
    assert isinstance(trace, Trace)
    found = searched(witness, trace)
    assert found.process is not None
    assert (found.process.pid, found.process.script, found.uid) == (pid, "sender.py", os.geteuid())
    assert found.process.arguments[-4] == "tcp"
    assert found.process.parents[0].pid == os.getpid()
    assert [witness.glance(clue) for clue, _ in others] == [found] * 4


@pytest.mark.parametrize("wildcard", [False, True], ids=["server here", "server anywhere"])
@pytest.mark.parametrize("kind", ["udp-connected", "udp-bound", "udp-wildcard"])
@pytest.mark.parametrize("host", ["127.0.0.1", *(("::1",) if IPV6 else ())])
def test_who_waits_for_an_answer_by_udp_is_named(
    witness: Witness, stack: ExitStack, host: str, kind: str, wildcard: bool
) -> None:
    anywhere = "::" if ":" in host else "0.0.0.0"
    server = stack.enter_context(receiving(anywhere if wildcard else host))
    name = server.getsockname()[:2]
    sender = stack.enter_context(Sender(kind, (host, name[1]), 20))
    for _ in range(20):
        _, client = server.recvfrom(64)
        assert pid_of(seen(witness, of_datagram(client[:2], name))) == sender.pid


def test_who_is_behind_a_unix_socket(witness: Witness, stack: ExitStack, tmp_path: Path) -> None:
    server = stack.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(tmp_path / "s"))
    server.listen()
    server.settimeout(TIMEOUT_S)
    sender = stack.enter_context(Sender("unix", (str(tmp_path / "s"), 0), 2))
    (first, pid), (second, _) = take(stack, server, 2)
    assert isinstance(first, LocalPeer)
    trace = witness.glance(first)
    assert isinstance(trace, Trace)
    assert pid_of(searched(witness, trace)) == pid == sender.pid
    assert pid_of(witness.glance(second)) == pid
    sender.end()
    assert witness.glance(first) == Sighting(None, GONE, os.getuid())


def test_a_later_process_of_the_same_number_is_not_the_peer(witness: Witness) -> None:
    booted = LocalPeer(os.getpid(), 5, at=0.0)
    assert witness.glance(booted) == Sighting(None, GONE, 5)
    assert pid_of(seen(witness, LocalPeer(os.getpid(), 5, time.clock_gettime(time.CLOCK_BOOTTIME)))) == os.getpid()


def test_a_peer_without_a_number_is_of_another_namespace(witness: Witness) -> None:
    assert witness.glance(LocalPeer(0, 5, at=0.0)) == Sighting(None, OTHER_NAMESPACE, 5)


def test_several_programs_at_once_are_never_mixed_up(witness: Witness, stack: ExitStack) -> None:
    server = stack.enter_context(listening())
    senders = [stack.enter_context(Sender("tcp", server.getsockname(), 50)) for _ in range(8)]
    taken = take(stack, server, 8 * 50)
    random.Random(3).shuffle(taken)
    assert {pid for _, pid in taken} == {sender.pid for sender in senders}
    assert [pid_of(seen(witness, clue)) for clue, _ in taken] == [pid for _, pid in taken]


def test_one_walk_finds_them_all(witness: Witness, stack: ExitStack) -> None:
    server = stack.enter_context(listening())
    for _ in range(3):
        stack.enter_context(Sender("tcp", server.getsockname(), 3))
    taken = take(stack, server, 9)
    traces = [witness.glance(clue) for clue, _ in (*taken, taken[0])]
    wanted = [trace for trace in traces if isinstance(trace, Trace)]
    assert len(wanted) == 10
    found = [pid_of(end.sighting) for end in look(witness, *wanted)]
    assert found == [pid for _, pid in taken] + [taken[0][1]]


@pytest.mark.parametrize("kind", ["tcp-hasty", "udp-hasty"])
def test_hasty_clients_are_named_rightly_or_not_at_all(witness: Witness, stack: ExitStack, kind: str) -> None:
    opened = listening() if kind == "tcp-hasty" else receiving()
    server = stack.enter_context(opened)
    name = server.getsockname()
    senders = [stack.enter_context(Sender(kind, name, 60)) for _ in range(4)]
    for _ in range(4 * 60):
        if kind == "tcp-hasty":
            ((clue, pid),) = take(stack, server, 1)
        else:
            data, client = server.recvfrom(64)
            clue, pid = of_datagram(client, name), int(data.split()[0])
        sighting = seen(witness, clue)
        assert pid_of(sighting) in (pid, None)
        assert sighting.process or sighting.reason == GONE
    for sender in senders:
        sender.end()


@pytest.mark.parametrize("kind", ["tcp-hasty", "udp-hasty"])
def test_who_has_gone_is_gone(witness: Witness, stack: ExitStack, kind: str) -> None:
    server = stack.enter_context(listening() if kind == "tcp-hasty" else receiving())
    name = server.getsockname()
    stack.enter_context(Sender(kind, name, 40)).end()
    clues = (
        [clue for clue, _ in take(stack, server, 40)]
        if kind == "tcp-hasty"
        else [of_datagram(server.recvfrom(64)[1], name) for _ in range(40)]
    )
    assert {seen(witness, clue) for clue in clues} == {Sighting(None, GONE)}


def test_who_exits_before_the_search_is_gone(witness: Witness, stack: ExitStack) -> None:
    server = stack.enter_context(listening())
    sender = stack.enter_context(Sender("tcp", server.getsockname()))
    ((clue, _),) = take(stack, server, 1)
    trace = witness.glance(clue)
    assert isinstance(trace, Trace)
    sender.end()
    assert searched(witness, trace) == Sighting(None, GONE, os.geteuid())


def test_who_inherited_a_socket_did_not_make_it(witness: Witness, stack: ExitStack) -> None:
    server = stack.enter_context(listening())
    client = stack.enter_context(socket.create_connection(server.getsockname()))
    client.send(b"0 0")
    sleep = subprocess.Popen(["sleep", "60"], pass_fds=(client.fileno(),))
    stack.callback(sleep.wait)
    stack.callback(sleep.kill)
    ((clue, _),) = take(stack, server, 1)
    assert pid_of(seen(witness, clue)) == os.getpid()


def is_sleep(found: Sighting) -> bool:
    return found.process is not None and found.process.arguments == ("sleep", "60")


def test_a_program_that_took_anothers_place_is_named(witness: Witness, stack: ExitStack, tmp_path: Path) -> None:
    """exec keeps pid, start and sockets."""
    script = tmp_path / "becomes.py"
    script.write_text(
        "import os, socket, sys\n"
        "sock = socket.create_connection((sys.argv[2], int(sys.argv[3])))\n"
        "sock.set_inheritable(True)\n"
        "sock.send(b'%d 0' % os.getpid())\n"
        "sys.stdin.readline()\n"
        "os.execvp('sleep', ['sleep', '60'])\n"
    )
    server = stack.enter_context(listening())
    with subprocess.Popen(
        [sys.executable, "-I", "-S", script, "tcp", "127.0.0.1", str(server.getsockname()[1])], stdin=subprocess.PIPE
    ) as child:
        ((clue, pid),) = take(stack, server, 1)
        before = seen(witness, clue)
        assert before == witness.glance(clue)
        assert child.stdin
        child.stdin.write(b"\n")
        child.stdin.flush()
        until = time.monotonic() + TIMEOUT_S
        while not is_sleep(after := seen(witness, clue)) and time.monotonic() < until:
            time.sleep(0.01)  # while it is in exec(2), it has no arguments yet
        child.kill()
    assert pid_of(before) == pid_of(after) == pid
    assert after.process is not None
    assert (after.process.name, after.process.arguments, after.process.script) == ("sleep", ("sleep", "60"), None)


def test_a_helper_is_named_as_the_program_it_helps(witness: Witness, stack: ExitStack, tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(
        "import os, socket, sys\n"
        "if os.fork() == 0:\n"
        "    sock = socket.create_connection((sys.argv[2], int(sys.argv[3])))\n"
        "    sock.send(b'%d 0' % os.getpid())\n"
        "    sock.recv(1)\n"
        "    os._exit(0)\n"
        "sys.stdin.read()\n"
        "os.wait()\n"
    )
    server = stack.enter_context(listening())
    sender = stack.enter_context(Sender("tcp", server.getsockname(), script=script))
    sock, helper = accepted(server)
    with sock:
        assert helper != sender.pid
        assert pid_of(seen(witness, clue_of(sock))) == sender.pid
        assert pid_of(witness.glance(clue_of(sock))) == sender.pid


def test_a_shared_resolver_is_no_culprit(witness: Witness, stack: ExitStack, tmp_path: Path) -> None:
    resolver = tmp_path / "dnsmasq"
    resolver.symlink_to(Path(sys.executable).resolve())
    server = stack.enter_context(receiving())
    name = server.getsockname()
    stack.enter_context(Sender("udp-connected", name, 3, program=str(resolver)))
    clues = [of_datagram(server.recvfrom(64)[1], name) for _ in range(3)]
    hidden = Sighting(None, SHARED_RESOLVER, os.geteuid())
    assert seen(witness, clues[0]) == hidden
    assert [witness.glance(clue) for clue in clues] == [hidden] * 3


def test_a_client_of_another_network_is_of_another_namespace(witness: Witness) -> None:
    flow = Flow("tcp", Endpoint("203.0.113.5", 40000), Endpoint("203.0.113.9", 9250))
    assert witness.glance(flow) == Sighting(None, OTHER_NAMESPACE)
    assert witness.glance(Flow("udp", *(Endpoint("2001:db8::5", 1), Endpoint("::", 53)))).reason == OTHER_NAMESPACE


def look_elsewhere(uid: str, clue: Clue, prefix: Sequence[str] = ()) -> list[object]:
    assert isinstance(clue, Flow)
    words = [uid, *(str(word) for word in (*clue.client, *clue.server))]
    command = [*prefix, sys.executable, observer.__file__, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_another_users_process_without_the_right_to_look(stack: ExitStack) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    server = stack.enter_context(listening())
    sender = stack.enter_context(Sender("tcp", server.getsockname()))
    ((clue, pid),) = take(stack, server, 1)
    assert look_elsewhere("-", clue) == [pid, None, 0]
    assert pid == sender.pid
    assert look_elsewhere(str(NOBODY), clue) == [None, NOT_PERMITTED, 0]


def test_a_process_that_our_namespace_does_not_show(stack: ExitStack) -> None:
    prefix = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs unshare and the right to make process namespaces")
    server = stack.enter_context(listening())
    stack.enter_context(Sender("tcp", server.getsockname()))
    ((clue, _),) = take(stack, server, 1)
    assert look_elsewhere("-", clue, prefix) == [None, OTHER_NAMESPACE, 0]


def test_a_port_that_several_share_names_none_of_them(witness: Witness, stack: ExitStack) -> None:
    server = stack.enter_context(receiving())
    clients: list[socket.socket] = []
    for _ in range(2):
        client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        client.bind(clients[0].getsockname() if clients else ("127.0.0.1", 0))
        clients.append(client)
    assert witness.glance(of_datagram(client.getsockname(), server.getsockname())) == Sighting(None, AMBIGUOUS)


def test_what_the_kernel_will_not_answer_is_off(witness: Witness) -> None:
    here = Endpoint("127.0.0.1", 9)
    assert witness.glance(Flow("tcp", Endpoint("host.example", 9), here)) == Sighting(None, OFF)


def test_a_search_ends_in_time(witness: Witness, stack: ExitStack) -> None:
    server = stack.enter_context(listening())
    stack.enter_context(Sender("tcp", server.getsockname()))
    ((clue, _),) = take(stack, server, 1)
    trace = witness.glance(clue)
    assert isinstance(trace, Trace)
    (found,) = witness.search([trace], time.monotonic() - 1)
    assert found is not None
    assert found.sighting.reason == TIMEOUT


def test_what_one_witness_found_another_sees_at_a_glance(witness: Witness, stack: ExitStack) -> None:
    other = stack.enter_context(closing(Witness()))
    server = stack.enter_context(listening())
    stack.enter_context(Sender("tcp", server.getsockname(), 2))
    (first, _), (second, pid) = take(stack, server, 2)
    trace = other.glance(first)
    assert isinstance(trace, Trace)
    (found,) = look(other, trace)
    assert isinstance(witness.glance(second), Trace)
    assert found.holding is not None
    witness.remember(found.holding)
    assert pid_of(witness.glance(second)) == pid


THREAD = """
import socket, sys, threading
def work():
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
        sock.recv(1)
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_a_thread_has_a_number_of_its_own_and_is_named_as_its_process(witness: Witness, stack: ExitStack) -> None:
    """The latest number given out is that of a thread: whoever looks there first finds the sockets of its process."""
    server = stack.enter_context(listening())
    client = stack.enter_context(subprocess.Popen([sys.executable, "-c", THREAD, str(server.getsockname()[1])]))
    socks = [stack.enter_context(server.accept()[0]) for _ in range(3)]
    pids = {pid_of(seen(witness, clue_of(sock))) for sock in socks}
    stack.close()
    assert pids == {client.pid}
