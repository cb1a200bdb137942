"""One connection to Tor's control port: proves who we are, then hears what Tor is asked for. Needs stem.

Changes nothing in Tor. Blocks, so it belongs into a thread; every wait and every message has a bound.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from typing import Final, cast

import stem
from stem.connection import (
    AuthMethod,
    IncorrectCookieSize,
    PasswordAuthFailed,
    UnreadableCookieFile,
    authenticate_none,
    authenticate_password,
    authenticate_safecookie,
)
from stem.response import ControlMessage, convert
from stem.response.events import Event
from stem.response.protocolinfo import ProtocolInfoResponse
from stem.socket import recv_message, send_formatting

from shim.address import Address, AddressError
from shim.errors import ControlError, system_code
from shim.tor.heard import OPENING, Asked, Heard

ANSWER_S: Final = 10.0
"""How long Tor may take to accept a connection, for one answer, or to end a message it has begun."""

QUIET_S: Final = 30.0
"""After so long a silence Tor is asked whether it is still there."""

MAX_MESSAGE: Final = 256 * 1024
"""Bytes. An event names one destination and one pair of credentials; the list of listeners is as long as torrc."""

_READ_BYTES: Final = 64 * 1024
_QUOTED: Final = re.compile(r'"([^"]*)"')
_EVENT: Final = "650"
_ASKED_OF: Final = {"socks": "tcp", "httptunnel": "tcp", "dns": "udp"}
"""The kinds of Tor's listeners and what they are reached by. Who is redirected to Tor is not connected to it."""

Listener = tuple[str, Address]
"""`tcp` or `udp`, and where Tor listens."""


class Conversation:
    """From connect to the last event. ControlError with a short code when it ends, whoever has ended it."""

    def __init__(self, address: Address) -> None:
        family = socket.AF_UNIX if address.is_unix else socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        self._sock.settimeout(ANSWER_S)
        self._lines = _Lines(self._sock)
        self._to = address.path if address.is_unix else (address.host, address.port)

    def connect(self) -> None:
        """Connect to Tor."""
        try:
            self._sock.connect(self._to)
        except TimeoutError:
            raise ControlError("timeout") from None
        except OSError as error:
            raise ControlError(system_code(error)) from None

    def close(self) -> None:
        """Give it up."""
        self._sock.close()

    def interrupt(self) -> None:
        """End it from another thread, whatever it waits for."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def msg(self, command: str) -> ControlMessage:
        """One command, one answer; stem's own functions ask by this, too. Not once events come."""
        self._send(command)
        return self._receive()

    def authenticate(self, password: str | None) -> None:
        """Say who we are, in the one way that is the best of those that Tor offers.

        Never by the bare contents of the cookie: whoever answers at the port names the file, and would learn what is
        in it. SAFECOOKIE proves that both know it.
        """
        info = self.msg("PROTOCOLINFO 1")
        if not _understood("PROTOCOLINFO", info):
            raise ControlError("not_a_control_port")
        try:
            self._authenticate(cast(ProtocolInfoResponse, info), password)
        except ControlError:
            raise
        except PasswordAuthFailed:
            raise ControlError("wrong_password") from None
        except (UnreadableCookieFile, IncorrectCookieSize):
            raise ControlError("cookie_unreadable") from None
        except Exception:  # stem has many for this, and stumbles over answers that Tor would not give
            raise ControlError("not_authenticated") from None

    def _authenticate(self, info: ProtocolInfoResponse, password: str | None) -> None:
        methods = info.auth_methods
        if AuthMethod.NONE in methods:
            authenticate_none(self)
        elif AuthMethod.PASSWORD in methods and password is not None:
            authenticate_password(self, password.replace("\\", "\\\\"))  # stem itself sees to the quotes only
        elif AuthMethod.SAFECOOKIE in methods and info.cookie_path is not None:
            authenticate_safecookie(self, info.cookie_path)
        else:
            raise ControlError("password_missing" if AuthMethod.PASSWORD in methods else "not_authenticated")

    def listeners(self) -> tuple[Listener, ...]:
        """Where clients reach Tor, apart from unix sockets."""
        found = []
        for kind, transport in _ASKED_OF.items():
            answer = self.msg(f"GETINFO net/listeners/{kind}")
            texts = _QUOTED.findall(answer.content()[0][2]) if answer.is_ok() else ()
            for text in texts:
                with contextlib.suppress(AddressError):
                    found.append((transport, Address.parse(text)))
        return tuple((transport, address) for transport, address in found if not address.is_unix)

    def subscribe(self) -> None:
        """Ask to be told from now on."""
        if not self.msg("SETEVENTS STREAM STATUS_CLIENT").is_ok():
            raise ControlError("events_refused")

    def asked(self) -> Iterator[Asked]:
        """What Tor is asked for, for as long as it tells."""
        heard = Heard()
        while True:
            if not self._lines.fill(QUIET_S):
                self._send("GETINFO version")
                if not self._lines.fill(ANSWER_S):
                    raise ControlError("timeout")
            message = self._receive()
            if message.content()[0][0] == _EVENT:
                yield from _read(message, heard)

    def _send(self, command: str) -> None:
        try:
            self._sock.settimeout(ANSWER_S)
            self._sock.sendall(send_formatting(command).encode())
        except OSError as error:
            raise ControlError("timeout" if isinstance(error, TimeoutError) else "closed") from None

    def _receive(self) -> ControlMessage:
        self._lines.begin()
        try:
            return recv_message(self._lines)
        except stem.SocketClosed:
            raise ControlError(self._lines.trouble) from None
        except (stem.ProtocolError, ValueError):
            raise ControlError("not_a_control_port") from None


