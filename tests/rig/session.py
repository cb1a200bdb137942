"""Sessions over real sockets: the client's end and the upstream's are in the test's hands."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable

from rig.plane import PAIRS, End, HandTurned
from rig.wire import (
    GREETING,
    NO_AUTH,
    refused5,
    socks5,
)
from shim.address import Address
from shim.events import ConnectionClosed
from shim.model import Action, Decision, Exposure, Peer, Reply, Verdict
from shim.protocol import ServerCodec
from shim.protocol.socks_server import SocksServer
from shim.proxy.plane import Ticket
from shim.proxy.poller import EpollPoller, Poller, SelectorPoller
from shim.proxy.quota import Limits
from shim.proxy.session import Session

NAME = socks5(b"a.test", 443)
GRANTED = refused5(0)
HANDSHAKE_S = 5.0
PEER = Peer("127.0.0.1", 40000)


class Served(HandTurned):
    """A plane with sessions; `upstream` is the far end of their next upstream leg."""

    def __init__(self, poller: type[Poller] = EpollPoller, family: str = "tcp") -> None:
        super().__init__(poller, limits=Limits(handshake_timeout_s=HANDSHAKE_S))
        self.family = family
        self.listener = self.closing(socket.socket())
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.listener.setblocking(False)
        self.plane.upstream = Address(*self.listener.getsockname())

    def connect(self, codec: Callable[[], ServerCodec] = SocksServer) -> End:
        """A new client; its end."""
        near, inner = PAIRS[self.family]()
        ticket = Ticket(self.plane, PEER)
        assert self.plane.quota.admit(ticket.key) is None
        self.session = Session(self.plane, ticket, inner, codec(), "127.0.0.1:9250")
        self.session.start()
        return End(self.closing(near))

    def say(self, end: End, data: bytes) -> None:
        """Send it in one segment, and let the plane see it."""
        end.sock.send(data)
        self.settle()

    def accept(self) -> End:
        """The upstream's end of the connection that the last request made."""
        self.settle()
        return End(self.closing(self.listener.accept()[0]))

    def asked(self) -> bool:
        """Whether anybody connected to the upstream."""
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def hears(self, end: End, expected: bytes) -> None:
        """That this, and no more, has come."""
        self.until(lambda: len(end.got) >= len(expected) or end.ended, end.take)
        self.settle()
        end.take()
        assert bytes(end.got) == expected
        end.got.clear()

    def request(self, wire: bytes = NAME, trailing: bytes = b"") -> tuple[End, End]:
        """A client that has asked for something, and the upstream that has to answer."""
        client = self.connect()
        self.say(client, GREETING + wire + trailing)
        self.hears(client, NO_AUTH)
        return client, self.accept()

    def tunnel(self) -> tuple[End, End]:
        """A client and an upstream with a tunnel between."""
        client, upstream = self.request()
        self.hears(upstream, GREETING + NAME)
        self.say(upstream, NO_AUTH + GRANTED)
        self.hears(client, GRANTED)
        return client, upstream

    def closed(self, reason: str, sent: int = 0, received: int = 0) -> None:
        """The one connection has ended so."""
        (event,) = self.of(ConnectionClosed)
        assert (event.reason, event.sent, event.received) == (reason, sent, received)
        assert event.seconds >= 0

    def judge(self, action: Action, reply: Reply | None = None, host: str | None = None) -> None:
        """From now on."""
        self.bench.verdict = Verdict(Exposure.ADDRESS, Decision(action, reply=reply, host=host))


VARIANTS = list(itertools.product((EpollPoller, SelectorPoller), PAIRS))
NAMES = [f"{poller.__name__[:5].lower()}-{family}" for poller, family in VARIANTS]
