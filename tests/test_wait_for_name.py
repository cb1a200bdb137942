"""`policy.wait_for_name` at its edges: what clients say first, how they leave, that no byte is lost or told twice."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.plane import End
from rig.session import GRANTED, HANDSHAKE_S, Served
from rig.wire import AUTH_OK, GRANTED4, GREETING, GREETING_AUTH, NO_AUTH, WITH_AUTH, auth, http_connect, socks4, socks5
from test_first_bytes import client_hello, extension, made_hello, records

from shim.address import Address
from shim.events import ConnectionClosed, Event, FirstBytesSeen, RequestDecided, UpstreamFailed
from shim.model import Action, Decision, Exposure, Mode, Reply, Verdict
from shim.protocol.first_bytes import MAX_HELD
from shim.protocol.http_connect import HttpConnectServer
from shim.proxy.hearing import HEAR_S

NAME = "www.example.com"
HELLO = client_hello(NAME)
ECH = records(
    made_hello(
        extension(0, b"\0\x0d\0\0\x0aouter.test") + extension(0xFE0D, bytes(200)) + extension(0x33, bytes(1300))
    ),
    400,
)
"""A hello in four records, whose encrypted_client_hello may hide another name."""

HTTP = b"POST / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 4\r\n\r\nbody"
ADDRESS, NAMED = socks5("93.184.216.34", 443), socks5(NAME.encode(), 443)
REFUSED = Verdict(Exposure.ADDRESS, Decision(Action.BLOCK, "address_only", Reply.NOT_ALLOWED), hear=Mode.REPAIR)
REPAIRED = replace(REFUSED, decision=Decision(Action.REPAIR, "first_bytes", host=NAME))


@pytest.fixture
def hearing() -> Iterator[Served]:
    with waiting() as served:
        yield served


def waiting() -> Served:
    served = Served()
    served.bench.verdict = REFUSED
    served.bench.named = REPAIRED
    return served


def asks(served: Served, early: bytes = b"") -> End:
    """A client that was told of a success that nobody has promised."""
    client = served.connect()
    served.say(client, GREETING + ADDRESS + early)
    served.hears(client, NO_AUTH + GRANTED)
    return client


def told(served: Served) -> list[type[Event]]:
    return [type(event) for event in served.events]


def breaks_off(served: Served, client: End) -> None:
    """The client is cut off, nothing has gone upstream, and it is told once."""
    served.until(lambda: client.ended, client.take)
    assert not client.got
    assert not served.asked()
    assert len(served.of(RequestDecided)) == len(served.of(ConnectionClosed)) == 1
    assert served.of(RequestDecided)[0].verdict == REFUSED
    served.closed("refused", received=12)


class TestWhatIsSaidFirst:
    def test_byte_by_byte(self, hearing: Served) -> None:
        client = asks(hearing)
        for byte in HELLO:
            hearing.say(client, bytes((byte,)))
        hearing.hears(hearing.accept(), GREETING + NAMED)

    def test_in_several_records_with_a_name_that_may_be_an_outer_one(self, hearing: Served) -> None:
        """The name is sent all the same: browsers send the extension to everybody, and where it is meant, whoever bears
        the outer name is whom the client connects to.
        """
        client = asks(hearing)
        for at in range(0, len(ECH), 700):
            hearing.say(client, ECH[at : at + 700])
        hearing.accept()
        (seen,) = hearing.of(FirstBytesSeen)
        assert (seen.name, seen.encrypted) == ("outer.test", True)
        assert hearing.bench.names == ["outer.test"]

    def test_a_request_with_a_body(self, hearing: Served) -> None:
        client = asks(hearing, HTTP)
        upstream = hearing.accept()
        hearing.hears(upstream, GREETING + NAMED)
        hearing.say(upstream, NO_AUTH + GRANTED)
        hearing.hears(upstream, HTTP)
        client.end()

    @pytest.mark.parametrize(
        "said",
        [
            b"\0",
            b"\xff" * 300,
            b"\x16\x03\x01\x00\x00" + bytes(50),
            b"\x16\x03\x01\xff\xff" + bytes(50),
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: -bad-.test\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: 93.184.216.34\r\n\r\n",
            b"\x05\x01\x00",
        ],
        ids=["NUL", "noise", "empty record", "huge record", "no Host", "no name", "an address", "SOCKS again"],
    )
    def test_what_names_no_host_ends_it_at_once(self, hearing: Served, said: bytes) -> None:
        client = asks(hearing)
        hearing.say(client, said)
        breaks_off(hearing, client)
        assert hearing.bench.names == []

    def test_more_than_is_held_ends_it(self, hearing: Served) -> None:
        client = asks(hearing)
        endless = b"GET /" + b"a" * (MAX_HELD - 5)
        for at in range(0, len(endless), 4000):
            assert not hearing.events
            hearing.say(client, endless[at : at + 4000])
        breaks_off(hearing, client)

    def test_a_server_that_should_speak_first_is_never_reached(self, hearing: Served) -> None:
        """A mail server on 443: its client says nothing, and is refused when the time is over."""
        client = asks(hearing)
        hearing.settle()
        assert (hearing.events, [delay for delay, _ in hearing.clock.waiting].count(HEAR_S)) == ([], 1)
        hearing.clock.turn()
        breaks_off(hearing, client)
        assert told(hearing) == [RequestDecided, ConnectionClosed]

    def test_what_comes_after_the_time_is_heard_by_nobody(self, hearing: Served) -> None:
        client = asks(hearing)
        client.sock.send(HELLO)  # on its way, and not yet read
        hearing.clock.turn()
        hearing.settle()
        breaks_off(hearing, client)
        assert hearing.bench.names == []

    def test_the_time_ends_while_half_of_it_is_there(self, hearing: Served) -> None:
        client = asks(hearing, HELLO[:-1])
        hearing.clock.turn()
        breaks_off(hearing, client)

    def test_the_handshakes_own_time_does_not_go_on(self, hearing: Served) -> None:
        client = asks(hearing, HELLO)
        hearing.clock.advance(2 * HANDSHAKE_S)
        upstream = hearing.accept()
        hearing.hears(upstream, GREETING + NAMED)
        client.end()


@given(st.binary(max_size=60), st.lists(st.integers(0, 2000), max_size=6), st.sampled_from((HELLO, HTTP, ECH)))
def test_all_that_was_said_arrives_once_and_in_order(more: bytes, cuts: list[int], first: bytes) -> None:
    """However it is cut, with whatever behind it: what the client said is what the destination reads."""
    said = first + more
    edges = [0, *sorted(cut % (len(said) + 1) for cut in cuts), len(said)]
    with waiting() as served:
        client = asks(served)
        upstream = None
        for start, end in itertools.pairwise(edges):
            client.sock.send(said[start:end])
            served.settle()
        upstream = served.accept()
        served.hears(upstream, GREETING + NAMED)
        served.say(upstream, NO_AUTH + GRANTED + b"and back")
        served.hears(client, b"and back")
        served.hears(upstream, said)
        client.end()
        served.until(lambda: upstream.ended, upstream.take)
        upstream.end()
        served.until(lambda: served.of(ConnectionClosed))
        served.closed("client_closed", sent=len(said), received=12 + 8)
        assert told(served) == [RequestDecided, FirstBytesSeen, ConnectionClosed]


class TestEveryProtocol:
    def test_socks4(self, hearing: Served) -> None:
        client = hearing.connect()
        hearing.say(client, socks4("93.184.216.34", 443))
        hearing.until(lambda: len(client.got) == 8, client.take)
        assert client.got.startswith(GRANTED4)
        hearing.say(client, HELLO)
        hearing.hears(hearing.accept(), GREETING + NAMED)

    def test_http_connect_that_is_refused_after_all(self, hearing: Served) -> None:
        hearing.bench.named = None
        client = hearing.connect(HttpConnectServer)
        hearing.say(client, http_connect("93.184.216.34:443"))
        hearing.until(lambda: bytes(client.got).endswith(b"\r\n\r\n"), client.take)
        said = len(client.got)
        hearing.say(client, HELLO)
        hearing.until(lambda: client.ended, client.take)
        assert (client.got.startswith(b"HTTP/1.1 200 "), len(client.got)) == (True, said), "no second answer"
        hearing.closed("refused", received=said)

    def test_credentials_go_with_the_name(self, hearing: Served) -> None:
        client = hearing.connect()
        hearing.say(client, GREETING_AUTH + auth(b"u\xff", b"p") + ADDRESS)
        hearing.hears(client, WITH_AUTH + AUTH_OK + GRANTED)
        hearing.say(client, HELLO)
        upstream = hearing.accept()
        hearing.hears(upstream, GREETING_AUTH)
        hearing.say(upstream, WITH_AUTH)
        hearing.hears(upstream, auth(b"u\xff", b"p") + NAMED)

    def test_so_do_those_of_the_policy(self, hearing: Served) -> None:
        hearing.bench.named = replace(REPAIRED, isolate="destination")
        asks(hearing, HELLO)
        upstream = hearing.accept()
        hearing.hears(upstream, GREETING_AUTH)
        hearing.say(upstream, WITH_AUTH)
        hearing.hears(upstream, auth(b"destination", b"") + NAMED)


class TestHowItEnds:
    @pytest.mark.parametrize("how", ["end", "reset"])
    def test_the_client_leaves_with_half_a_hello(self, hearing: Served, how: str) -> None:
        client = asks(hearing, HELLO[:50])
        getattr(client, how)()
        hearing.until(lambda: hearing.of(ConnectionClosed))
        hearing.clock.turn()
        hearing.settle()
        assert told(hearing) == [RequestDecided, ConnectionClosed]
        assert not hearing.asked()

    def test_the_client_is_reset_while_its_name_is_on_its_way(self, hearing: Served) -> None:
        client = asks(hearing, HELLO)
        upstream = hearing.accept()
        client.reset()
        hearing.until(lambda: hearing.of(ConnectionClosed))
        hearing.closed("client_reset", received=12)
        hearing.until(lambda: upstream.ended, upstream.take)

    def test_nobody_listens_upstream(self, hearing: Served) -> None:
        hearing.plane.upstream = Address("127.0.0.1", free_port(hearing))
        client = asks(hearing, HELLO)
        hearing.until(lambda: client.ended, client.take)
        assert told(hearing) == [RequestDecided, FirstBytesSeen, UpstreamFailed, ConnectionClosed]
        hearing.closed("upstream_failed", received=12)

    @pytest.mark.parametrize("said", [b"", HELLO[:50], HELLO], ids=["silent", "half", "named"])
    def test_the_shim_ends_meanwhile(self, hearing: Served, said: bytes) -> None:
        client = asks(hearing, said)
        assert hearing.plane.quota.open == 1, "a drain waits for it"
        for owner in hearing.poller.owners():
            owner.abort("shutdown")
        hearing.clock.turn()
        hearing.settle()
        assert len(hearing.of(RequestDecided)) == len(hearing.of(ConnectionClosed)) == 1
        hearing.closed("shutdown", received=12)
        hearing.until(lambda: client.ended, client.take)

    def test_many_at_once_each_end_their_own_way(self, hearing: Served) -> None:
        """Said, silent, half and gone, in any order: one decision and one end each."""
        clients = [asks(hearing, early) for early in (HELLO, b"", HELLO[:70], b"noise", HELLO, b"") for _ in range(4)]
        for client in clients[4:8]:
            client.end()
        hearing.settle()
        hearing.clock.turn()
        hearing.settle()
        for owner in hearing.poller.owners():
            owner.abort("shutdown")
        decided = [event.conn for event in hearing.of(RequestDecided)]
        closed = [event.conn for event in hearing.of(ConnectionClosed)]
        assert len(set(decided)) == len(decided) == len(set(closed)) == len(closed) == len(clients)
        repaired = [event for event in hearing.of(RequestDecided) if event.verdict.decision.action is Action.REPAIR]
        assert len(repaired) == len(hearing.bench.names) == 8


def free_port(served: Served) -> int:
    """One that nobody listens on, and that nobody gets as long as it is held."""
    held = served.closing(socket.socket())
    held.bind(("127.0.0.1", 0))
    return int(held.getsockname()[1])
