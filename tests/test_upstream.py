"""The upstream leg against real listeners: connect, one handshake, its answer or one short reason why not."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from rig.plane import End, HandTurned, descriptors
from rig.wire import AUTH_OK, GREETING, GREETING_AUTH, NO_AUTH, WITH_AUTH, auth, refused5, socks5

from shim.address import Address
from shim.model import Answer, Command, Credentials, Protocol, Request
from shim.protocol.socks_client import SocksClient
from shim.proxy.poller import ERR, HUP, IN, OUT, EpollPoller, Poller, SelectorPoller
from shim.proxy.quota import Limits
from shim.proxy.upstream import UpstreamLeg, _new_socket
from shim.proxy.wheel import TICK_S

REQUEST = Request(Protocol.SOCKS5, Command.CONNECT, "a.test", 443)
ASKED = socks5(b"a.test", 443)
USER = Credentials(b"who\x00", b"\xff")
AUTH = auth(b"who\x00", b"\xff")
GRANTED = refused5(0)
CONNECT_S, REPLY_S = 4.0, 30.0


@dataclass
class Asker:
    """Whoever asked for the leg."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    early: bytes = b""
    sock: socket.socket | None = None

    def upstream_answered(self, answer: Answer, early: bytes, sock: socket.socket) -> None:
        self.answers.append(answer)
        self.early, self.sock = early, sock

    def upstream_failed(self, error: str) -> None:
        self.failures.append(error)

    @property
    def told(self) -> bool:
        return bool(self.answers or self.failures)


class Legged(HandTurned):
    """A plane with legs towards a listener of the test's own."""

    def __init__(self, poller: type[Poller] = EpollPoller) -> None:
        super().__init__(poller, limits=Limits(connect_timeout_s=CONNECT_S, reply_timeout_s=REPLY_S))

    def listen(self, path: Path | None = None, backlog: int = 16) -> Address:
        """Something that accepts connections."""
        self.listener = self.closing(socket.socket(socket.AF_UNIX if path else socket.AF_INET))
        self.listener.bind(str(path) if path else ("127.0.0.1", 0))
        self.listener.listen(backlog)
        return Address(path=str(path)) if path else Address(*self.listener.getsockname())

    def ask(self, address: Address, credentials: Credentials | None = None, *, pipelining: bool = True) -> Asker:
        """Start a leg."""
        asker = Asker()
        self.leg = UpstreamLeg(
            self.plane, address, REQUEST, SocksClient(REQUEST, credentials, pipelining=pipelining), asker
        )
        self.leg.start()
        return asker

    def accept(self) -> End:
        """The listener's side of the next connection."""
        self.settle()
        self.listener.settimeout(10)
        return End(self.closing(self.listener.accept()[0]))

    def read(self, end: End, expected: bytes) -> None:
        """That this, and no more, comes from the leg."""
        self.until(lambda: len(end.got) >= len(expected), end.take)
        self.settle()
        end.take()
        assert bytes(end.got) == expected
        end.got.clear()

    def say(self, end: End, data: bytes) -> None:
        """Send it in one segment, and let the leg see it."""
        end.sock.send(data)
        self.settle()

    def took_over(self, asker: Asker) -> None:
        """The socket is the asker's now, and the clock has stopped: put it away."""
        assert asker.failures == []
        assert self.leg.sock is None
        assert asker.sock is not None
        self.poller.forget(asker.sock.fileno())
        asker.sock.close()
        assert len(self.plane.wheel) == 0

    def failed(self, asker: Asker, error: str) -> None:
        """It is told once, nothing is left open, and the clock has stopped."""
        self.settle()
        assert (asker.answers, asker.failures) == ([], [error])
        assert self.leg.sock is None
        assert len(self.plane.wheel) == 0
        assert self.poller.owners() == []


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def plane(request: pytest.FixtureRequest) -> Iterator[Legged]:
    with Legged(request.param) as plane:
        yield plane


