"""The edge to Tor's control port, against ports that refuse, lie, hang or flood: it tells why, and goes on trying."""

from __future__ import annotations

import hashlib
import hmac
import queue
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rig.control_port import NOTHING, ControlPort, Speak, saying, tor
from rig.waiting import PATIENCE_S, until

from shim.address import Address
from shim.errors import ControlError
from shim.events import ControlConnected, ControlDropped, ControlFailed, Event, Fault
from shim.model import Command
from shim.tor import control, conversation
from shim.tor.control import CAPACITY, MAX_PASSWORD, Control, read_password
from shim.tor.heard import Asked

SECRET = 's3ntinel "quoted" back\\slash'
STREAM = "650 STREAM {id} NEW 0 www.example.com:{id} SOURCE_ADDR=127.0.0.1:{id} PURPOSE=USER CLIENT_PROTOCOL=SOCKS5\r\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_S", 1.0)
    monkeypatch.setattr(conversation, "QUIET_S", 0.2)
    monkeypatch.setattr(control, "RETRY_S", 0.01)
    monkeypatch.setattr(control, "RETRY_MAX_S", 0.05)


class Loop:
    """An event loop that turns when a test waits for something."""

    def __init__(self, address: Address, password: Path | None = None) -> None:
        self.events: list[Event] = []
        self.asked: list[Asked] = []
        self._calls: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self.control = Control(address, password, self._take, self.events.append, lambda *call: self._calls.put(call))

    def _take(self, _at: float, asked: Asked) -> None:
        self.asked.append(asked)

    def until(self, done: Callable[[], bool]) -> None:
        """Turn until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            function, *arguments = self._calls.get(timeout=max(0.01, deadline - time.monotonic()))
            function(*arguments)

    def failed(self) -> str:
        """Why the control port cannot be used, once that is told."""
        self.until(lambda: any(isinstance(event, ControlFailed) for event in self.events))
        assert not [event for event in self.events if isinstance(event, Fault)]
        return next(event.error for event in self.events if isinstance(event, ControlFailed))

    def connected(self) -> None:
        """Wait until it can be used."""
        self.until(lambda: any(isinstance(event, ControlConnected) for event in self.events))


@contextmanager
def listening(address: Address | int, password: Path | None = None) -> Iterator[Loop]:
    loop = Loop(Address("127.0.0.1", address) if isinstance(address, int) else address, password)
    loop.control.start()
    try:
        yield loop
    finally:
        loop.control.close()
    assert not loop.control._thread.is_alive(), "it ends when it is told to"


def test_what_tor_is_asked_for_comes_in_order() -> None:
    then = (
        STREAM.format(id=1)
        + "650 STREAM 1 SENTCONNECT 5 www.example.com:1\r\n"
        + "650 STATUS_CLIENT WARN DANGEROUS_SOCKS PROTOCOL=SOCKS5 ADDRESS=192.0.2.7:80\r\n"
        + "650 STREAM 2 NEW 0 192.0.2.7:80 SOURCE_ADDR=127.0.0.1:2 PURPOSE=USER CLIENT_PROTOCOL=SOCKS5\r\n"
        + "650 STATUS_CLIENT WARN DANGEROUS_SOCKS PROTOCOL=SOCKS4 ADDRESS=192.0.2.8:80\r\n"
        + "650 STREAM 3 FAILED 0 192.0.2.8:80 REASON=SOCKS_PROTOCOL\r\n"
    )
    with ControlPort(tor(then=then)) as port, listening(port.port) as loop:
        loop.until(lambda: len(loop.asked) == 3)
        assert isinstance(loop.events[0], ControlConnected)
        assert loop.asked == [
            Asked("127.0.0.1:1", "socks5", Command.CONNECT, "www.example.com:1"),
            Asked("127.0.0.1:2", "socks5", Command.CONNECT, "192.0.2.7:80", dangerous=True),
            Asked(None, "socks4", Command.CONNECT, "192.0.2.8:80", dangerous=True, refused=True),
        ]
        assert loop.control.listeners == (("tcp", Address("127.0.0.1", 9050)),)


@pytest.mark.parametrize(
    "strange",
    [
        "650 STREAM\r\n",
        "650 STREAM 4 NEW\r\n",
        "650 STREAM 4 NEW 0\r\n",
        "650 STREAM 4 NEW 0 nowhere SOURCE_ADDR=127.0.0.1:4\r\n",
        "650 STREAM 4 NEW 0 www.example.com:80 SOURCE_ADDR=nowhere\r\n",
        "650 STREAM 4 NEW 0 www.example.com:80 SOURCE_ADDR=127.0.0.1:99999\r\n",
        "650 STREAM 4 NEW 0 127.0.0.1.$0002.exit:1 PURPOSE=DIR_FETCH CLIENT_PROTOCOL=UNKNOWN\r\n",
        '650 STATUS_CLIENT WARN SOCKS_UNKNOWN_PROTOCOL DATA=""GET /ind""\r\n',
        "650 STATUS_CLIENT\r\n",
        "650 SOMETHING ELSE\r\n",
        "650+STREAM\r\nover\r\nlines\r\n.\r\n650 OK\r\n",
        "250 OK\r\n",
    ],
)
def test_strange_events_are_passed_over(strange: str) -> None:
    with ControlPort(tor(then=strange + STREAM.format(id=1))) as port, listening(port.port) as loop:
        loop.until(lambda: bool(loop.asked))
        assert [each.source for each in loop.asked] == ["127.0.0.1:1"]
        assert all(isinstance(event, ControlConnected) for event in loop.events)


def test_credentials_cannot_pass_for_something_that_tor_says() -> None:
    lying = 'SOCKS_USERNAME="x SOURCE_ADDR=127.0.0.1:9 y" SOCKS_PASSWORD="\\" SOURCE_ADDR=\\"127.0.0.1:8"'
    event = (
        f"650 STREAM 1 NEW 0 www.example.com:1 SOURCE_ADDR=127.0.0.1:1 PURPOSE=USER {lying} CLIENT_PROTOCOL=SOCKS5\r\n"
    )
    with ControlPort(tor(then=event)) as port, listening(port.port) as loop:
        loop.until(lambda: bool(loop.asked))
        assert loop.asked[0].source == "127.0.0.1:1"


@pytest.mark.parametrize(
    ("speak", "error"),
    [
        (saying(b"HTTP/1.0 501 Tor is not an HTTP Proxy\r\n"), "not_a_control_port"),
        (saying(b"\x05\xff"), "timeout"),
        (saying(b"x" * 65536, times=100), "not_a_control_port"),
        (saying(b"250-x\r\n" * 10000, times=100), "not_a_control_port"),
        (saying(b"250+x\r\n" + b"y\r\n" * 10000, times=100), "not_a_control_port"),
        (saying(b"\xff\xfe\r\n"), "not_a_control_port"),
        (saying(b""), "timeout"),
        (saying(b"250"), "timeout"),
        (saying(b"250 OK\r\n"), "not_a_control_port"),
        (saying(b"510 Unrecognized command\r\n"), "not_a_control_port"),
        (tor(events='552 Unrecognized event "STREAM"\r\n'), "events_refused"),
        (tor(info=NOTHING.replace("NULL", "HASHEDPASSWORD")), "password_missing"),
        (tor(info=NOTHING.replace("NULL", "COOKIE")), "not_authenticated"),
        (tor(info=NOTHING.replace("NULL", "NEW")), "not_authenticated"),
        (tor(info=NOTHING.replace("NULL", 'SAFECOOKIE COOKIEFILE="/nowhere/cookie"')), "cookie_unreadable"),
    ],
)
def test_why_it_cannot_be_used(speak: Any, error: str) -> None:
    with ControlPort(speak) as port, listening(port.port) as loop:
        assert loop.failed() == error


def test_nobody_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with listening(sock.getsockname()[1]) as loop:
            assert loop.failed() == "connection_refused"


def test_no_such_socket(tmp_path: Path) -> None:
    with listening(Address(path=str(tmp_path / "nothing"))) as loop:
        assert loop.failed() == "no_such_file_or_directory"


@pytest.mark.parametrize("after", ["PROTOCOLINFO", "AUTHENTICATE", "SETEVENTS"])
def test_a_port_that_hangs_up_is_connected_to_again(after: str) -> None:
    with ControlPort(tor(), end_after=after) as port, listening(port.port) as loop:
        assert loop.failed() == "closed"
        until(lambda: port.connected >= 4, "a fourth connection")


def test_an_error_is_told_once_until_it_is_another() -> None:
    with ControlPort(saying(b"250 OK\r\n")) as port, listening(port.port) as loop:
        assert loop.failed() == "not_a_control_port"
        until(lambda: port.connected >= 5, "a fifth connection")
        port.speak = tor(info=NOTHING.replace("NULL", "HASHEDPASSWORD"))
        loop.until(lambda: len(loop.events) == 2)
        port.speak = tor()
        loop.connected()
    errors = [event.error for event in loop.events if isinstance(event, ControlFailed)]
    assert errors == ["not_a_control_port", "password_missing"]


def test_a_silent_tor_is_asked_whether_it_is_there() -> None:
    with ControlPort(tor()) as port, listening(port.port) as loop:
        loop.connected()
        until(lambda: port.commands.count("GETINFO version") >= 2, "a second question")
        port.speak = saying(b"")
        loop.until(lambda: len(loop.events) > 1)
    assert isinstance(loop.events[1], ControlFailed) and loop.events[1].error == "timeout"


def test_it_ends_at_once_though_tor_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_S", 1000)
    monkeypatch.setattr(conversation, "QUIET_S", 1000)
    with ControlPort(saying(b"")) as port, listening(port.port):
        until(lambda: port.commands, "a question")
    with ControlPort(tor()) as port, listening(port.port) as loop:
        loop.connected()


def test_what_the_loop_cannot_take_is_counted() -> None:
    many = CAPACITY + 100
    with ControlPort(tor(then="".join(STREAM.format(id=1 + n % 60000) for n in range(many)))) as port:
        loop = Loop(Address("127.0.0.1", port.port))
        loop.control.start()
        dropped = many + 1 - CAPACITY  # the first that waits is ControlConnected
        until(lambda: loop.control._dropped >= dropped, "the last stream")
        assert not loop.asked, "nothing is taken until the loop turns"
        loop.until(lambda: len(loop.events) == 2)
        loop.control.close()
    assert loop.events[1] == ControlDropped(loop.events[1].at, dropped)
    assert len(loop.asked) == CAPACITY - 1


def test_a_bug_is_told_and_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    with ControlPort(tor()) as port, monkeypatch.context() as broken:
        broken.setattr(conversation.Conversation, "subscribe", lambda _self: 1 / 0)
        with listening(port.port) as loop:
            loop.until(lambda: len(loop.events) > 1)
            assert isinstance(loop.events[0], Fault) and loop.events[0].error == "ZeroDivisionError"
            assert isinstance(loop.events[1], ControlFailed) and loop.events[1].error == "fault"
            broken.undo()
            loop.connected()


def test_without_stem_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "find_spec", lambda _name: None)
    with listening(9) as loop:
        assert loop.failed() == "no_stem"


class TestPassword:
    def test_it_is_sent_as_tor_reads_it(self, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_text(SECRET + "\n")
        with ControlPort(tor(info=NOTHING.replace("NULL", "HASHEDPASSWORD,COOKIE"))) as port:
            with listening(port.port, path) as loop:
                loop.connected()
            assert 'AUTHENTICATE "s3ntinel \\"quoted\\" back\\\\slash"' in port.commands

    def test_it_is_not_sent_where_none_is_wanted(self, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_text(SECRET)
        with ControlPort(tor()) as port:
            with listening(port.port, path) as loop:
                loop.connected()
            assert not [command for command in port.commands if "s3ntinel" in command]

    @pytest.mark.parametrize(
        "content", [b"two\nlines\n", b"x" * (MAX_PASSWORD + 1), b"\xff", b"nul\0", b"tab\t", b"\x1b[0m"]
    )
    def test_what_is_no_password_is_not_sent(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_bytes(content)
        with pytest.raises(ControlError) as caught:
            read_password(path)
        assert str(caught.value) == "password_unreadable"

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with ControlPort(tor()) as port, listening(port.port, tmp_path / "nothing") as loop:
            assert loop.failed() == "password_unreadable"

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        import os

        os.mkfifo(tmp_path / "pipe")
        assert read_password(tmp_path / "pipe") == ""

    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    def test_the_end_of_its_line_is_not_part_of_it(self, end: str, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_bytes(("geheim ü" + end).encode())
        assert read_password(path) == "geheim ü"


COOKIE = b"k" * 32


@pytest.fixture
def cookie(tmp_path: Path) -> Path:
    path = tmp_path / "cookie"
    path.write_bytes(COOKIE)
    return path


def keeping(cookie: Path, ways: str, prove: Callable[[str], str] = str) -> Speak:
    """A Tor that names this file; `prove` is its answer to a client's nonce."""
    usual = tor(info=NOTHING.replace("NULL", f'{ways} COOKIEFILE="{cookie}"'))

    def speak(sock: socket.socket, command: str) -> None:
        if command.startswith("AUTHCHALLENGE"):
            sock.sendall(f"{prove(command.split()[2])}\r\n".encode())
        else:
            usual(sock, command)

    return speak


