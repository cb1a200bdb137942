"""`policy.wait_for_name`: which refusals wait for the client's first bytes, what those change, and how it ends."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from rig.session import GRANTED, Served
from rig.wire import GREETING, NO_AUTH, http_connect, refused5, socks5

from shim.events import ConnectionClosed, FirstBytesSeen, RequestDecided, UpstreamAnswered, UpstreamFailed
from shim.judge.correlate import Correlator
from shim.judge.endpoints import CLIENT_FIRST_PORTS
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import (
    Action,
    Command,
    Confidence,
    Decision,
    Exposure,
    Host,
    Mode,
    Peer,
    Protocol,
    Reply,
    Request,
    Verdict,
)
from shim.policy import Policy
from shim.protocol.http_connect import HttpConnectServer
from shim.proxy.hearing import HEAR_S
from shim.rule import Rule

PEER = Peer("127.0.0.1", 40000)
HERE = "127.0.0.1:9250"
V4 = IPv4Address("93.184.216.34")
REFUSED = Decision(Action.BLOCK, "address_only", Reply.NOT_ALLOWED)
REPAIRED = Decision(Action.REPAIR, "first_bytes", host="www.example.com")


def judge(mode: Mode, *rules: Rule, **policy: object) -> Judge:
    """One that waits for names."""
    return Judge(Policy(mode, wait_for_name=True, rule=rules, **policy), AnswerMemory())  # type: ignore[arg-type]


def asked(host: Host = V4, port: int = 443, command: Command = Command.CONNECT) -> Request:
    return Request(Protocol.SOCKS5, command, host, port)


class TestWhoWaits:
    @pytest.mark.parametrize(
        ("mode", "request_", "waits"),
        [
            (Mode.BLOCK, asked(), True),
            (Mode.REPAIR, asked(), True),
            (Mode.WARN, asked(), False),
            (Mode.REPAIR, asked(port=80), True),
            (Mode.REPAIR, asked(port=22), False),
            (Mode.REPAIR, asked(port=25), False),
            (Mode.REPAIR, asked("www.example.com"), False),
            (Mode.REPAIR, asked(str(V4)), True),
            (Mode.REPAIR, asked("127.0.0.1"), False),
            (Mode.REPAIR, asked(command=Command.RESOLVE), False),
            (Mode.REPAIR, asked(command=Command.BIND), False),
        ],
    )
    def test_a_connection_to_an_address_where_clients_speak_first(
        self, mode: Mode, request_: Request, waits: bool
    ) -> None:
        verdict = judge(mode, address_as_text="block").judge(request_, PEER, 0.0)
        assert verdict.hear is (mode if waits else None)
        off = Judge(Policy(mode, address_as_text="block"), AnswerMemory()).judge(request_, PEER, 0.0)
        assert off == replace(verdict, hear=None), "what is heard of changes nothing else"

    def test_where_servers_speak_first_there_is_nothing_to_wait_for(self) -> None:
        assert {80, 443, 8080, 8443} <= CLIENT_FIRST_PORTS
        assert not {21, 22, 23, 25, 110, 143, 587, 3306, 5222} & CLIENT_FIRST_PORTS

    def test_a_rule_that_refuses_is_not_talked_round(self) -> None:
        refusing = Rule(network=("93.184.0.0/16",), allow=False)
        assert judge(Mode.REPAIR, refusing).judge(asked(), PEER, 0.0).hear is None
        another = Rule(port=(1,), mode=Mode.WARN)  # does not fit
        assert judge(Mode.REPAIR, another, Rule(mode=Mode.BLOCK)).judge(asked(), PEER, 0.0).hear is Mode.BLOCK
        assert judge(Mode.WARN, Rule(mode=Mode.REPAIR)).judge(asked(), PEER, 0.0).hear is Mode.REPAIR


class TestWhatIsHeard:
    def hear(self, one: Judge, name: str = "www.example.com", port: int = 443) -> Verdict:
        verdict = one.judge(asked(port=port), PEER, 0.0)
        return one.heard(asked(port=port), PEER, 0.1, HERE, verdict, name)

    def test_a_name_repairs_where_that_is_the_mode(self) -> None:
        verdict = self.hear(judge(Mode.REPAIR))
        assert (verdict.exposure, verdict.decision) == (Exposure.ADDRESS, REPAIRED)
        assert self.hear(judge(Mode.BLOCK)).decision == REFUSED

    def test_a_local_name_is_refused_as_ever(self) -> None:
        assert self.hear(judge(Mode.REPAIR), "router.local").decision.reason == "local_destination"

    def test_the_rules_look_at_the_name_too(self) -> None:
        refusing = Rule(suffix=("example.com",), allow=False)
        verdict = self.hear(judge(Mode.REPAIR, refusing))
        assert (verdict.decision.reason, verdict.rule) == ("refused_by_rule", 1)
        apart = self.hear(judge(Mode.REPAIR, Rule(suffix=("example.com",), isolate="destination")))
        assert (apart.decision, apart.isolate, apart.rule) == (REPAIRED, "destination", 1)
        by_program = Rule(suffix=("example.com",), program=("curl",), allow=False)
        assert self.hear(judge(Mode.REPAIR, by_program)).decision.reason == "program_unknown"

    def test_a_rejected_port_stays_rejected(self) -> None:
        verdict = self.hear(judge(Mode.REPAIR, reject_plaintext_ports=(8080,)), port=8080)
        assert (verdict.decision.reason, verdict.plaintext) == ("plaintext_port", True)

    def test_the_finding_is_raised_by_the_name(self) -> None:
        verdict = self.hear(judge(Mode.REPAIR))
        correlator = Correlator()
        (first,) = correlator.feed(RequestDecided(0.1, "c1", PEER, HERE, asked(), verdict))
        (second,) = correlator.feed(FirstBytesSeen(0.1, "c1", "tls", "www.example.com", False, False))
        assert (first.action, first.confidence, first.name) == (Action.REPAIR, Confidence.POSSIBLE, None)
        assert (second.rule, second.confidence, second.name) == ("L02", Confidence.PROBABLE, "www.example.com")
        assert second.finding == first.finding


def client_hello(name: str) -> bytes:
    """What Python's own TLS would send first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = client_hello("www.example.com")
