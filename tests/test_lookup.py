"""shim.proxy.lookup: RESOLVE to a real SOCKS5 server: one answer or none, and nothing left open."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from rig.plane import HandTurned
from rig.upstream import Behaviour, Upstream

from shim.address import Address
from shim.events import UpstreamFailed
from shim.model import Answer, Command, Credentials, Host, Peer, Protocol, Request
from shim.proxy.lookup import look_up
from shim.proxy.poller import EpollPoller, SelectorPoller
from shim.proxy.quota import Limits

CLIENT = Peer("127.0.0.1", 5353)


class Asking(HandTurned):
    """A plane whose upstream is asked for names."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args, limits=Limits(connect_timeout_s=2.0, reply_timeout_s=5.0))  # type: ignore[arg-type]
        self.told: list[Answer | None] = []

    def ask(self, host: Host, command: Command = Command.RESOLVE, query: str = "q1") -> None:
        request = Request(Protocol.SOCKS5, command, host, 0)
        look_up(self.plane, request, CLIENT, query, self.told.append)

    def answer(self, host: Host, command: Command = Command.RESOLVE) -> Answer | None:
        count = len(self.told)
        self.ask(host, command)
        self.until(lambda: len(self.told) > count)
        return self.told[-1]

    @property
    def failures(self) -> list[tuple[str, str | None]]:
        return [(event.error, event.query) for event in self.of(UpstreamFailed)]


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def asking(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Asking]:
    upstream.behave.clear()
    upstream.seen.clear()  # else a test waits for what an earlier one has asked for, and not for its own
    with Asking(request.param) as plane:
        plane.plane.upstream = Address.parse(upstream.address)
        yield plane
        for owner in plane.poller.owners():
            owner.abort("shutdown")
        plane.until(lambda: not upstream._open)  # its side is in this process too, and no descriptor may be left


def test_addresses_and_names_come_as_tor_says_them(asking: Asking, upstream: Upstream) -> None:
    assert asking.answer("page.test") == Answer(0, IPv4Address("93.184.216.34"), 0)
    assert asking.answer("six.test") == Answer(0, IPv6Address("2001:db8::34"), 0)
    assert asking.answer(IPv4Address("93.184.216.34"), Command.RESOLVE_PTR) == Answer(0, "page.test", 0)
    assert [(seen.command, seen.atyp) for seen in upstream.seen[-3:]] == [(0xF0, 3), (0xF0, 3), (0xF1, 1)]
    assert asking.failures == []


def test_a_refusal_is_an_answer(asking: Asking, upstream: Upstream) -> None:
    answer = asking.answer("nobody.test")
    assert answer is not None and answer.reply == 4
    upstream.behave["strange.test"] = Behaviour(reply=0xF4)
    answer = asking.answer("strange.test")
    assert answer is not None and answer.reply == 0xF4
    assert asking.failures == []


def test_over_a_unix_socket_with_credentials(asking: Asking, upstream: Upstream) -> None:
    asking.plane.upstream = Address.parse(upstream.unix)
    asking.bench.isolation = Credentials(b"leakshim", b"of this client")
    assert asking.answer("page.test") is not None
    assert (upstream.seen[-1].username, upstream.seen[-1].password) == (b"leakshim", b"of this client")


def test_no_upstream_is_no_answer_at_once(asking: Asking) -> None:
    asking.plane.upstream = None
    asking.ask("page.test", query="q7")
    assert (asking.told, asking.failures) == ([None], [("no_upstream", "q7")])


def test_an_upstream_that_is_away(asking: Asking) -> None:
    with Upstream() as gone:
        pass
    asking.plane.upstream = Address.parse(gone.address)
    assert asking.answer("page.test") is None
    assert asking.failures == [("connection_refused", "q1")]


@pytest.mark.parametrize("say", [b"", b"\x05\x00\x00", b"HTTP/1.0 400 no\r\n\r\n"])
def test_an_upstream_that_breaks_off(say: bytes, asking: Asking, upstream: Upstream) -> None:
    upstream.behave["broken.test"] = Behaviour(stop_at="reply", say=say)
    assert asking.answer("broken.test") is None
    assert len(asking.failures) == 1


def test_an_upstream_that_never_answers(asking: Asking, upstream: Upstream) -> None:
    upstream.behave["slow.test"] = Behaviour(stop_at="reply", hold=True)
    asking.ask("slow.test")
    upstream.wait_for("slow.test")
    asking.settle()
    asking.clock.advance(4)
    assert asking.told == []
    asking.clock.advance(2)
    assert (asking.told, asking.failures) == ([None], [("reply_timeout", "q1")])


def test_the_end_of_the_shim_is_no_failure_of_the_upstreams(asking: Asking, upstream: Upstream) -> None:
    upstream.behave["slow.test"] = Behaviour(stop_at="reply", hold=True)
    asking.ask("slow.test")
    upstream.wait_for("slow.test")
    for owner in asking.poller.owners():
        owner.abort("shutdown")
    assert (asking.told, asking.failures) == ([None], [])


def test_many_at_once(asking: Asking) -> None:
    for _ in range(50):
        asking.ask("page.test")
    asking.until(lambda: len(asking.told) == 50)
    assert set(asking.told) == {Answer(0, IPv4Address("93.184.216.34"), 0)}
