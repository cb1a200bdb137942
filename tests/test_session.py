"""One client from its first byte to the relay, over real sockets: what is sent, published and counted."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from rig.session import GRANTED, HANDSHAKE_S, NAME, PEER, Served
from rig.wire import (
    AUTH_OK,
    GRANTED4,
    GREETING,
    GREETING_AUTH,
    NO_AUTH,
    WITH_AUTH,
    auth,
    http_connect,
    refused5,
    socks4,
    socks5,
)

from shim.events import ConnectionClosed, HandshakeFailed, RequestDecided, UpstreamFailed
from shim.model import Action, Credentials
from shim.protocol.http_connect import HttpConnectServer
from shim.proxy.wheel import TICK_S


@pytest.fixture
def one() -> Iterator[Served]:
    """For what depends on neither the poll set nor the kind of socket."""
    with Served() as served:
        yield served


def test_from_greeting_to_relay(served: Served) -> None:
    client, upstream = served.tunnel()
    served.say(client, b"ping")
    served.hears(upstream, b"ping")
    served.say(upstream, b"pong!")
    served.hears(client, b"pong!")
    client.end()
    served.until(lambda: upstream.ended, upstream.take)
    upstream.end()
    served.until(lambda: client.ended, client.take)
    assert [type(event) for event in served.events] == [RequestDecided, ConnectionClosed]
    (decided,) = served.of(RequestDecided)
    assert (decided.conn, decided.peer, decided.listener) == ("c1", PEER, "127.0.0.1:9250")
    assert decided.request == served.bench.asked[0]
    served.closed("client_closed", sent=4, received=len(NO_AUTH + GRANTED) + 5)


def test_the_decision_is_published_before_the_upstream_is_asked(one: Served) -> None:
    client = one.connect()
    one.say(client, GREETING + NAME[:-1])
    assert one.events == []
    one.say(client, NAME[-1:])
    assert [type(event) for event in one.events] == [RequestDecided]
    one.hears(client, NO_AUTH)
    assert one.asked()


def test_byte_by_byte(served: Served) -> None:
    client = served.connect()
    for byte in GREETING + NAME:
        served.say(client, bytes([byte]))
    upstream = served.accept()
    served.hears(upstream, GREETING + NAME)
    for byte in NO_AUTH + GRANTED + b"220":
        served.say(upstream, bytes([byte]))
    served.hears(client, NO_AUTH + GRANTED + b"220")


def test_socks4a(one: Served) -> None:
    client = one.connect()
    one.say(client, socks4(b"a.test", 443))
    upstream = one.accept()
    one.hears(upstream, GREETING + NAME)
    one.say(upstream, NO_AUTH + GRANTED)
    one.hears(client, GRANTED4 + bytes(6))


def test_http_connect(one: Served) -> None:
    client = one.connect(HttpConnectServer)
    one.say(client, http_connect("a.test:443"))
    upstream = one.accept()
    one.hears(upstream, GREETING + NAME)
    one.say(upstream, NO_AUTH + GRANTED)
    client.take()
    assert client.got.startswith(b"HTTP/1.1 200 ")


def test_credentials_of_the_client_go_upstream(one: Served) -> None:
    client = one.connect()
    login = auth(b"who", b"why")
    one.say(client, GREETING_AUTH + login + NAME)
    upstream = one.accept()
    one.hears(upstream, GREETING_AUTH)
    one.say(upstream, WITH_AUTH)
    one.hears(upstream, login + NAME)
    one.say(upstream, AUTH_OK + GRANTED)
    one.hears(client, WITH_AUTH + AUTH_OK + GRANTED)


def test_isolation_gives_credentials_to_those_who_have_none(one: Served) -> None:
    one.bench.isolation = Credentials(b"made", b"up")
    _, upstream = one.request()
    one.say(upstream, WITH_AUTH)
    one.hears(upstream, GREETING_AUTH + auth(b"made", b"up") + NAME)


def test_without_pipelining(one: Served) -> None:
    one.plane.pipelining = False
    _, upstream = one.request()
    one.hears(upstream, GREETING)
    one.say(upstream, NO_AUTH)
    one.hears(upstream, NAME)


def test_a_repaired_request_carries_the_name(one: Served) -> None:
    one.judge(Action.REPAIR, host="real.test")
    _, upstream = one.request(socks5("198.18.0.1", 443))
    one.hears(upstream, GREETING + socks5(b"real.test", 443))
    (decided,) = one.of(RequestDecided)
    assert decided.request.host == IPv4Address("198.18.0.1")


def test_what_follows_the_request_at_once_is_relayed(served: Served) -> None:
    client, upstream = served.request(trailing=b"GET / ")
    served.hears(upstream, GREETING + NAME)
    served.say(upstream, NO_AUTH + GRANTED + b"220 ")
    served.say(client, b"HTTP/1.0")
    served.say(upstream, b"ready")
    served.hears(upstream, b"GET / HTTP/1.0")
    served.hears(client, GRANTED + b"220 ready")


def test_what_comes_while_waiting_is_left_alone_until_it_can_be_relayed(served: Served) -> None:
    client, upstream = served.request()
    served.say(client, b"too ")
    served.say(client, b"early")
    served.hears(upstream, GREETING + NAME)
    assert served.settle() == 0
    served.say(upstream, NO_AUTH + GRANTED)
    served.hears(upstream, b"too early")
    served.hears(client, GRANTED)


@pytest.mark.parametrize("behind", [False, True], ids=["later", "behind the request"])
def test_a_half_close_while_waiting_is_kept(served: Served, behind: bool) -> None:
    client, upstream = served.request(trailing=b"all I have" if behind else b"")
    if not behind:
        served.say(client, b"all I have")
    client.end()
    served.settle()
    served.say(upstream, NO_AUTH + GRANTED)
    served.until(lambda: upstream.ended, upstream.take)
    assert bytes(upstream.got) == GREETING + NAME + b"all I have"
    upstream.end()
    served.until(lambda: client.ended, client.take)
    served.closed("client_closed", sent=10, received=12)


def test_an_end_without_data_while_waiting_is_a_client_that_has_gone(served: Served) -> None:
    client, upstream = served.request()
    client.end()
    served.settle()
    served.closed("client_closed", received=2)
    served.until(lambda: upstream.ended, upstream.take)
    assert not served.of(UpstreamFailed)


def test_a_refusal_reaches_a_client_that_sends_more_than_it_should(served: Served) -> None:
    served.judge(Action.BLOCK)
    client = served.connect()
    served.say(client, GREETING + NAME + bytes(50_000))
    client.take()
    assert bytes(client.got) == NO_AUTH + refused5(2)


@pytest.mark.parametrize("said", [b"", b"\5", GREETING, GREETING + NAME[:-1]])
def test_gone_before_its_request(served: Served, said: bytes) -> None:
    client = served.connect()
    served.say(client, said)
    client.take()
    client.sock.close()
    served.settle()
    served.closed("client_closed", received=len(client.got))
    assert len(served.events) == 1


def test_reset_before_its_request(one: Served) -> None:
    client = one.connect()
    one.say(client, b"\5")
    client.reset()
    one.settle()
    one.closed("client_reset")
    assert len(one.events) == 1


@pytest.mark.parametrize("early", [False, True])
def test_reset_while_waiting(early: bool) -> None:
    with Served() as served:
        client, upstream = served.request()
        if early:
            served.say(client, b"early")
        client.reset()
        served.settle()
        served.closed("client_reset", received=2)
        served.until(lambda: upstream.ended, upstream.take)
        assert not served.of(UpstreamFailed)


def test_a_unix_client_gone_while_waiting() -> None:
    with Served(family="unix") as served:
        client, upstream = served.request()
        client.sock.close()
        served.settle()
        served.closed("client_reset", received=2)
        served.until(lambda: upstream.ended, upstream.take)


def test_gone_before_the_answer_could_be_sent(served: Served) -> None:
    served.judge(Action.BLOCK)
    client = served.connect()
    served.say(client, GREETING)
    client.take()
    client.sock.send(NAME)
    client.sock.close()
    served.settle()
    (event,) = served.of(ConnectionClosed)
    assert event.reason == "refused"


def test_too_slow(served: Served) -> None:
    client = served.connect()
    for byte in GREETING + NAME[:6]:  # a byte now and then wins no time
        served.say(client, bytes([byte]))
        served.clock.advance(TICK_S)
    served.clock.advance(HANDSHAKE_S - 9 * TICK_S)
    assert not served.events
    served.clock.advance(2 * TICK_S)
    served.until(lambda: client.ended, client.take)
    (failed,) = served.of(HandshakeFailed)
    assert (failed.error, failed.reply, failed.foreign) == ("timeout", b"", None)
    served.closed("timeout", received=2)


def test_one_that_waits_for_the_upstream_is_not_too_slow(served: Served) -> None:
    _, upstream = served.request()
    served.clock.advance(10 * HANDSHAKE_S)
    assert not served.of(HandshakeFailed)
    assert not served.of(ConnectionClosed)
    assert served.plane.quota.handshakes == 0
    upstream.sock.close()