# --- the handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_greeting_and_request_go_out_in_one_write(plane: Legged, family: str, tmp_path: Path) -> None:
    asker = plane.ask(plane.listen(tmp_path / "s" if family == "unix" else None))
    end = plane.accept()
    plane.read(end, GREETING + ASKED)
    plane.say(end, NO_AUTH + GRANTED)
    assert asker.answers == [Answer(0, IPv4Address(0), 0)]
    plane.took_over(asker)


@pytest.mark.parametrize(
    ("host", "asked"), [("127.0.0.1", False), ("::1", False), ("192.0.2.1", True), ("2001:db8::1", True)]
)
def test_another_machine_is_asked_now_and_then_whether_it_is_there(host: str, asked: bool) -> None:
    """One that has vanished without a word would hold the tunnels to it for ever."""
    sock = _new_socket(Address(host, 9050))
    assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is asked
    assert (sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 120) is asked
    sock.close()


def test_over_ipv6(plane: Legged) -> None:
    plane.listener = plane.closing(socket.socket(socket.AF_INET6))
    try:
        plane.listener.bind(("::1", 0))
    except OSError:
        pytest.skip("needs an IPv6 loopback address")
    plane.listener.listen()
    asker = plane.ask(Address("::1", plane.listener.getsockname()[1]))
    end = plane.accept()
    plane.read(end, GREETING + ASKED)
    plane.say(end, NO_AUTH + GRANTED)
    plane.took_over(asker)


def test_one_step_at_a_time(plane: Legged) -> None:
    asker = plane.ask(plane.listen(), pipelining=False)
    end = plane.accept()
    plane.read(end, GREETING)
    plane.say(end, NO_AUTH)
    plane.read(end, ASKED)
    plane.say(end, GRANTED)
    plane.took_over(asker)


def test_credentials_go_out_with_the_request_once_they_are_asked_for(plane: Legged) -> None:
    asker = plane.ask(plane.listen(), USER)
    end = plane.accept()
    plane.read(end, GREETING_AUTH)
    plane.say(end, WITH_AUTH)
    plane.read(end, AUTH + ASKED)
    plane.say(end, AUTH_OK + GRANTED)
    plane.took_over(asker)


def test_credentials_one_step_at_a_time(plane: Legged) -> None:
    asker = plane.ask(plane.listen(), USER, pipelining=False)
    end = plane.accept()
    for expected, reply in ((GREETING_AUTH, WITH_AUTH), (AUTH, AUTH_OK), (ASKED, GRANTED)):
        plane.read(end, expected)
        plane.say(end, reply)
    plane.took_over(asker)


def test_a_reply_byte_by_byte_with_data_behind_it(plane: Legged) -> None:
    asker = plane.ask(plane.listen())
    end = plane.accept()
    for byte in NO_AUTH + GRANTED:
        assert not asker.told
        plane.say(end, bytes([byte]))
    assert asker.early == b""
    plane.took_over(asker)


def test_what_comes_in_one_segment_with_the_reply_is_kept(plane: Legged) -> None:
    asker = plane.ask(plane.listen())
    end = plane.accept()
    plane.say(end, NO_AUTH + GRANTED + b"220 ready\r\n")
    assert asker.early == b"220 ready\r\n"
    plane.took_over(asker)


@pytest.mark.parametrize("reply", [1, 2, 5, 8, 0xF0, 0xF7])
def test_a_refusal_is_an_answer(plane: Legged, reply: int) -> None:
    asker = plane.ask(plane.listen())
    plane.say(plane.accept(), NO_AUTH + refused5(reply))
    assert [answer.reply for answer in asker.answers] == [reply]
    plane.took_over(asker)


# --- what is no answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not_socks5"),
        (b"\5\xff", "no_method"),
        (NO_AUTH + b"\4\0\0\1", "malformed_reply"),
        (NO_AUTH + b"\5\0\0\x09" + bytes(6), "malformed_reply"),
    ],
)
def test_garbage_has_a_name(plane: Legged, said: bytes, error: str) -> None:
    asker = plane.ask(plane.listen())
    plane.say(plane.accept(), said)
    plane.failed(asker, error)