class _Lines:
    """The socket as stem reads it, line by line, within bounds of time and length."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._deadline = 0.0
        self._room = 0
        self._ended = False
        self.trouble = "closed"
        """Why it ended."""

    def begin(self) -> None:
        """A message begins: it has so much time and room."""
        self._deadline = time.monotonic() + ANSWER_S
        self._room = MAX_MESSAGE

    def fill(self, seconds: float) -> bool:
        """Wait until there is something to read, or the end. False when the time is over."""
        return bool(self._buffer) or self._ended or self._more(seconds)

    def readline(self) -> bytes:
        """The next line, with its end; b"" behind the last one. TimeoutError; ValueError when it is too long."""
        while (end := self._buffer.find(b"\n") + 1) == 0:
            if self._ended:
                return b""
            if len(self._buffer) > self._room:
                break
            if not self._more(self._deadline - time.monotonic()):
                self.trouble = "timeout"
                raise TimeoutError
        self._room -= end
        if end == 0 or self._room < 0:
            self.trouble = "not_a_control_port"
            raise ValueError("too long")
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    def _more(self, seconds: float) -> bool:
        try:
            self._sock.settimeout(max(seconds, 0.001))
            data = self._sock.recv(_READ_BYTES)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        self._buffer += data
        self._ended = not data
        return True


def _understood(kind: str, message: ControlMessage) -> bool:
    """Make of a message what stem makes of it. Whoever answers may say anything, and stem stumbles over some of it."""
    try:
        convert(kind, message)
    except Exception:
        return False
    return True


def _read(message: ControlMessage, heard: Heard) -> list[Asked]:
    """What an event adds. Most say how a stream goes on: those are told apart before they are parsed (50 us each)."""
    words = message.content()[0][2].split(" ", 3)
    streaming = words[0] == "STREAM" and len(words) > 3 and words[2] in OPENING
    if not streaming and words[:1] + words[2:3] != ["STATUS_CLIENT", "DANGEROUS_SOCKS"]:
        return heard.other()
    if not _understood("EVENT", message):
        return heard.other()
    event = cast(Event, message)
    said = event.keyword_args
    if streaming:
        source, protocol = said.get("SOURCE_ADDR", ""), said.get("CLIENT_PROTOCOL", "")
        return heard.stream(words[2], event.positional_args[3], source, protocol)
    return heard.warned(said.get("PROTOCOL", ""), said.get("ADDRESS", ""))
