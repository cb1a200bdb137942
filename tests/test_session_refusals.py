"""Clients that get no tunnel: what they are told, what is published, and that each ends exactly once."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from rig.session import GRANTED, HANDSHAKE_S, NAME, PEER, Served
from rig.wire import (
    GREETING,
    GREETING_AUTH,
    NO_AUTH,
    REFUSED4,
    RESOLVE,
    WITH_AUTH,
    http_connect,
    refused5,
    socks4,
    socks5,
)

from shim.address import Address
from shim.events import ConnectionClosed, Event, HandshakeFailed, RequestDecided, UpstreamAnswered, UpstreamFailed
from shim.model import Action, Answer, Peer, Protocol, Reply, Request, Verdict
from shim.protocol.http_connect import HttpConnectServer
from shim.protocol.socks_server import SocksServer


@pytest.fixture
def one() -> Iterator[Served]:
    """For what depends on neither the poll set nor the kind of socket."""
    with Served() as served:
        yield served


def test_what_follows_another_protocol_is_left_unread_while_its_program_is_looked_up(served: Served) -> None:
    waiting: list[Callable[[], None]] = []
    served.plane.identify = lambda conn, sock, then: waiting.append(then) if then else None
    client = served.connect()
    served.say(client, b"GET / HTTP/1.1\r\n")
    served.say(client, b"Host: a.test\r\n\r\n")
    served.say(client, b"\5\1\0")
    assert not client.ended
    (close,) = waiting
    close()
    served.until(lambda: client.ended, client.take)
    assert len(served.of(HandshakeFailed)) == 1
    served.closed("protocol_error")


def test_a_client_of_another_protocol_may_go_before_its_program_is_known(served: Served) -> None:
    waiting: list[Callable[[], None]] = []
    served.plane.identify = lambda conn, sock, then: waiting.append(then) if then else None
    client = served.connect()
    served.say(client, b"GET / HTTP/1.1\r\n")
    client.sock.close()
    served.settle()
    waiting[0]()
    served.closed("protocol_error")


def test_a_handshake_that_has_failed_does_not_fail_again_by_its_deadline(served: Served) -> None:
    waiting: list[Callable[[], None]] = []
    served.plane.identify = lambda conn, sock, then: waiting.append(then) if then else None
    served.say(served.connect(), b"GET / HTTP/1.1\r\n")
    served.clock.advance(2 * HANDSHAKE_S)
    assert not served.of(ConnectionClosed)
    waiting[0]()
    assert [event.error for event in served.of(HandshakeFailed)] == ["not_socks"]
    served.closed("protocol_error")


def test_an_answer_that_cannot_be_sent_is_not_followed_by_another(one: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have no room for a moment; the client must not take the second answer for the first."""
    client = one.connect()
    inside = one.session._sock

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(inside, name)

        def send(self, *_: object) -> int:
            raise OSError(errno.ENOBUFS, "")

    one.session._sock = Full()  # type: ignore[assignment]
    one.say(client, GREETING)
    one.session._sock = inside
    one.settle()
    one.hears(client, b"")
    assert client.ended
    one.closed("client_closed")