ADDRESS = socks5("93.184.216.34", 443)
NAMED = socks5(b"www.example.com", 443)
VERDICT = Verdict(Exposure.ADDRESS, REFUSED, hear=Mode.REPAIR)


@pytest.fixture
def hearing(served: Served) -> Iterator[Served]:
    """Sessions whose next request is refused, unless its first bytes hold a name."""
    served.bench.verdict = VERDICT
    served.bench.named = replace(VERDICT, decision=REPAIRED)
    yield served


def told(served: Served) -> list[type]:
    return [type(event) for event in served.events]


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_name_is_sent_in_the_addresss_place_and_nothing_is_lost(hearing: Served, pieces: int) -> None:
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS)
    hearing.hears(client, NO_AUTH + GRANTED)
    assert not hearing.events, "nothing is decided yet"
    size = -(-len(HELLO) // pieces)
    for at in range(0, len(HELLO), size):
        assert not hearing.events
        hearing.say(client, HELLO[at : at + size])
    upstream = hearing.accept()
    hearing.hears(upstream, GREETING + NAMED)
    hearing.say(client, b" and more")
    hearing.say(upstream, NO_AUTH + GRANTED + b"hello yourself")
    hearing.hears(client, b"hello yourself")
    hearing.hears(upstream, HELLO + b" and more")
    assert told(hearing) == [RequestDecided, FirstBytesSeen]
    assert hearing.bench.names == ["www.example.com"]
    hearing.clock.turn()  # the time for hearing is over, and nobody minds
    client.end()
    upstream.end()
    hearing.until(lambda: hearing.of(ConnectionClosed))
    (closed,) = hearing.of(ConnectionClosed)
    assert (closed.sent, closed.received) == (len(HELLO) + 9, 2 + 10 + 14)


def test_a_hello_that_comes_with_the_request(hearing: Served) -> None:
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS + HELLO)
    hearing.hears(client, NO_AUTH + GRANTED)
    hearing.hears(hearing.accept(), GREETING + NAMED)


