"""Listening sockets: who may come in, what happens when descriptors run out, and which files a unix socket touches."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.plane import HandTurned
from rig.wire import GREETING, NO_AUTH

from shim.address import Address
from shim.errors import ListenError
from shim.events import ConnectionClosed, ConnectionRefused, HandshakeFailed, ListenerPaused
from shim.model import Peer, Process, Sought
from shim.protocol.socks_server import SocksServer
from shim.proxy import listener
from shim.proxy.listener import ACCEPTS, Listener, bind, bound_address, close_listener
from shim.proxy.poller import EpollPoller, Poller, SelectorPoller
from shim.proxy.quota import Limits

HOG, OTHER = Process(7, "hog", None, start=100), Process(8, "other", None, start=100)
ANY_PORT = Address("127.0.0.1", 0)


class Listening(HandTurned):
    """A plane with one listener."""

    def listen(self, address: Address = ANY_PORT, limits: Limits | None = None) -> None:
        self.plane.quota.limits = limits or Limits()
        self.sock = self.closing(bind(address))
        self.listener = Listener(self.plane, self.sock, SocksServer)
        self.listener.start()
        self._closing.callback(self.end)

    def end(self) -> None:
        """Stop listening, and end all that came in."""
        if self.sock.fileno() >= 0:
            self.listener.close()
        for owner in self.poller.owners():
            owner.abort("shutdown")

    def connect(self) -> socket.socket:
        """A client that is not served yet."""
        address = bound_address(self.sock)
        client = self.closing(socket.socket(socket.AF_UNIX if address.is_unix else socket.AF_INET))
        client.settimeout(10)
        client.connect(address.path if address.is_unix else (address.host, address.port))
        return client

    def greets(self, client: socket.socket) -> bool:
        """Whether the client is served."""
        client.send(GREETING)
        self.settle()
        return client.recv(10) == NO_AUTH


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def plane(request: pytest.FixtureRequest) -> Iterator[Listening]:
    poller: type[Poller] = request.param
    with Listening(poller) as plane:
        yield plane


# --- taking connections -----------------------------------------------------------------------------------------------


def test_everyone_who_came_is_taken(plane: Listening) -> None:
    plane.listen()
    clients = [plane.connect() for _ in range(ACCEPTS + 10)]
    plane.settle()
    assert plane.plane.quota.open == len(clients)
    assert all(plane.greets(client) for client in clients[:: ACCEPTS // 2])


def test_nothing_is_accepted_before_the_start_and_nothing_after_the_end(plane: Listening) -> None:
    plane.listen()
    early = plane.connect()
    assert plane.greets(early)
    address = bound_address(plane.sock)
    plane.listener.close()
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect((address.host, address.port))
    early.send(b"\5")  # those who are in stay
    plane.settle()
    assert plane.plane.quota.open == 1


def test_who_it_is(plane: Listening, tmp_path: Path) -> None:
    plane.listen()
    client = plane.connect()
    plane.settle()
    client.close()
    plane.settle()
    plane.listener.close()
    plane.listen(Address(path=str(tmp_path / "s")), Limits(connections=1, handshakes=1))
    plane.connect()
    plane.connect()
    plane.settle()
    (refused,) = plane.of(ConnectionRefused)
    assert refused.peer == Peer("unix", 0, os.getuid())
    assert refused.peer.key == f"uid:{os.getuid()}"


def test_a_client_that_has_gone_again_is_taken_and_ended(plane: Listening) -> None:
    plane.listen()
    plane.connect().close()
    plane.settle()
    assert [event.reason for event in plane.of(ConnectionClosed)] == ["client_closed"]


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(connections=2), "connections"),
        (Limits(connections_per_client=2), "connections_per_client"),
        (Limits(handshakes=2), "handshakes"),
    ],
)
def test_beyond_a_limit_a_connection_is_refused_and_ended_once(plane: Listening, limits: Limits, name: str) -> None:
    plane.listen(limits=limits)
    first, second, third = plane.connect(), plane.connect(), plane.connect()
    plane.settle()
    assert third.recv(1) == b""
    (refused,) = plane.of(ConnectionRefused)
    (closed,) = plane.of(ConnectionClosed)
    assert refused.limit == name
    assert refused.peer == Peer(*third.getsockname())
    assert (closed.conn, closed.reason, closed.sent, closed.received) == (refused.conn, "limit", 0, 0)
    assert plane.greets(first) and plane.greets(second)
    first.close()
    plane.settle()
    fourth = plane.connect()
    assert plane.greets(fourth), "the place that became free is not given away"


Then = Callable[[Process | None, Sought], None]


class Whose:
    """Whose each connection is, as a test says: known at once, or when it `arrive`s."""

    def __init__(self, plane: Listening, at_once: bool) -> None:
        self.who: Process | None = HOG
        self.looked_at: list[str] = []
        self._plane = plane
        self._at_once = at_once
        self._waiting: list[tuple[Then, Process | None]] = []

    def __call__(self, conn: str, _sock: object, then: Then) -> None:
        self.looked_at.append(conn)
        if self._at_once:
            then(self.who, Sought.ENDED)
        else:
            self._waiting.append((then, self.who))

    def arrive(self) -> list[str]:
        """Let the look-ups end; the limits of all who have been refused so far."""
        self._plane.settle()
        for then, process in self._waiting:
            then(process, Sought.ENDED)
        self._waiting.clear()
        self._plane.settle()
        return [event.limit for event in self._plane.of(ConnectionRefused)]


@pytest.mark.parametrize("at_once", [True, False])
def test_beyond_half_one_program_gets_its_share_and_others_theirs(at_once: bool, plane: Listening) -> None:
    """Those below half are not looked at, and all who cannot be told have one share together."""
    plane.listen(limits=Limits(connections_per_client=8, connections_per_process=2))
    plane.plane.whose = whose = Whose(plane, at_once)
    clients = [plane.connect() for _ in range(7)]
    assert whose.arrive() == ["connections_per_process"]
    assert whose.looked_at == ["c5", "c6", "c7"]
    assert clients[6].recv(1) == b""
    whose.who = OTHER
    other = plane.connect()
    assert whose.arrive() == ["connections_per_process"]
    assert plane.greets(other)
    clients[4].close()
    plane.settle()
    whose.who = HOG
    again = plane.connect()
    assert whose.arrive() == ["connections_per_process"], "the place that became free"
    assert plane.greets(again)
    whose.who = None
    for client in clients[:3]:
        client.close()
    plane.settle()
    unknown = [plane.connect() for _ in range(3)]
    assert whose.arrive() == ["connections_per_process"] * 2
    assert [plane.greets(client) for client in unknown[:2]] == [True, True]
    for event in plane.of(ConnectionRefused):
        assert [end.reason for end in plane.of(ConnectionClosed) if end.conn == event.conn] == ["limit"]


def test_who_leaves_before_its_program_is_known_is_not_counted(plane: Listening) -> None:
    plane.listen(limits=Limits(connections_per_client=2, connections_per_process=1))
    waiting: list[Then] = []
    plane.plane.whose = lambda _conn, _sock, then: waiting.append(then)
    first, second = plane.connect(), plane.connect()
    plane.settle()
    second.close()
    plane.settle()
    for then in waiting:
        then(HOG, Sought.ENDED)
    assert not plane.plane.quota._programs
    assert plane.greets(first)


@pytest.mark.parametrize(
    "limits", [Limits(connections=2), Limits(connections_per_client=2), Limits(handshakes=2)], ids=["all", "one", "new"]
)
def test_who_has_taken_long_makes_way_for_who_comes(
    plane: Listening, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.listen(limits=limits)
    first, second = plane.connect(), plane.connect()
    assert plane.greets(first)
    monkeypatch.setattr(listener, "HURRY_S", 0.0)
    third = plane.connect()
    assert plane.greets(third)
    assert first.recv(1) == second.recv(1) == b""
    assert [event.error for event in plane.of(HandshakeFailed)] == ["timeout"] * 2
    assert [event.reason for event in plane.of(ConnectionClosed)] == ["timeout"] * 2
    assert not plane.of(ConnectionRefused)
    fourth, fifth = plane.connect(), plane.connect()
    plane.settle()
    assert [event.limit for event in plane.of(ConnectionRefused)], "they are not looked for at every connection"
    fourth.close()
    fifth.close()


def test_a_full_poll_set_ends_who_comes_and_rests_the_listener(
    plane: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.listen()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "")

    with monkeypatch.context() as patch:
        patch.setattr(plane.poller, "register", full)
        client = plane.connect()
        plane.settle()
    assert client.recv(1) == b""
    assert [event.reason for event in plane.of(ConnectionClosed)] == ["limit"]
    assert [event.error for event in plane.of(ListenerPaused)] == ["ENOSPC"]
    plane.clock.advance(1)
    assert plane.greets(plane.connect())


def test_a_bug_while_accepting_rests_the_listener_and_does_not_end_it(plane: Listening) -> None:
    plane.listen()
    plane.listener.abort("fault")
    client = plane.connect()
    assert plane.settle() == 0
    assert plane.plane.quota.open == 0
    plane.clock.advance(1)
    assert plane.greets(client)
    (paused,) = plane.of(ListenerPaused)
    assert (paused.listener, paused.error) == (plane.listener.address, "fault")


def test_a_listener_that_is_closed_while_it_rests_stays_closed(plane: Listening) -> None:
    plane.listen()
    plane.listener.abort("fault")
    plane.listener.close()
    plane.clock.advance(1)
    assert plane.poller.owners() == []
    assert not plane.ready()


def test_a_closed_listener_is_silent_though_another_process_holds_the_socket_too() -> None:
    """As workers do that share a unix socket: close(2) alone leaves it in the poll set."""
    with Listening() as plane:
        plane.listen()
        with plane.sock.dup():
            waiting = plane.connect()
            plane.listener.close()
            assert not plane.ready()
            waiting.close()


# --- descriptors run out ----------------------------------------------------------------------------------------------

_SCARCE = """
import resource, select, socket, sys, time
from shim.events import ListenerPaused
from rig.plane import HandTurned, descriptors
from rig.wire import GREETING, NO_AUTH
from shim.address import Address
from shim.protocol.socks_server import SocksServer
from shim.proxy.listener import Listener, bind, bound_address

