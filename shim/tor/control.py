"""Tor's control port, listened to by a thread of its own, over and over: what it hears is handed to the event loop.

Never keeps the loop waiting, and no failure here reaches a client. stem, which it needs, is an optional extra.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shim.address import Address
from shim.errors import ControlError
from shim.events import ControlConnected, ControlDropped, ControlFailed, Event, Fault
from shim.tor.heard import Asked

if TYPE_CHECKING:
    from shim.tor.conversation import Conversation, Listener

RETRY_S: Final = 1.0
"""Rest before the next try; twice as long each time, up to RETRY_MAX_S."""

RETRY_MAX_S: Final = 60.0

CAPACITY: Final = 4096
"""What may wait for the event loop; what is beyond is counted and dropped."""

MAX_PASSWORD: Final = 1024
"""Bytes."""

END_S: Final = 1.0
"""How long the thread may take to end."""

CallSoon = Callable[..., object]
"""loop.call_soon_threadsafe."""

Take = Callable[[float, Asked], None]
"""Takes what Tor was asked for, and when that was heard."""


class Control:
    """Tries until it is closed. All but the thread's own methods belong to the event loop."""

    def __init__(
        self, address: Address, password: Path | None, take: Take, publish: Callable[[Event], None], call_soon: CallSoon
    ) -> None:
        """`password` is the file that holds it."""
        self.listeners: tuple[Listener, ...] = ()
        """Where clients reach this Tor."""
        self._address = address
        self._password = password
        self._take = take
        self._publish = publish
        self._call_soon = call_soon
        self._lock = threading.Lock()
        self._waiting: list[Event | tuple[float, Asked]] = []
        self._dropped = 0
        self._ending = threading.Event()
        self._conversation: Conversation | None = None
        self._connected = False
        self._failed = ""
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._ending.set()
            conversation = self._conversation
        if conversation is not None:
            conversation.interrupt()
        if self._thread.is_alive():
            self._thread.join(END_S)

    def _run(self) -> None:
        """The thread: one conversation after the other."""
        rest = RETRY_S
        while not self._ending.is_set():
            self._connected = False
            try:
                self._converse()
            except ControlError as error:
                self._fail(error.error)
            except Exception as error:  # a bug here, or in stem: the shim goes on without what Tor would tell
                self._hand(Fault.of(error, time.time()))
                self._fail("fault")
            rest = RETRY_S if self._connected else min(2 * rest, RETRY_MAX_S)
            self._ending.wait(rest)

    def _converse(self) -> None:
        if find_spec("stem") is None:
            raise ControlError("no_stem")
        from shim.tor.conversation import Conversation

        conversation = Conversation(self._address)
        with self._lock:  # `close` either sees it, or has been seen
            self._conversation = None if self._ending.is_set() else conversation
        try:
            if self._conversation is not None:
                self._listen(conversation)
        finally:
            with self._lock:
                self._conversation = None
            conversation.close()

    def _listen(self, conversation: Conversation) -> None:
        conversation.connect()
        conversation.authenticate(None if self._password is None else read_password(self._password))
        self.listeners = conversation.listeners()
        conversation.subscribe()
        self._connected, self._failed = True, ""
        self._hand(ControlConnected(time.time(), str(self._address)))
        for asked in conversation.asked():
            self._hand((time.time(), asked))

    def _fail(self, error: str) -> None:
        """Tell it, but not again at each try."""
        if error != self._failed and not self._ending.is_set():
            self._failed = error
            self._hand(ControlFailed(time.time(), str(self._address), error))

    def _hand(self, item: Event | tuple[float, Asked]) -> None:
        with self._lock:
            if len(self._waiting) >= CAPACITY:
                self._dropped += 1
                return
            self._waiting.append(item)
            first = len(self._waiting) == 1
        if first:
            try:
                self._call_soon(self._drain)
            except RuntimeError:  # the loop has ended before us
                self._ending.set()

    def _drain(self) -> None:
        """In the event loop: pass on all that has come."""
        with self._lock:
            items, self._waiting = self._waiting, []
            dropped, self._dropped = self._dropped, 0
        for item in items:
            if isinstance(item, tuple):
                self._take(*item)
            else:
                self._publish(item)
        if dropped:
            self._publish(ControlDropped(time.time(), dropped))


def read_password(path: Path) -> str:
    """The first line of a file, which is all it may hold. ControlError; the password is in no message."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            text = file.read(MAX_PASSWORD + 1).decode()
    except (OSError, ValueError):
        raise ControlError("password_unreadable") from None
    password = text.removesuffix("\n").removesuffix("\r")
    if len(text.encode()) > MAX_PASSWORD or not password.isprintable():
        raise ControlError("password_unreadable")
    return password
