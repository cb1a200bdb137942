"""One Chromium, spoken to over the pipes of --remote-debugging-pipe: JSON messages, each ended by NUL.

Starts no browser, and waits for nothing without a limit.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any, Final

from shim.lab.driving import ANSWER_S, LOAD_S, DriveError

FLAG: Final = "--remote-debugging-pipe"
DESCRIPTORS: Final = (3, 4)
"""Where the browser reads commands, and where it writes answers."""

_READ_BYTES: Final = 64 * 1024

Message = dict[str, Any]


class DevTools:
    """Commands are answered in order; what the browser tells between answers is kept until it is asked for."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = bytearray()
        self._told: list[Message] = []
        self._last = 0

    def call(self, method: str, session: str | None = None, **params: Any) -> Message:
        """One command and its result. DriveError."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        self._send(json.dumps(message).encode() + b"\0")
        until = time.monotonic() + ANSWER_S
        while (answer := self._read(until)).get("id") != self._last:
            self._told.append(answer)
        if "result" not in answer:
            raise DriveError("refused")
        return dict(answer["result"])

    def wait_for(self, method: str, within_s: float, **params: Any) -> None:
        """Until the browser tells of this, with these parameters among others. DriveError."""
        until = time.monotonic() + within_s
        while True:
            message = self._told.pop(0) if self._told else self._read(until)
            if message.get("method") == method and params.items() <= message.get("params", {}).items():
                return

    def close(self) -> None:
        """Give up the pipes."""
        os.close(self._reader)
        os.close(self._writer)

    def _send(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._writer, data) :]
        except OSError:
            raise DriveError("ended") from None

    def _read(self, until: float) -> Message:
        while (end := self._buffer.find(b"\0")) < 0:
            if not select.select([self._reader], [], [], max(0.0, until - time.monotonic()))[0]:
                raise DriveError("timeout")
            data = os.read(self._reader, _READ_BYTES)
            if not data:
                raise DriveError("ended")
            self._buffer += data
        text = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError):
            raise DriveError("garbage") from None


class Chromium:
    """Loads pages one after the other, in one tab."""

    def __init__(self, tools: DevTools) -> None:
        self._tools = tools
        target = tools.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = str(tools.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        tools.call("Page.enable", self._session)
        tools.call("Page.setLifecycleEventsEnabled", self._session, enabled=True)

    def load(self, url: str) -> None:
        """Until the page and all that belongs to it is there. DriveError."""
        went = self._tools.call("Page.navigate", self._session, url=url)
        if went.get("errorText"):
            raise DriveError(str(went["errorText"]))
        if "loaderId" in went:  # else it is another place on the page that is there already
            self._tools.wait_for("Page.lifecycleEvent", LOAD_S, name="load", loaderId=went["loaderId"])

    def quit(self) -> None:
        """Ask it to end. DriveError."""
        self._tools.call("Browser.close")