@pytest.mark.parametrize(("said", "pipelining"), [(WITH_AUTH + AUTH_OK + GRANTED, True), (NO_AUTH + GRANTED, False)])
def test_an_answer_to_what_was_not_asked_yet_is_none(plane: Legged, said: bytes, pipelining: bool) -> None:
    """The client's bytes would have taken the place of the request."""
    asker = plane.ask(plane.listen(), USER if pipelining else None, pipelining=pipelining)
    plane.say(plane.accept(), said)
    plane.failed(asker, "malformed_reply")


@pytest.mark.parametrize("said", [b"", b"\5", NO_AUTH, NO_AUTH + GRANTED[:-1]])
def test_closed_before_the_answer_was_complete(plane: Legged, said: bytes) -> None:
    asker = plane.ask(plane.listen())
    end = plane.accept()
    plane.read(end, GREETING + ASKED)
    end.sock.send(said)
    end.sock.close()
    plane.failed(asker, "closed")


def test_reset_before_the_answer(plane: Legged) -> None:
    asker = plane.ask(plane.listen())
    plane.accept().reset()
    plane.failed(asker, "connection_reset")


def test_reset_between_two_steps(plane: Legged) -> None:
    asker = plane.ask(plane.listen(), USER)
    end = plane.accept()
    end.sock.send(WITH_AUTH)
    end.reset()
    plane.failed(asker, "connection_reset")


def test_no_answer_in_time(plane: Legged) -> None:
    asker = plane.ask(plane.listen())
    plane.accept()
    plane.clock.advance(REPLY_S)
    assert not asker.told
    plane.clock.advance(2 * TICK_S)
    plane.failed(asker, "reply_timeout")


# --- no connection ----------------------------------------------------------------------------------------------------


def test_nobody_listens(plane: Legged) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        asker = plane.ask(Address(*mute.getsockname()))
        plane.failed(asker, "connection_refused")


def test_there_is_no_such_unix_socket(plane: Legged, tmp_path: Path) -> None:
    plane.failed(plane.ask(Address(path=str(tmp_path / "none"))), "no_such_socket")


def test_nobody_listens_on_the_unix_socket(plane: Legged, tmp_path: Path) -> None:
    address = plane.listen(tmp_path / "s")
    plane.listener.close()
    plane.failed(plane.ask(address), "connection_refused")


def test_an_error_without_a_code_of_its_own_is_named_by_the_system(plane: Legged, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    plane.failed(plane.ask(Address(path=str(tmp_path / "file" / "s"))), "not_a_directory")


def test_descriptors_have_run_out(plane: Legged) -> None:
    address = plane.listen()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.split()[0]) for entry in descriptors())
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                stack.enter_context(socket.socket())
        asker = plane.ask(address)
    plane.failed(asker, "too_many_open_files")


# --- not yet ----------------------------------------------------------------------------------------------------------


def fill_unix(address: Address) -> Iterator[socket.socket]:
    """Connections until a unix listener's backlog is full."""
    for _ in range(20):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        if sock.connect_ex(address.path) == errno.EAGAIN:
            sock.close()
            return
        yield sock
    raise AssertionError("the backlog never filled up")


def test_a_full_unix_backlog_is_waited_for(plane: Legged, tmp_path: Path) -> None:
    address = plane.listen(tmp_path / "s", backlog=1)
    with contextlib.ExitStack() as stack:
        for sock in fill_unix(address):
            stack.enter_context(sock)
        asker = plane.ask(address)
        plane.settle()
        plane.clock.advance(1)
        assert not asker.told
        with plane.listener.accept()[0], plane.listener.accept()[0]:
            plane.clock.advance(3 * TICK_S)
            end = plane.accept()
            plane.read(end, GREETING + ASKED)
            plane.say(end, NO_AUTH + GRANTED)
            plane.took_over(asker)


