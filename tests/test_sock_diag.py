"""The kernel's answer for one socket, against real sockets on loopback; two traps of UDP and TCP are kept shut."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from rig.senders import listening, receiving

from shim.witness.clues import Endpoint, Flow
from shim.witness.sock_diag import Ambiguous, Row, SockDiag, SocketOwner, raise_error, sender


def _speaks_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HOSTS = ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"] if _speaks_ipv6() else ["127.0.0.1", "127.9.8.7"]
"""Where servers are reached; the last is IPv4 in IPv6 clothes."""


@pytest.fixture
def diag() -> Iterator[SockDiag]:
    try:
        found = SockDiag()
    except (AttributeError, OSError):
        pytest.skip("needs sock_diag (Linux)")
    with closing(found):
        yield found


def owner_of(sock: socket.socket) -> SocketOwner:
    status = os.fstat(sock.fileno())
    return SocketOwner(status.st_ino, os.geteuid())


def flow(transport: str, client: tuple[str, int], server: tuple[str, int]) -> Flow:
    return Flow("tcp" if transport == "tcp" else "udp", Endpoint(*client[:2]), Endpoint(*server[:2]))


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def connected(server: socket.socket, host: str) -> tuple[socket.socket, socket.socket, Flow]:
    client = socket.socket(family(host))
    client.connect((host, server.getsockname()[1]))
    accepted, name = server.accept()
    return client, accepted, flow("tcp", name, accepted.getsockname())


@pytest.mark.parametrize("host", HOSTS)
def test_the_clients_end_of_a_connection(diag: SockDiag, host: str) -> None:
    wildcard = "::" if ":" in host else "0.0.0.0"
    with listening(wildcard) as server:
        client, accepted, clue = connected(server, host)
        with client, accepted:
            assert diag.owner(clue) == owner_of(client)
            theirs = flow("tcp", clue.server, clue.client)
            assert diag.owner(theirs) == owner_of(accepted)


def test_ipv4_seen_by_a_server_that_speaks_both(diag: SockDiag) -> None:
    if len(HOSTS) == 2:
        pytest.skip("needs IPv6")
    with listening("::") as server:
        client, accepted, clue = connected(server, "127.0.0.1")
        with client, accepted:
            assert clue.client.host == "::ffff:127.0.0.1"
            assert diag.owner(clue) == owner_of(client)


def test_a_connection_among_many(diag: SockDiag) -> None:
    with listening() as server, ExitStack() as stack:
        pairs = [connected(server, "127.0.0.1") for _ in range(100)]
        for client, accepted, _ in pairs:
            stack.enter_context(client)
            stack.enter_context(accepted)
        assert [diag.owner(clue) for _, _, clue in pairs] == [owner_of(client) for client, _, _ in pairs]


def test_a_socket_bound_to_an_interface(diag: SockDiag) -> None:
    with listening() as server, socket.socket() as client:
        try:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        except PermissionError:
            pytest.skip("needs the right to bind to an interface")
        client.connect(server.getsockname())
        accepted, name = server.accept()
        with accepted:
            assert diag.owner(flow("tcp", name, accepted.getsockname())) == owner_of(client)


def test_a_client_that_has_closed_is_gone(diag: SockDiag) -> None:
    with listening() as server:
        client, accepted, clue = connected(server, "127.0.0.1")
        with accepted:
            client.close()
            assert diag.owner(clue) is None  # FIN_WAIT2: there is a row, of nobody


def test_time_wait_is_nobodys(diag: SockDiag) -> None:
    with listening() as server:
        client, accepted, clue = connected(server, "127.0.0.1")
        client.close()
        accepted.close()
        assert diag.owner(clue) is None


def test_who_listens_on_the_clients_port_later_is_not_the_client(diag: SockDiag) -> None:
    with listening() as server, socket.socket() as client, socket.socket() as later:
        for sock in (client, later):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.0.1", 0))  # a port that nothing else uses, for the later one to take over
        client.connect(server.getsockname())
        accepted, name = server.accept()
        with accepted:
            clue = flow("tcp", name, accepted.getsockname())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()  # by a reset: nothing stays behind
            later.bind(name)
            later.listen()
            assert diag.owner(clue) is None


def send(kind: str, host: str, server: socket.socket) -> tuple[socket.socket, Flow]:
    """A client that has sent a datagram, and what its receiver knows of it."""
    client = socket.socket(family(host), socket.SOCK_DGRAM)
    target = (host, server.getsockname()[1])
    if kind == "connected":
        client.connect(target)
    elif kind == "bound":
        client.bind((host, 0))
    if kind == "connected":
        client.send(b"?")
    else:
        client.sendto(b"?", target)
    _, name = server.recvfrom(10)
    return client, flow("udp", name, (server.getsockname()[0], target[1]))


@pytest.mark.parametrize("wildcard", [False, True], ids=["server here", "server anywhere"])
@pytest.mark.parametrize("kind", ["connected", "bound", "wildcard"])
@pytest.mark.parametrize("host", HOSTS)
def test_who_sent_a_datagram(diag: SockDiag, host: str, kind: str, wildcard: bool) -> None:
    at = host.removeprefix("::ffff:")  # a server of IPv4 gets what was sent to the mapped address
    if wildcard:
        at = "::" if ":" in at else "0.0.0.0"
    with receiving(at) as server:
        client, clue = send(kind, host, server)
        with client:
            assert diag.owner(clue) == owner_of(client)


@pytest.mark.parametrize("wildcard", [False, True], ids=["server here", "server anywhere"])
@pytest.mark.parametrize("kind", ["connected", "bound", "wildcard"])
def test_our_own_socket_never_sent_what_it_received(diag: SockDiag, kind: str, wildcard: bool) -> None:
    """The kernel, asked the wrong way round, answers with it as soon as the client has gone."""
    with receiving("0.0.0.0" if wildcard else "127.0.0.1") as server:
        client, clue = send(kind, "127.0.0.1", server)
        client.close()
        assert diag.owner(clue) is None


def sharing(port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def test_a_port_that_several_share_names_none_of_them(diag: SockDiag) -> None:
    with receiving() as server, sharing() as one, sharing(one.getsockname()[1]) as other:
        one.sendto(b"?", server.getsockname())
        clue = flow("udp", server.recvfrom(10)[1], server.getsockname())
        with pytest.raises(Ambiguous):
            diag.owner(clue)
        other.connect(server.getsockname())
        assert diag.owner(clue) == owner_of(other)  # now only it has us for its other end
        other.connect(("127.0.0.1", 9))
        assert diag.owner(clue) == owner_of(one)  # and now it sends elsewhere


def test_a_query_that_the_firewall_redirected(diag: SockDiag) -> None:
    """The client believes that it speaks to another resolver; there is nobody else whom its port belongs to."""
    with receiving() as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.53", 53))
        clue = flow("udp", client.getsockname(), server.getsockname())
        assert diag.owner(clue) == owner_of(client)
        client.connect(("127.0.0.53", 5353))
        assert diag.owner(clue) is None


def test_what_is_no_address_cannot_be_asked_for(diag: SockDiag) -> None:
    here = ("127.0.0.1", 1)
    for host in ("host.example", "", "300.1.2.3", "fe80::1%nosuchinterface"):
        with pytest.raises(OSError):
            diag.owner(flow("tcp", (host, 1), here))


def test_an_answer_that_nobody_read_is_not_the_next_ones(diag: SockDiag, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as server:
        (one, first), (other, second) = (send("connected", "127.0.0.1", server) for _ in range(2))
        with one, other:
            with monkeypatch.context() as patch:
                patch.setattr(diag, "_read", lambda *, whole: [])
                assert diag.owner(first) is None
            assert diag.owner(second) == owner_of(other)


def test_a_kernel_that_finds_nothing_is_no_witness(monkeypatch: pytest.MonkeyPatch, diag: SockDiag) -> None:
    """Without tcp_diag and udp_diag it says so to everything: every client would be called gone."""
    monkeypatch.setattr(SockDiag, "_ask", lambda *_args, **_keys: [])
    with pytest.raises(OSError, match="sock_diag finds nothing"):
        SockDiag()


HERE, THERE = (b"\x7f\0\0\1", 40000), (b"\x7f\0\0\1", 53)
NOWHERE = (bytes(4), 0)


def test_a_row_without_an_inode_has_no_owner() -> None:
    ends = struct.pack("!HH16s16s", HERE[1], NOWHERE[1], HERE[0], NOWHERE[0])
    closing_down, alive = (Row(socket.AF_INET, ends, SocketOwner(inode, 5)) for inode in (0, 9))
    assert (alive.here, alive.there) == (HERE, NOWHERE)
    assert sender([closing_down], HERE, THERE) is None
    assert sender([closing_down, alive], HERE, THERE) == (9, 5)


def test_not_found_is_an_answer_and_everything_else_an_error() -> None:
    raise_error(struct.pack("=xi", -errno.ENOENT), 1)
    with pytest.raises(PermissionError, match="sock_diag"):
        raise_error(struct.pack("=xi", -errno.EPERM), 1)
