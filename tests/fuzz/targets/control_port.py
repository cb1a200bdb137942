"""Whatever answers at the control port, in any cuts: requests that Tor was asked for, then ControlError; bounded."""

from __future__ import annotations

import socket
from random import Random
from typing import cast

from fuzz import grammar
from fuzz.tape import Tape, pieces
from shim.address import Address
from shim.errors import ControlError
from shim.model import Command
from shim.tor.conversation import MAX_MESSAGE, Conversation, _Lines
from shim.tor.heard import Asked

COVERS = ("shim.tor.conversation", "shim.tor.heard")

EVENTS = (
    "650 STREAM 7 NEW 0 www.example.com:443 SOURCE_ADDR={peer} PURPOSE=USER CLIENT_PROTOCOL={protocol}",
    "650 STREAM 7 NEWRESOLVE 0 {host}:0 SOURCE_ADDR={peer} PURPOSE=DNS_REQUEST CLIENT_PROTOCOL=DNS",
    "650 STREAM 7 SUCCEEDED 3 1.2.3.4:443",
    "650 STATUS_CLIENT WARN DANGEROUS_SOCKS PROTOCOL={protocol} ADDRESS={host}:443",
    "650 STATUS_CLIENT NOTICE CIRCUIT_ESTABLISHED",
    "250 OK",
    "250-version=0.4.9.11\r\n250 OK",
    "650+NS\r\nr x\r\n.\r\n650 OK",
    "515 Authentication failed",
)


class Said:
    """The socket's edge: what Tor says, in pieces; what it is told is lost."""

    def __init__(self, stream: bytes, size: int) -> None:
        self._pieces = [piece for piece, _ in pieces(stream, size)][::-1]

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def recv(self, _limit: int) -> bytes:
        return self._pieces.pop() if self._pieces else b""

    def sendall(self, data: bytes) -> None:
        assert data.endswith(b"\r\n")
        assert data.count(b"\n") == 1, "one command, whatever is in it"


def one_input(data: bytes) -> None:
    """A byte for what is asked first, a byte for the pieces, the rest is what Tor says."""
    tape = Tape(data)
    how, size = tape.byte() % 3, tape.byte()
    stream = tape.rest()
    _same_lines(stream, size)
    assert heard(stream, size, how) == heard(stream, 0, how)


def generate(rng: Random) -> bytes:
    told = []
    for _ in range(rng.randint(0, 5)):
        peer = rng.choice(("127.0.0.1:4000", "::1:4000", "/run/tor/socks:0", "(Tor_internal):0", "[::1]:x"))
        protocol, host = (
            rng.choice(("SOCKS5", "SOCKS4", "HTTPCONNECT", "DNS", "X")),
            grammar.name(rng).decode("latin-1"),
        )
        told.append(rng.choice(EVENTS).format(peer=peer, protocol=protocol, host=host).encode("latin-1") + b"\r\n")
    if rng.random() < 0.4:
        methods = rng.choice((b"NULL", b"HASHEDPASSWORD", b'SAFECOOKIE COOKIEFILE="/nowhere"', b"COOKIE", b"X"))
        info = b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=" + methods + b'\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n'
        return b"\1" + rng.randbytes(1) + info + b"".join(told)
    if rng.random() < 0.2:
        return (
            b"\2"
            + rng.randbytes(1)
            + b'250-net/listeners/socks="127.0.0.1:9050" "unix:/x"\r\n250 OK\r\n'
            + b"".join(told)
        )
    return b"\0" + rng.randbytes(1) + b"".join(told)


def heard(stream: bytes, size: int, how: int) -> object:
    """What comes of it: the requests, and why it ended."""
    talk = Conversation(Address("127.0.0.1", 9051))
    talk.close()
    talk._sock = cast(socket.socket, Said(stream, size))
    talk._lines = _Lines(talk._sock)
    told: list[object] = []
    try:
        if how == 1:
            talk.authenticate('pass"word\\')
            talk.subscribe()
        elif how == 2:
            told.extend(talk.listeners())
        for asked in talk.asked():
            _check(asked)
            told.append(asked)
    except ControlError as error:
        return told, error.error
    raise AssertionError("it ends when Tor has ended")


def _check(asked: Asked) -> None:
    assert asked.protocol in ("socks4", "socks5", "http", "dns", "tcp")
    assert asked.command in (Command.CONNECT, Command.RESOLVE)
    assert asked.dangerous or not asked.refused


def _same_lines(stream: bytes, size: int) -> None:
    """Lines are lines, however they come."""
    lines = _Lines(cast(socket.socket, Said(stream, size)))
    lines.begin()
    got = b""
    try:
        while line := lines.readline():
            assert line.count(b"\n") == 1
            got += line
    except ValueError:
        assert len(got) <= MAX_MESSAGE < len(stream)
    assert stream.startswith(got)
    assert b"\n" not in stream[len(got) :] or len(stream) > MAX_MESSAGE
