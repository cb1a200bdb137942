"""One real session with its far ends in a fuzzer's hands: real sockets, a plane turned by hand, the model beside it."""

from __future__ import annotations

import atexit
import contextlib
import socket
import sys
from collections.abc import Callable

from rig.plane import End, FixedBench
from rig.session import Served

from fuzz.model import Owed, Setting, owed
from fuzz.shelf import scratch
from shim.address import Address
from shim.events import ConnectionClosed, HandshakeFailed, RequestDecided
from shim.model import PENDING, Peer, Process, Request, Sought, Verdict
from shim.proxy.poller import Poller
from shim.proxy.quota import Limits

LIMITS = Limits(handshake_timeout_s=2, connect_timeout_s=2, reply_timeout_s=3, idle_timeout_s=0)
ALL_S = 12
"""More than all deadlines together."""

PLACE = scratch()
UPSTREAM = socket.socket(socket.AF_UNIX)
UPSTREAM.bind(str(PLACE / "upstream"))
UPSTREAM.listen(8)
UPSTREAM.setblocking(False)
atexit.register(UPSTREAM.close)
CONNECTED: list[object] | None = None
"""Where this process has connected to, while somebody wants to know."""


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if CONNECTED is not None and event.startswith("socket."):
        if event == "socket.connect":
            CONNECTED.append(arguments[1])
        elif event not in ("socket.__new__", "socket.bind"):
            CONNECTED.append(event)  # a name looked up, a datagram sent


sys.addaudithook(_audit)


class Side(End):
    """A far end with the stream that it has to say: whatever position, the bytes there are known."""

    def __init__(self, sock: socket.socket, stream: Callable[[int], bytes]) -> None:
        super().__init__(sock)
        self.stream = stream
        self.reads = False
        self.said = 0
        self.over = False
        self.gone = False

    def say(self, count: int) -> None:
        """So much more of it."""
        if not self.over and not self.gone:
            self.outbox = memoryview(bytes(self.outbox) + self.stream(self.said + count)[self.said :])
            self.said += count
            self.pump()

    def push(self) -> None:
        """What can go goes, and the end behind it where that is wanted."""
        if not self.gone:
            self.pump()
            if self.over and not self.outbox:
                with contextlib.suppress(OSError):
                    self.end()

    def leave(self, by_reset: bool) -> None:
        """Be gone."""
        if not self.gone:
            self.gone = True
            if by_reset and self.sock.family != socket.AF_UNIX:
                self.reset()
            else:
                self.sock.close()

    @property
    def spoken(self) -> bytes:
        """What it has said so far."""
        return self.stream(self.said)


class Judging(FixedBench):
    """Judges as the setting says."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting, self.named = setting, setting.named
        self.isolation, self.hint = setting.isolation, setting.hint
        self.pending = False

    def judge(
        self,
        request: Request,
        _peer: Peer,
        _at: float,
        _listener: str = "",
        _process: Process | None = None,
        sought: Sought = Sought.NOT_YET,
    ) -> Verdict:
        return PENDING if self.pending and sought is Sought.NOT_YET else self.setting.judged(request)


class Table(Served):
    """A session, its client, and its upstream once it is asked."""

    def __init__(self, poller: type[Poller], family: str, over_tcp: bool, setting: Setting) -> None:
        super().__init__(poller, family)
        self.setting = setting
        self.plane.quota.limits = LIMITS
        if not over_tcp:
            self.listener.close()
            self.listener = UPSTREAM
            self.plane.upstream = Address(path=str(PLACE / "upstream"))
        self.target = self.plane.upstream
        if not setting.upstream:
            self.plane.upstream = None
        self.plane.pipelining = setting.pipelining
        self.plane.bench = self.judging = Judging(setting)
        self.upstream: Side | None = None
        self.later: list[Callable[[], None]] = []
        """Look-ups that are under way."""

    def seat(self, said: Callable[[int], bytes]) -> None:
        """A client comes, and from now on nobody may connect anywhere else."""
        global CONNECTED
        self.client = Side(self.connect(self.setting.codec).sock, said)
        CONNECTED = []

    def look_up(self, pending: bool) -> None:
        """Programs are looked up, and take their time."""
        self.plane.identify = lambda _conn, _sock, then: self.later.append(then) if then else None
        if pending:
            self.plane.whose = lambda _conn, _sock, then: self.later.append(lambda: then(None, Sought.ENDED))
            self.judging.pending = True

    def found(self) -> None:
        """The look-ups are over."""
        while self.later:
            self.later.pop(0)()

    def accept_upstream(self, said: Callable[[int], bytes]) -> None:
        """The upstream takes what has come, if anything has."""
        with contextlib.suppress(BlockingIOError):
            sock = self.closing(self.listener.accept()[0])
            assert self.upstream is None, "one request, one connection"
            self.upstream = Side(sock, said)

    def owed(self) -> Owed:
        """What the model says by now."""
        upstream = self.upstream
        return owed(self.setting, self.client.spoken, upstream.spoken if upstream else b"")

    def check(self) -> Owed:
        """What has come so far is what could have come."""
        model, upstream = self.owed(), self.upstream
        got = bytes(upstream.got) if upstream else b""
        assert model.may_have_sent(bytes(self.client.got), got), (model, self.client.got[:99], got[:99])
        assert upstream is None or model.asks, "a refused request reached the upstream"
        assert all(where == self._where() for where in CONNECTED or ()), "only the upstream is ever connected to"
        return model

    def _where(self) -> object:
        target = self.target
        assert target is not None
        return target.path if target.is_unix else (target.host, target.port)

    def through(self) -> None:
        """Both ways are open: all that was said has to arrive, and both ends."""
        client, upstream = self.client, self.upstream
        assert upstream is not None
        for side in (client, upstream):
            side.reads = side.over = True
        self.until(lambda: client.ended and upstream.ended, lambda: (client.push(), upstream.push()))
        model = self.check()
        assert bytes(client.got) == model.steps + model.client
        assert bytes(upstream.got) == model.upstream
        assert not client.was_reset
        assert not upstream.was_reset

    def rise(self) -> None:
        """Both ends go; nothing is left of the session but its one closing event."""
        global CONNECTED
        self.settle()
        for side in (self.client, self.upstream):
            if side is not None:
                side.take()
        self.check()
        CONNECTED = None
        for side in (self.client, self.upstream):
            if side is not None:
                side.leave(False)
        self.settle()
        self.found()
        self.settle()
        with contextlib.suppress(BlockingIOError):
            while True:
                self.listener.accept()[0].close()
        self.clock.advance(ALL_S)
        self.settle()
        assert not self.poller.owners(), "somebody is still registered"
        assert not len(self.plane.wheel), "somebody still has a deadline"
        told = [type(event) for event in self.events]
        assert told.count(ConnectionClosed) == 1, told
        assert told[-1] is ConnectionClosed, told
        assert told.count(RequestDecided) + told.count(HandshakeFailed) <= 1, told