with HandTurned() as rig:
    sock = rig.closing(bind(Address("127.0.0.1", 0)))
    listener = Listener(rig.plane, sock, SocksServer)
    listener.start()
    where = bound_address(sock)
    clients = [rig.closing(socket.socket()) for _ in range(6)]
    for client in clients:
        client.settimeout(10)
        client.connect((where.host, where.port))
    used = max(int(entry.split()[0]) for entry in descriptors())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, hard))
    assert rig.settle() < 10, "it spins"
    paused = rig.of(ListenerPaused)
    assert [event.error for event in paused] == ["EMFILE"], paused
    taken = rig.plane.quota.open
    assert 0 < taken < 6, taken
    rig.clock.advance(1)
    rig.settle()
    assert len(rig.of(ListenerPaused)) == 2, "it did not try again"
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    rig.clock.advance(1)
    rig.settle()
    assert rig.plane.quota.open == 6
    for client in clients:
        client.send(GREETING)
    rig.settle()
    assert [client.recv(10) for client in clients] == [NO_AUTH] * 6
    listener.close()
    for owner in rig.poller.owners():
        owner.abort("shutdown")
print("recovered")
"""


def test_without_descriptors_the_listener_rests_and_recovers() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCARCE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "recovered\n", done.stderr


# --- binding ----------------------------------------------------------------------------------------------------------


def test_port_0_is_any_free_port() -> None:
    with bind(ANY_PORT) as one, bind(ANY_PORT) as other:
        assert bound_address(one).host == "127.0.0.1"
        assert 0 < bound_address(one).port != bound_address(other).port > 0


def test_ipv6_does_not_take_the_ipv4_port_as_well() -> None:
    try:
        sixes = [bind(Address("::1", 0)) for _ in range(10)]
    except ListenError:
        pytest.skip("needs an IPv6 loopback address")
    free = list(map(_twin_is_free, sixes))
    assert any(free), "one may be taken by somebody else, not all"


def _twin_is_free(six: socket.socket) -> bool:
    port = bound_address(six).port
    with six:
        try:
            bind(Address("127.0.0.1", port)).close()
        except ListenError:
            return False
    return True


def test_accepted_sockets_inherit_no_delay() -> None:
    with bind(ANY_PORT) as listening, socket.socket() as client:
        client.connect(listening.getsockname())
        select.select([listening], [], [], 10)
        with listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_taken_port_is_an_error_that_names_address_and_reason() -> None:
    with bind(ANY_PORT) as one:
        address = bound_address(one)
        with pytest.raises(ListenError, match=rf"^{address}: address already in use$"):
            bind(address)


def test_workers_may_share_a_port_and_nobody_else() -> None:
    with bind(ANY_PORT, shared=True) as one:
        address = bound_address(one)
        with bind(address, shared=True) as other:
            assert bound_address(other) == address
        with pytest.raises(ListenError):
            bind(address)


def test_an_address_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(ListenError, match=r"^192\.0\.2\.1:80: cannot assign requested address$"):
        bind(Address("192.0.2.1", 80))


@pytest.mark.parametrize(("host", "asked"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True), ("::", True)])
def test_a_client_of_another_machine_is_asked_now_and_then_whether_it_is_there(host: str, asked: bool) -> None:
    """One that has vanished without a word would hold its tunnel for ever."""
    with bind(Address(host, 0)) as sock:
        near = "::1" if ":" in host else "127.0.0.1"
        with socket.create_connection((near, sock.getsockname()[1])):
            select.select([sock], [], [], 10)
            taken, _ = sock.accept()
        with taken:
            assert bool(taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is asked
            idle_s = taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            assert (idle_s <= 120) is asked


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_unix_socket_has_its_mode_from_the_start(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o027)
    os.umask(before)
    path = tmp_path / "s"
    with bind(Address(path=str(path)), mode=mode) as sock:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert bound_address(sock) == Address(path=str(path))
    assert os.umask(before) == before


def test_only_the_owner_by_default(tmp_path: Path) -> None:
    with bind(Address(path=str(tmp_path / "s"))):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


def test_the_file_goes_with_the_listener(tmp_path: Path) -> None:
    path = tmp_path / "s"
    close_listener(bind(Address(path=str(path))))
    assert not path.exists()
    sock = bind(Address(path=str(path)))
    path.unlink()
    close_listener(sock)


def test_a_file_that_nobody_listens_on_is_taken_over(tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "s"))
    bind(address).close()
    assert (tmp_path / "s").is_socket()
    with bind(address), socket.socket(socket.AF_UNIX) as client:
        client.connect(address.path)


def test_a_socket_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "s"))
    with bind(address) as first:
        with pytest.raises(ListenError, match="address already in use"):
            bind(address)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address.path)
        first.accept()[0].close()  # the question whether it is alive
        assert first.accept()[0].close() is None


def test_any_other_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(path)
    for there in (path, link):
        with pytest.raises(ListenError, match="address already in use"):
            bind(Address(path=str(there)))
    assert path.read_text() == "precious"
    assert link.is_symlink()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="no such file or directory"):
        bind(Address(path=str(tmp_path / "none" / "s")))