def test_a_full_unix_backlog_is_waited_for_as_long_as_any_connection(plane: Legged, tmp_path: Path) -> None:
    address = plane.listen(tmp_path / "s", backlog=1)
    with contextlib.ExitStack() as stack:
        for sock in fill_unix(address):
            stack.enter_context(sock)
        asker = plane.ask(address)
        plane.clock.advance(CONNECT_S - 2 * TICK_S)
        assert not asker.told
        plane.clock.advance(5 * TICK_S)
        plane.failed(asker, "connect_timeout")


def test_the_client_goes_while_the_backlog_is_full(plane: Legged, tmp_path: Path) -> None:
    address = plane.listen(tmp_path / "s", backlog=1)
    with contextlib.ExitStack() as stack:
        for sock in fill_unix(address):
            stack.enter_context(sock)
        asker = plane.ask(address)
        plane.leg.close()
        plane.clock.advance(CONNECT_S + 1)
        assert not asker.told
        assert len(plane.plane.wheel) == 0


def fill_tcp(address: Address) -> Iterator[socket.socket]:
    """Connections until a TCP listener's backlog is full: from then on, SYN packets are dropped."""
    for _ in range(20):
        sock = socket.socket()
        sock.settimeout(0.1)
        try:
            sock.connect((address.host, address.port))
        except TimeoutError:
            sock.close()
            return
        yield sock
    raise AssertionError("the backlog never filled up")


def test_a_connection_that_is_not_made_in_time() -> None:
    with Legged() as plane, contextlib.ExitStack() as stack:
        address = plane.listen(backlog=0)
        for sock in fill_tcp(address):
            stack.enter_context(sock)
        asker = plane.ask(address)
        plane.settle()
        plane.clock.advance(CONNECT_S)
        assert not asker.told
        plane.clock.advance(2 * TICK_S)
        plane.failed(asker, "connect_timeout")


def test_connections_that_are_made_or_refused_later() -> None:
    """Both at once, because the kernel sends its second SYN only after a second."""
    with Legged() as plane, contextlib.ExitStack() as stack:
        gone = plane.listen(backlog=0)
        gone_listener = plane.listener
        for sock in fill_tcp(gone):
            stack.enter_context(sock)
        refused, refused_leg = plane.ask(gone), plane.leg
        late = plane.listen(backlog=0)
        for sock in fill_tcp(late):
            stack.enter_context(sock)
        made, made_leg = plane.ask(late), plane.leg
        gone_listener.close()
        plane.listener.accept()[0].close()
        plane.clock.advance(CONNECT_S - 1)
        plane.until(lambda: refused.told)
        assert refused.failures == ["connection_refused"]
        assert refused_leg.sock is None
        end = plane.accept()
        plane.read(end, GREETING + ASKED)
        plane.clock.advance(REPLY_S - 1)
        assert not made.told, "the reply has a time of its own"
        plane.say(end, NO_AUTH + GRANTED)
        plane.leg = made_leg
        plane.took_over(made)


# --- ends -------------------------------------------------------------------------------------------------------------


def test_the_client_is_gone(plane: Legged) -> None:
    asker = plane.ask(plane.listen())
    end = plane.accept()
    plane.leg.close()
    plane.leg.close()
    assert not asker.told
    assert len(plane.plane.wheel) == 0
    plane.until(lambda: end.ended, end.take)


def test_a_bug_is_a_failure_like_others(plane: Legged) -> None:
    asker = plane.ask(plane.listen())
    plane.leg.abort("fault")
    plane.failed(asker, "fault")


@pytest.mark.parametrize("events", [IN, OUT, IN | OUT, HUP, ERR])
def test_a_wake_up_for_nothing_is_harmless(plane: Legged, events: int) -> None:
    asker = plane.ask(plane.listen())
    end = plane.accept()
    plane.leg.on_upstream(events)
    assert not asker.told
    plane.say(end, NO_AUTH + GRANTED)
    plane.took_over(asker)