@pytest.mark.parametrize(
    ("said", "error", "steps", "reply", "foreign"),
    [
        (b"\5\1\1", "no_method", b"", b"\5\xff", None),
        (GREETING + b"\5\x09" + NAME[2:], "unknown_command", NO_AUTH, refused5(1), None),
        (GREETING + socks5(b"two words", 80), "malformed_name", NO_AUTH, refused5(1), None),
        (GREETING_AUTH + b"\7", "malformed_auth", WITH_AUTH, refused5(1), None),
        (socks4("0.0.0.0", 80), "zero_address", b"", REFUSED4, None),
        (b"\x16\3\1\2\0\1", "not_socks", b"", b"", "tls"),
        (b"SSH-2.0-x\r\n", "not_socks", b"", b"", "ssh"),
        (b"GET / HTTP/1.1\r\n\r\n", "not_socks", b"", b"", "http"),
        (b"\x00\x00", "not_socks", b"", b"", "unknown"),
    ],
)
def test_a_violation_is_answered_told_and_ended(
    served: Served, said: bytes, error: str, steps: bytes, reply: bytes, foreign: str | None
) -> None:
    client = served.connect()
    served.say(client, said)
    served.until(lambda: client.ended, client.take)
    assert bytes(client.got) == steps + reply
    failed, _ = served.events
    assert isinstance(failed, HandshakeFailed)
    assert (failed.error, failed.reply, failed.foreign) == (error, reply, foreign)
    assert (failed.conn, failed.peer, failed.listener) == ("c1", PEER, "127.0.0.1:9250")
    served.closed("protocol_error", received=len(steps + reply))
    assert not served.asked()


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n" + bytes(9000)])
def test_an_http_client_may_be_told_that_this_is_no_http_port(served: Served, said: bytes) -> None:
    served.bench.hint = True
    client = served.connect()
    served.say(client, said)
    served.until(lambda: client.ended, client.take)
    assert client.got.startswith(b"HTTP/1.1 400 ")
    assert b"SOCKS" in client.got
    (failed,) = served.of(HandshakeFailed)
    assert failed.reply == client.got
    served.closed("protocol_error", received=len(client.got))


@pytest.mark.parametrize("said", [b"\x16\3\1", b"SSH-2.0-x\r\n", GREETING + b"\5\x09" + NAME[2:]])
def test_the_hint_is_for_http_clients_only(one: Served, said: bytes) -> None:
    one.bench.hint = True
    client = one.connect()
    one.say(client, said)
    one.until(lambda: client.ended, client.take)
    assert b"HTTP" not in client.got


def test_socks_on_the_http_port(one: Served) -> None:
    client = one.connect(HttpConnectServer)
    one.say(client, GREETING + NAME)
    one.until(lambda: client.ended, client.take)
    (failed,) = one.of(HandshakeFailed)
    assert (failed.error, failed.foreign) == ("not_http", "socks")


@pytest.mark.parametrize(("reply", "sent"), [(None, 2), (Reply.COMMAND_NOT_SUPPORTED, 7)])
def test_a_blocked_request_never_reaches_the_upstream(served: Served, reply: Reply | None, sent: int) -> None:
    served.judge(Action.BLOCK, reply)
    client = served.connect()
    served.say(client, GREETING + NAME)
    served.until(lambda: client.ended, client.take)
    assert bytes(client.got) == NO_AUTH + refused5(sent)
    assert not served.asked()
    assert [type(event) for event in served.events] == [RequestDecided, ConnectionClosed]
    served.closed("refused", received=12)


@pytest.mark.parametrize("code", [1, 4, 8, 0xF0, 0xF7])
def test_the_upstreams_refusal_is_passed_on(served: Served, code: int) -> None:
    client, upstream = served.request()
    served.say(upstream, NO_AUTH + refused5(code))
    served.hears(client, refused5(code))
    assert client.ended
    served.closed("upstream_refused", received=12)
    (answered,) = served.of(UpstreamAnswered)
    assert answered.answer == served.bench.answers[0] == Answer(code, IPv4Address(0), 0)


def test_resolve_is_answered_and_over(served: Served) -> None:
    client, upstream = served.request(socks5(b"a.test", 0, RESOLVE))
    served.hears(upstream, GREETING + socks5(b"a.test", 0, RESOLVE))
    found = b"\5\0\0\1\xcb\0\x71\7\0\0"
    served.say(upstream, NO_AUTH + found)
    served.hears(client, found)
    assert client.ended
    served.until(lambda: upstream.ended, upstream.take)
    served.closed("answered", received=12)
    (answered,) = served.of(UpstreamAnswered)
    assert answered.answer.host == IPv4Address("203.0.113.7")
    assert answered.request == served.bench.asked[0]


def test_there_is_no_upstream(served: Served) -> None:
    served.plane.upstream = None
    client = served.connect()
    served.say(client, GREETING + NAME)
    served.hears(client, NO_AUTH + refused5(1))
    assert client.ended
    (failed,) = served.of(UpstreamFailed)
    assert (failed.upstream, failed.error, failed.conn) == ("none", "no_upstream", "c1")
    served.closed("upstream_failed", received=12)