class TestCookie:
    def test_its_contents_are_never_sent(self, cookie: Path) -> None:
        """Who offers COOKIE alone names any file of 32 bytes, and would be told what is in it."""
        with ControlPort(keeping(cookie, "COOKIE")) as port:
            with listening(port.port) as loop:
                assert loop.failed() == "not_authenticated"
            assert not [command for command in port.commands if COOKIE[:4].hex() in command]

    def test_who_does_not_know_it_is_not_believed(self, cookie: Path) -> None:
        wrong = f"250 AUTHCHALLENGE SERVERHASH={'0' * 64} SERVERNONCE={'0' * 64}"
        with ControlPort(keeping(cookie, "COOKIE,SAFECOOKIE", lambda _: wrong)) as port:
            with listening(port.port) as loop:
                assert loop.failed() == "not_authenticated"
            assert not [command for command in port.commands if command.startswith("AUTHENTICATE")]

    @pytest.mark.parametrize("answer", ["250 OK", "250 AUTHCHALLENGE", "250 AUTHCHALLENGE SERVERHASH=x", "513 no"])
    def test_who_answers_nonsense_is_not_believed(self, answer: str, cookie: Path) -> None:
        with ControlPort(keeping(cookie, "SAFECOOKIE", lambda _: answer)) as port, listening(port.port) as loop:
            assert loop.failed() == "not_authenticated"

    def test_who_knows_it_is_told_a_proof(self, cookie: Path) -> None:
        nonce = b"n" * 32

        def proven(client: str) -> str:
            key = b"Tor safe cookie authentication server-to-controller hash"
            proof = hmac.digest(key, COOKIE + bytes.fromhex(client) + nonce, hashlib.sha256)
            return f"250 AUTHCHALLENGE SERVERHASH={proof.hex()} SERVERNONCE={nonce.hex()}"

        with ControlPort(keeping(cookie, "COOKIE,SAFECOOKIE", proven)) as port:
            with listening(port.port) as loop:
                loop.connected()
            assert not [command for command in port.commands if COOKIE[:4].hex() in command]