def test_http_connect_is_told_of_a_success_as_well(hearing: Served) -> None:
    client = hearing.connect(HttpConnectServer)
    hearing.say(client, http_connect("93.184.216.34:80"))
    hearing.until(lambda: bytes(client.got).endswith(b"\r\n\r\n"), client.take)
    assert client.got.startswith(b"HTTP/1.1 200 ")
    hearing.say(client, b"GET / HTTP/1.1\r\nHost: WWW.example.com:80\r\n\r\n")
    hearing.hears(hearing.accept(), GREETING + socks5(b"www.example.com", 80))


REFUSALS: list[tuple[bytes, list[type]]] = [
    (HELLO, [RequestDecided, FirstBytesSeen, ConnectionClosed]),
    (client_hello("93.184.216.34"), [RequestDecided, FirstBytesSeen, ConnectionClosed]),
    (b"SSH-2.0-x\r\n", [RequestDecided, ConnectionClosed]),
    (b"", [RequestDecided, ConnectionClosed]),
    (HELLO[:100], [RequestDecided, ConnectionClosed]),
]


@pytest.mark.parametrize(("said", "events"), REFUSALS, ids=["name", "address", "other", "silence", "half"])
def test_whoever_names_no_host_or_may_not_be_repaired_sees_it_break_off(
    hearing: Served, said: bytes, events: list[type]
) -> None:
    hearing.bench.named = None
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS)
    hearing.hears(client, NO_AUTH + GRANTED)
    if said:
        hearing.say(client, said)
    hearing.clock.turn()
    hearing.settle()
    hearing.until(lambda: client.ended, client.take)
    assert not client.got
    assert client.was_reset or hearing.family == "unix"
    assert not hearing.asked(), "nothing of it reached the upstream"
    assert told(hearing) == events
    hearing.closed("refused", received=12)


def test_it_waits_for_a_third_of_a_second(hearing: Served) -> None:
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS)
    assert HEAR_S == 0.3
    assert HEAR_S in [delay for delay, _ in hearing.clock.waiting]


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_client_that_leaves_is_told_of_once(hearing: Served, how: str) -> None:
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS)
    hearing.hears(client, NO_AUTH + GRANTED)
    getattr(client, how)()
    hearing.until(lambda: hearing.of(ConnectionClosed))
    hearing.clock.turn()
    assert told(hearing) == [RequestDecided, ConnectionClosed]
    assert hearing.of(ConnectionClosed)[0].reason in ("client_closed", "client_reset")


def test_a_client_that_leaves_while_its_name_is_on_its_way(hearing: Served) -> None:
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS + HELLO)
    hearing.hears(client, NO_AUTH + GRANTED)
    upstream = hearing.accept()
    client.end()
    hearing.say(upstream, NO_AUTH + GRANTED)
    hearing.hears(upstream, GREETING + NAMED + HELLO)
    hearing.until(lambda: upstream.ended, upstream.take)


def test_the_upstreams_refusal_cannot_be_passed_on(hearing: Served) -> None:
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS + HELLO)
    hearing.hears(client, NO_AUTH + GRANTED)
    hearing.say(hearing.accept(), NO_AUTH + refused5(5))
    hearing.until(lambda: client.ended, client.take)
    assert not client.got
    assert told(hearing) == [RequestDecided, FirstBytesSeen, UpstreamAnswered, ConnectionClosed]
    hearing.closed("upstream_refused", received=12)


def test_the_upstream_breaks_off(hearing: Served) -> None:
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS + HELLO)
    hearing.accept().sock.close()
    hearing.until(lambda: hearing.of(ConnectionClosed))
    assert told(hearing)[2:] == [UpstreamFailed, ConnectionClosed]


def test_the_upstream_is_gone_when_the_name_comes(hearing: Served) -> None:
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS)
    hearing.plane.upstream = None
    hearing.say(client, HELLO)
    hearing.closed("upstream_failed", received=12)


def test_without_an_upstream_nothing_is_promised(hearing: Served) -> None:
    hearing.plane.upstream = None
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS)
    hearing.hears(client, NO_AUTH + refused5(2))


def test_the_end_of_the_shim_is_told_once(hearing: Served) -> None:
    client = hearing.connect()
    hearing.say(client, GREETING + ADDRESS)
    for owner in hearing.poller.owners():
        owner.abort("shutdown")
    hearing.clock.turn()
    assert told(hearing) == [RequestDecided, ConnectionClosed]
    hearing.closed("shutdown", received=12)
    assert client.sock.fileno() > 0