def test_the_upstream_cannot_be_reached(served: Served, tmp_path: Path) -> None:
    served.plane.upstream = Address(path=str(tmp_path / "none"))
    client = served.connect()
    served.say(client, GREETING + NAME)
    served.hears(client, NO_AUTH + refused5(1))
    assert client.ended
    (failed,) = served.of(UpstreamFailed)
    assert (failed.upstream, failed.error) == (f"unix:{tmp_path}/none", "no_such_socket")
    served.closed("upstream_failed", received=12)


def test_the_upstream_breaks_off(served: Served) -> None:
    client, upstream = served.request()
    upstream.sock.close()
    served.hears(client, refused5(1))
    assert client.ended
    (failed,) = served.of(UpstreamFailed)
    assert failed.error in ("closed", "connection_reset")


@pytest.mark.parametrize("stage", ["greeting", "waiting", "early", "relay"])
def test_shutdown_at_any_stage_is_told_once(served: Served, stage: str) -> None:
    if stage == "greeting":
        client = served.connect()
        served.say(client, GREETING)
    elif stage == "relay":
        client, _ = served.tunnel()
    else:
        client, _ = served.request()
        if stage == "early":
            served.say(client, b"early")
    for owner in served.poller.owners():
        owner.abort("shutdown")
    assert [event.reason for event in served.of(ConnectionClosed)] == ["shutdown"]
    assert not served.of(UpstreamFailed)
    served.until(lambda: client.ended, client.take)


def test_a_bug_in_the_judge_ends_one_connection_only(one: Served) -> None:
    one.expected_faults = 1
    judge = one.bench.judge
    _, other = one.tunnel()

    def bug(request: Request, peer: Peer, at: float) -> Verdict:
        raise ZeroDivisionError

    one.bench.judge = bug  # type: ignore[method-assign]
    client = one.connect()
    one.say(client, GREETING + NAME)
    one.until(lambda: client.ended, client.take)
    assert [event.reason for event in one.of(ConnectionClosed)] == ["fault"]
    one.bench.judge = judge  # type: ignore[method-assign]
    one.tunnel()
    assert not other.ended


def test_a_bug_in_taking_note_of_an_answer_is_a_failed_upstream_to_the_client(one: Served) -> None:
    one.expected_faults = 1

    def bug(*_: object) -> None:
        raise ZeroDivisionError

    one.bench.answered = bug  # type: ignore[method-assign]
    client, upstream = one.request(socks5(b"a.test", 0, RESOLVE))
    one.say(upstream, NO_AUTH + GRANTED)
    one.hears(client, refused5(1))
    assert client.ended
    one.closed("upstream_failed", received=12)


def test_a_bug_in_whoever_is_told_of_the_end_does_not_end_it_twice(one: Served) -> None:
    one.expected_faults = 1
    publish = one.plane.publish

    def bug(event: Event) -> None:
        if isinstance(event, ConnectionClosed):
            raise ZeroDivisionError
        publish(event)

    one.plane.publish = bug
    one.judge(Action.BLOCK)
    client = one.connect()
    one.say(client, GREETING + NAME)
    one.hears(client, NO_AUTH + refused5(2))
    assert one.plane.quota.open == 0


def test_a_wake_up_for_nothing_is_harmless(served: Served) -> None:
    client = served.connect()
    served.session.on_client(1)
    served.say(client, GREETING)
    served.hears(client, NO_AUTH)


def test_a_request_of_each_protocol_is_judged_as_what_it_is(one: Served) -> None:
    for codec, wire in (
        (SocksServer, socks4("192.0.2.1", 80)),
        (SocksServer, socks4(b"a.test", 80)),
        (SocksServer, GREETING + NAME),
        (HttpConnectServer, http_connect("a.test:443")),
    ):
        one.say(one.connect(codec), wire)
    assert [request.protocol for request in one.bench.asked] == list(Protocol)
