"""Who has asked Tor: the whole truth table, by values; and what of it is found."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.events import LeakFound, TorAsked
from shim.judge.correlate import Correlator
from shim.judge.memory import MIN_AGE_S
from shim.judge.reconcile import NOT_TOLD, SOCKETS, Reconciler, alike
from shim.model import Action, Command, Confidence, LeakKind

AT = 1_795_348_800.0
OURS, THEIRS = "127.0.0.1:40000", "127.0.0.1:40001"
SOCKET = "unix:/run/tor/socks"
ASKED, OTHER = "www.example.com:443", "www.example.org:443"
NOBODY = None
CONFIRMED, PROBABLE = Confidence.CONFIRMED, Confidence.PROBABLE


def reconciler(*sources: str, seen: bool) -> Reconciler:
    """The shim has asked for ASKED from each of these; `seen`: Tor has named one of its sockets before."""
    made = Reconciler()
    if seen:
        made.opened("127.0.0.1:39999", "before.example:80", AT)
        assert made.confidence("127.0.0.1:39999", "before.example:80", AT) is None
    for source in sources:
        made.opened(source, ASKED, AT)
    return made


# What the shim's own connection came from; whether Tor has named one of the shim's sockets before;
# whom Tor names now, and for which destination; whose it was.
TRUTH = [
    (OURS, True, OURS, ASKED, None),
    (OURS, True, OURS, OTHER, None),  # the socket says it: the destination need not
    (OURS, True, THEIRS, ASKED, CONFIRMED),
    (OURS, True, THEIRS, OTHER, CONFIRMED),
    (OURS, True, SOCKET, ASKED, CONFIRMED),  # the shim comes by TCP
    (OURS, True, SOCKET, OTHER, CONFIRMED),
    (OURS, True, None, ASKED, None),  # refused by SafeSocks: Tor tells the destination only
    (OURS, True, None, OTHER, PROBABLE),
    (OURS, False, OURS, ASKED, None),
    (OURS, False, OURS, OTHER, None),
    (OURS, False, THEIRS, ASKED, None),  # perhaps something stands between, and Tor names that
    (OURS, False, THEIRS, OTHER, PROBABLE),
    (OURS, False, SOCKET, ASKED, None),
    (OURS, False, SOCKET, OTHER, PROBABLE),
    (OURS, False, None, ASKED, None),
    (OURS, False, None, OTHER, PROBABLE),
    (SOCKET, False, SOCKET, ASKED, None),
    (SOCKET, False, SOCKET, OTHER, PROBABLE),
    (SOCKET, False, THEIRS, ASKED, None),
    (SOCKET, False, THEIRS, OTHER, PROBABLE),
    (SOCKET, False, None, ASKED, None),
    (SOCKET, False, None, OTHER, PROBABLE),
    # It came by TCP before, and by the unix socket now (`auto` has found that).
    (SOCKET, True, SOCKET, ASKED, None),
    (SOCKET, True, SOCKET, OTHER, PROBABLE),
    (SOCKET, True, THEIRS, ASKED, None),
    (SOCKET, True, None, OTHER, PROBABLE),
    (NOBODY, False, THEIRS, ASKED, PROBABLE),
    (NOBODY, False, SOCKET, ASKED, PROBABLE),
    (NOBODY, False, None, ASKED, PROBABLE),
    (NOBODY, True, THEIRS, ASKED, CONFIRMED),
]


@pytest.mark.parametrize(("ours", "seen", "source", "destination", "expected"), TRUTH)
def test_whose_it_was(
    ours: str | None, seen: bool, source: str | None, destination: str, expected: Confidence | None
) -> None:
    made = reconciler(*([] if ours is None else [ours]), seen=seen)
    assert made.confidence(source, destination, AT) is expected


def test_a_socket_makes_one_request_and_then_its_port_may_be_anothers() -> None:
    made = reconciler(OURS, seen=True)
    assert made.confidence(OURS, ASKED, AT) is None
    assert made.confidence(OURS, ASKED, AT) is CONFIRMED
    made.opened(OURS, ASKED, AT + 1)
    assert made.confidence(OURS, ASKED, AT + 1) is None


def test_what_was_long_ago_is_forgotten() -> None:
    made = reconciler(OURS, seen=True)
    assert made.confidence(OURS, ASKED, AT + MIN_AGE_S + 1) is CONFIRMED
    assert made.confidence(None, ASKED, AT + MIN_AGE_S + 1) is PROBABLE


def test_no_socket_is_forgotten_for_want_of_room_while_its_port_is_its_own() -> None:
    made = Reconciler()
    ports = [f"127.0.0.1:{port}" for port in range(32768, 32768 + 28232)]  # Linux' own range of ports
    assert len(ports) < SOCKETS
    for port in ports:
        made.opened(port, ASKED, AT)
    assert {made.confidence(port, OTHER, AT) for port in ports} == {None}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("WWW.Example.com:80", "www.example.com.:80"),
        ("[2001:DB8:0::1]:80", "[2001:db8::1]:80"),
        ("[::ffff:192.0.2.7]:80", "192.0.2.7:80"),
        ("127.0.0.1:4", "127.0.0.1:4"),
    ],
)
def test_spellings_of_one_place_are_alike(one: str, other: str) -> None:
    assert alike(one) == alike(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("www.example.com:80", "www.example.com:443"),
        ("www.example.com:80", "example.com:80"),
        ("192.0.2.7:80", "192.0.2.8:80"),
        ("[2001:db8::1]:80", "[2001:db8::1:80]:80"),
        ("", ":0"),
    ],
)
def test_two_places_are_not(one: str, other: str) -> None:
    assert alike(one) != alike(other)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 15), st.integers(0, 3)), max_size=60), st.randoms())
def test_many_at_once_are_never_mixed(told: list[tuple[bool, int, int]], random: object) -> None:
    """Clients of both kinds connect and ask in any order, from few ports and for few destinations."""
    made, at = reconciler(seen=True), count(int(AT))
    busy: dict[str, bool] = {}
    for ours, port, destination in told:
        source, target = f"127.0.0.1:{port}", f"{destination}.example:80"
        if source in busy:  # a port is one client's at a time: Tor tells of it, and it is free again
            assert made.confidence(source, target, next(at)) is (None if busy.pop(source) else CONFIRMED)
            continue
        busy[source] = ours
        if ours:
            made.opened(source, target, next(at))


def asked(**more: object) -> TorAsked:
    plain: dict[str, object] = {
        "at": AT,
        "stream": "t1",
        "source": THEIRS,
        "protocol": "socks5",
        "command": Command.CONNECT,
        "destination": ASKED,
        "dangerous": False,
        "refused": False,
        "confidence": CONFIRMED,
    }
    return TorAsked(**(plain | more))  # type: ignore[arg-type]


def found(**more: object) -> tuple[LeakFound, ...]:
    return Correlator().feed(asked(**more))


def test_a_request_around_the_shim_is_direct_traffic() -> None:
    (one,) = found()
    assert (one.kind, one.confidence, one.rule, one.action) == (
        LeakKind.DIRECT_TRAFFIC,
        CONFIRMED,
        "L25",
        Action.FORWARD,
    )
    assert (one.finding, one.stream, one.conn, one.query) == ("f1", "t1", None, None)
    assert (one.destination, one.port, one.protocol) == (ASKED, 443, "socks5")
    assert one.evidence == ("around_shim", "tor_stream")
    assert one.advice == "advice.direct_traffic"


@pytest.mark.parametrize(
    ("protocol", "destination", "rule", "advice"),
    [
        ("socks4", "192.0.2.7:80", "L01", "advice.address_only.socks4"),
        ("socks5", "192.0.2.7:80", "L03", "advice.address_only.socks5"),
        ("socks5", "[2001:db8::1]:80", "L19", "advice.address_only.socks5"),
        ("socks5", "[::ffff:192.0.2.7]:80", "L20", "advice.address_only.socks5"),
    ],
)
def test_where_tor_warned_the_address_is_a_finding_of_its_own(
    protocol: str, destination: str, rule: str, advice: str
) -> None:
    around, address = found(protocol=protocol, destination=destination, dangerous=True)
    assert (around.kind, around.finding, address.finding) == (LeakKind.DIRECT_TRAFFIC, "f1", "f2")
    assert (address.kind, address.rule, address.advice) == (LeakKind.ADDRESS_ONLY, rule, advice)
    assert address.confidence is Confidence.POSSIBLE, "an address alone is never more"
    assert address.evidence == ("around_shim", "tor_dangerous_socks")
    assert address.stream == "t1"


def test_what_safe_socks_refused_was_blocked_by_tor() -> None:
    around, address = found(source=None, dangerous=True, refused=True, destination="192.0.2.7:80", confidence=PROBABLE)
    assert around.action is address.action is Action.BLOCK
    assert around.confidence is PROBABLE
    assert around.evidence == ("around_shim",), "Tor told of no stream"


@pytest.mark.parametrize(("source", "reason"), [(SOCKET, NOT_TOLD), (None, NOT_TOLD), (THEIRS, "off")])
def test_why_no_program_is_known(source: str | None, reason: str) -> None:
    (one,) = found(source=source)
    assert one.process_reason == reason


def test_a_look_up_at_tors_dns_port_has_no_port_and_advice_of_its_own() -> None:
    (one,) = found(protocol="dns", command=Command.RESOLVE, destination="www.example.com:0")
    assert (one.port, one.advice) == (None, "advice.direct_traffic.dns")
