"""A namespace with a process of ours inside, which makes what can be made only there, and starts the program.

The sockets are served outside, where the descriptors go by SCM_RIGHTS; inside nothing is judged and nothing recorded.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from shim.lab.isolation import IsolationError
from shim.model import Ancestor, Process
from shim.sensor.sensor import Pair
from shim.value import value
from shim.witness.clues import Clue, Flow
from shim.witness.looking import OFF, TIMEOUT, Sighting

SOCKS_HOST: Final = "127.0.0.1"
SOCKS_PORTS: Final = (9250, 9050, 9150)
"""The shim's own port, Tor's and Tor Browser's: a program that is set up for one of them finds us there."""

HTTP_PORT: Final = 8118
"""Where Privoxy and polipo were, and Tor's examples put HTTPTunnelPort."""

SETUP_TIMEOUT_S = 20.0
ASK_TIMEOUT_S = 0.5
MAX_MESSAGE = 64 * 1024
MAX_DESCRIPTORS = 32

Message = dict[str, Any]


@value
class Setup:
    """What the process inside is told before it is forked. `folder` holds the files of `isolation.overlay`."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    hidden: tuple[str, ...]
    own_stdout: bool


class Namespace:
    """The outside's end: sockets to serve, the trap, and a channel to the process inside."""

    def __init__(self, pid: int, channel: socket.socket, about: Message, descriptors: Sequence[int]) -> None:
        self._pid = pid
        self._channel = channel
        self._asked = 0
        self._backlog: list[Message] = []
        self.user_namespace = bool(about["user_namespace"])
        self.hidden: list[str] = about["hidden"]
        self.families: list[int] = about["families"]
        self.trap_kind: str = about["trap"]
        sockets = iter(descriptors)
        self.trap = next(sockets)
        self.socks = [socket.socket(fileno=next(sockets)) for _ in SOCKS_PORTS]
        self.http = [socket.socket(fileno=next(sockets))]
        rest = [socket.socket(fileno=descriptor) for descriptor in sockets]
        self.dns: list[Pair] = list(zip(rest[::2], rest[1::2], strict=True))

    @classmethod
    def open(cls, setup: Setup) -> Self:
        """Fork, and wait until all is made inside. IsolationError. Nothing else may run in this process yet."""
        if sys.platform != "linux":
            raise IsolationError("unshare", "not_linux")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if not pid:
            ours.close()
            _be_inside(theirs, setup)
        theirs.close()
        ours.settimeout(SETUP_TIMEOUT_S)
        try:
            data, descriptors, _, _ = socket.recv_fds(ours, MAX_MESSAGE, MAX_DESCRIPTORS)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            data, descriptors = b"", []
        about = json.loads(data) if data else {"step": "setup", "knob": "ended"}
        if "step" in about:
            ours.close()
            os.waitpid(pid, 0)
            raise IsolationError(about["step"], about["knob"])
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return cls(pid, ours, about, descriptors)

    def fileno(self) -> int:
        """Readable when the inside has something to say."""
        return self._channel.fileno()

    def start(self) -> None:
        """Start the program; `started` or `failed` comes back, later `ended`, and `alone` once all it left is gone."""
        self._tell({"do": "start"})

    def signal(self, signum: int) -> None:
        """Send a signal to the program and all that descends from it."""
        self._tell({"do": "signal", "signal": signum})

    def messages(self) -> list[Message]:
        """All that the inside has said since; one `gone` when it has ended."""
        found, self._backlog = self._backlog, []
        self._channel.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._channel.recv(MAX_MESSAGE)
                if not data:
                    return [*found, {"say": "gone"}]
                found.append(json.loads(data))
        return found

    def who(self, clue: Clue | None) -> Sighting:
        """Ask inside, where the socket is, whose it is. Waits for the answer, for half a second at most."""
        if not isinstance(clue, Flow):
            return Sighting(None, OFF)
        self._asked += 1
        ends = {"client": clue.client, "server": clue.server, "transport": clue.transport, "query": clue.query}
        self._tell({"do": "who", "id": self._asked, **ends})
        self._channel.settimeout(ASK_TIMEOUT_S)
        with contextlib.suppress(OSError):
            while data := self._channel.recv(MAX_MESSAGE):
                message = json.loads(data)
                if message["say"] != "who":
                    self._backlog.append(message)
                elif message["id"] == self._asked:
                    return Sighting(_process(message["process"]), message["reason"], message["uid"])
        return Sighting(None, TIMEOUT)

    def close(self) -> None:
        """End everything that runs inside, and give up the trap; the sockets belong to who serves them."""
        self._channel.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        os.close(self.trap)

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # it has gone: `messages` says so
            self._channel.settimeout(ASK_TIMEOUT_S)
            self._channel.send(json.dumps(message).encode())


def _be_inside(channel: socket.socket, setup: Setup) -> None:
    """The child's whole life."""
    from shim.lab.inside import run

    status = 1
    try:
        run(channel, setup)
        status = 0
    except IsolationError as error:
        channel.send(json.dumps({"step": error.step, "knob": error.knob}).encode())
    finally:
        os._exit(status)


def as_keys(process: Process | None) -> Message | None:
    """A process as plain values for the channel."""
    if process is None:
        return None
    return {key: getattr(process, key) for key in _PLAIN} | {"parents": [list(each) for each in process.parents]}


_PLAIN = ("pid", "name", "exe", "start", "arguments", "label", "uid", "script", "wrapper")


def _process(keys: Message | None) -> Process | None:
    if keys is None:
        return None
    parents = tuple(Ancestor(pid, name) for pid, name in keys["parents"])
    return Process(**{**keys, "arguments": tuple(keys["arguments"]), "parents": parents})


Ask = Callable[[Clue | None], Sighting]
"""Who sent this?"""
