"""One Firefox, spoken to by Marionette: LENGTH:JSON over TCP, where a command is [0, id, name, parameters].

Starts no browser, and waits for nothing without a limit.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from shim.lab.driving import ANSWER_S, LOAD_S, START_S, DriveError

FLAG: Final = "--marionette"
PORT: Final = 2828
"""Of loopback: in a namespace of its own nobody else has it."""

PREFERENCES: Final = {"remote.prefs.recommended": False}
"""Else Marionette switches off much that may leak, such as speculative connections."""

_TRY_S: Final = 0.1
_ANSWER_PARTS: Final = 4  # [1, id, error, result]
_READ_BYTES: Final = 64 * 1024


class Marionette:
    """Commands are answered in order."""

    def __init__(self, runs: Callable[[], bool]) -> None:
        """Wait until it listens, as long as the browser `runs`. DriveError."""
        self._sock = _connect(runs)
        self._buffer = b""
        self._last = 0
        try:
            self._read()  # its greeting
        except DriveError:
            self.close()
            raise

    def call(self, name: str, within_s: float = ANSWER_S, **params: object) -> Any:
        """One command and its result. DriveError."""
        self._last += 1
        message = json.dumps([0, self._last, name, params])
        self._sock.settimeout(within_s)
        try:
            self._sock.sendall(f"{len(message.encode())}:{message}".encode())
        except OSError:
            raise DriveError("ended") from None
        answer = self._read()
        if not isinstance(answer, list) or len(answer) != _ANSWER_PARTS:
            raise DriveError("garbage")
        _, _, error, result = answer
        if error is not None:
            raise DriveError(str(error.get("error", "refused")))
        return result

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _read(self) -> Any:
        try:
            while (end := self._buffer.find(b":")) < 0:
                self._more()
            size = int(self._buffer[:end])
            while len(self._buffer) <= end + size:
                self._more()
            message = self._buffer[end + 1 : end + 1 + size]
            self._buffer = self._buffer[end + 1 + size :]
            return json.loads(message)
        except ValueError:
            raise DriveError("garbage") from None

    def _more(self) -> None:
        try:
            data = self._sock.recv(_READ_BYTES)
        except TimeoutError:
            raise DriveError("timeout") from None
        except OSError:
            data = b""
        if not data:
            raise DriveError("ended")
        self._buffer += data


class Firefox:
    """Loads pages one after the other, in one tab."""

    def __init__(self, tools: Marionette, *, trusting: bool = False) -> None:
        """`trusting`: take any certificate, that of the sandbox among others."""
        self._tools = tools
        tools.call("WebDriver:NewSession", acceptInsecureCerts=trusting, timeouts={"pageLoad": int(LOAD_S * 1000)})

    def load(self, url: str) -> None:
        """Until the page and all that belongs to it is there. DriveError."""
        self._tools.call("WebDriver:Navigate", LOAD_S + ANSWER_S, url=url)

    def quit(self) -> None:
        """Ask it to end. DriveError."""
        self._tools.call("Marionette:Quit", flags=["eForceQuit"])


def _connect(runs: Callable[[], bool]) -> socket.socket:
    until = time.monotonic() + START_S
    while True:
        sock = socket.socket()
        sock.settimeout(ANSWER_S)
        try:
            sock.connect(("127.0.0.1", PORT))
            return sock
        except OSError:
            sock.close()
        if not runs():
            raise DriveError("ended")
        if time.monotonic() > until:
            raise DriveError("timeout")
        time.sleep(_TRY_S)
