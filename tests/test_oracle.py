"""The same bytes to a real tor and to the shim: same acceptance, same reply, same verdict.

Tor is taken one step at a time; where it answers pipelined input otherwise, that is shown to be lost replies only.
Each way of sending each case asks for an address of its own: after a failed attempt tor stops judging an address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from rig.cases import CASES, Case, Fresh, Steps
from rig.differences import DIFFERENCES
from rig.oracle import WAYS, Outcome, ask_shim, ask_tor, hidden, is_subsequence
from rig.programs import missing, require_program
from rig.shim import Shim
from rig.tor import OLDEST, Tor, version
from rig.upstream import Behaviour, Upstream
from rig.wire import (
    AUTH_OK,
    GRANTED4,
    GREETING,
    GREETING_AUTH,
    NO_AUTH,
    REFUSED4,
    WITH_AUTH,
    Client,
    ask,
    auth,
    http_connect,
    refused5,
    socks4,
    socks5,
)

pytestmark = pytest.mark.oracle

MODES = {0: "warn", 1: "block"}


@pytest.fixture(scope="module")
def tor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tor]:
    program = require_program("tor")
    if version(program) < OLDEST:
        missing(f"needs tor {'.'.join(map(str, OLDEST))} or newer")
    with Tor(program, tmp_path_factory.mktemp("tor")) as process:
        yield process


@pytest.fixture(scope="module")
def silent() -> Iterator[Upstream]:
    """An upstream that accepts every request and never replies, as the oracle does."""
    with Upstream() as server:
        server.behaviour = Behaviour(stop_at="reply", hold=True)
        yield server


@pytest.fixture(scope="module")
def shims(silent: Upstream) -> Iterator[dict[int, Shim]]:
    """The shim's analogue of SafeSocks 0 and of SafeSocks 1."""
    with (
        Shim("--mode", MODES[0], upstream=silent.address) as warn,
        Shim("--mode", MODES[1], upstream=silent.address) as block,
    ):
        yield {0: warn, 1: block}


@pytest.fixture(scope="module")
def before_tor(tor: Tor) -> Iterator[Shim]:
    """The shim with that same tor as its upstream."""
    with Shim("--http", "127.0.0.1:0", upstream=tor.socks) as process:
        yield process


@pytest.mark.parametrize("safe", [0, 1], ids=["SafeSocks0", "SafeSocks1"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_the_shim_answers_as_tor_does(
    case: Case, safe: int, tor: Tor, shims: dict[int, Shim], silent: Upstream
) -> None:
    tor.set(SafeSocks=safe)
    expected = ask_tor(tor, case, "steps")
    assert ask_tor(tor, case, "halves") == expected
    lossy = ask_tor(tor, case, "whole")
    assert replace(lossy, reply=expected.reply) == expected
    assert is_subsequence(lossy.reply, expected.reply), "pipelining loses replies of tor's, and does nothing else"
    if difference := DIFFERENCES.get(case.sentence):
        assert difference.instead(expected) != expected or safe, "no difference any more: take it off the list"
        expected = difference.instead(expected)
    for way in WAYS:
        assert ask_shim(shims[safe], silent, case, way) == expected, way


@pytest.mark.parametrize("safe", [0, 1], ids=["SafeSocks0", "SafeSocks1"])
def test_socks4_is_unsafe_and_socks4a_is_safe_never_the_other_way_round(
    safe: int, tor: Tor, shims: dict[int, Shim], silent: Upstream
) -> None:
    """Tor had the two exchanged under SafeSocks for four years (TROVE-2022-002)."""
    tor.set(SafeSocks=safe)
    unsafe = Case("socks4", lambda fresh: (socks4(fresh.v4, 80),))
    harmless = Case("socks4a", lambda fresh: (socks4(fresh.name, 80),))
    for ask_it in (lambda case: ask_tor(tor, case, "steps"), lambda case: ask_shim(shims[safe], silent, case, "steps")):
        assert ask_it(harmless) == Outcome("NAME:80", b"", unsafe=False)
        assert ask_it(unsafe) == (Outcome(None, REFUSED4, True) if safe else Outcome("V4:80", b"", True))


def test_every_known_difference_belongs_to_a_case() -> None:
    assert DIFFERENCES.keys() <= {case.sentence for case in CASES}


def test_tor_praises_what_it_has_just_warned_of_and_the_shim_does_not(tor: Tor, shims: dict[int, Shim]) -> None:
    """Known difference: with TestSocks 1 tor says "This is good" of a SOCKS5 request for an address."""
    address = Fresh.new().v4
    tor.set(SafeSocks=0, TestSocks=1)
    before, mark = tor.mark(), shims[0].mark()
    for where in (tor.socks, shims[0].socks):
        with Client(where) as client:
            client.send(GREETING + socks5(address, 80))
            assert client.read(2) == NO_AUTH
            client.reset()
    said = " ".join(tor.log(before))
    tor.set(TestSocks=0)
    assert "giving Tor only an IP address" in said
    assert "This is good" in said
    conn = shims[0].wait_for("leak_found", mark, kind="address_only", destination=f"{address}:80")["conn"]
    shims[0].closed(mark, conn=conn)
    assert len(shims[0].find("leak_found", mark, conn=conn, revision=1)) == 1
    assert "good" not in "".join(shims[0].raw[mark:])


def test_tor_is_silent_of_an_address_written_as_text_and_the_shim_is_not(tor: Tor, shims: dict[int, Shim]) -> None:
    """Known difference: tor takes an address in the name field for a name, on purpose; the shim has a class for it."""
    address = Fresh.new().v4
    tor.set(SafeSocks=1)
    before, mark = tor.mark(), shims[1].mark()
    for where in (tor.socks, shims[1].socks):
        with Client(where) as client:
            client.send(GREETING + socks5(address.encode(), 80))
            assert client.read(2) == NO_AUTH
            client.reset()
    assert not [line for line in tor.log(before) if "DANGEROUS" in line or "IP address" in line]
    finding = shims[1].wait_for("leak_found", mark, kind="address_as_text", destination=f"{address}:80")
    assert finding["action"] == "forward"
    shims[1].closed(mark, conn=finding["conn"])


class TestThroughTheShim:
    """What tor sees with the shim in between is what it sees without: target, form of the address, credentials."""

    @pytest.mark.parametrize(
        ("sentence", "steps"),
        [
            ("name", lambda f: (GREETING, socks5(f.name, 443))),
            ("name in upper case", lambda f: (GREETING, socks5(f.name.upper(), 443))),
            ("name with a trailing dot", lambda f: (GREETING, socks5(f.name + b".", 443))),
            ("IPv4 address", lambda f: (GREETING, socks5(f.v4, 443))),
            ("IPv6 address", lambda f: (GREETING, socks5(f.v6, 443))),
            ("address as text", lambda f: (GREETING, socks5(f.v4.encode(), 443))),
            ("IPv6 address as text in brackets", lambda f: (GREETING, socks5(b"[" + f.v6.encode() + b"]", 443))),
            ("RESOLVE", lambda f: (GREETING, socks5(f.name, 0, 0xF0))),
            ("RESOLVE_PTR", lambda f: (GREETING, socks5(f.v4, 0, 0xF1))),
            ("credentials", lambda f: (GREETING_AUTH, auth(b"us er", b'p"\\\xff'), socks5(f.name, 443))),
            ("empty password", lambda f: (GREETING_AUTH, auth(b"user", b""), socks5(f.name, 443))),
            ("isolation by proposal 351", lambda f: (GREETING_AUTH, auth(b"<torS0X>0", b"x"), socks5(f.name, 443))),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_tor_sees_the_same_request(
        self, sentence: str, steps: Callable[[Fresh], Steps], tor: Tor, before_tor: Shim
    ) -> None:
        seen = []
        tor.set(SafeSocks=0)
        for where in (tor.socks, before_tor.socks):
            fresh, mark = Fresh.new(), tor.mark()
            with Client(where) as client:
                *greetings, request = steps(fresh)
                for step in greetings:
                    client.send(step)
                    client.read(2)
                client.send(request)
                stream = tor.wait_for_stream(mark)
            seen.append((hidden(stream.target, fresh), stream.username, stream.password, stream.unsafe is not None))
        assert seen[0] == seen[1]

    def test_a_user_id_is_the_username_and_what_exceeds_it_the_password(self, tor: Tor, before_tor: Shim) -> None:
        mark = tor.mark()
        with Client(before_tor.socks) as client:
            client.send(socks4(Fresh.new().name, 80, user=b"u" * 255 + b"rest"))
            stream = tor.wait_for_stream(mark)
        assert (stream.username, stream.password) == ("u" * 255, "rest")

    def test_basic_authorization_becomes_credentials(self, tor: Tor, before_tor: Shim) -> None:
        mark = tor.mark()
        with Client(before_tor.http) as client:
            client.send(http_connect(f"{Fresh.new().name.decode()}:443", "Proxy-Authorization: Basic dXNlcjpwYXNz"))
            stream = tor.wait_for_stream(mark)
        assert (stream.username, stream.password) == ("user", "pass")

    def test_a_refusal_of_tor_reaches_the_client_whole(self, tor: Tor, before_tor: Shim) -> None:
        """Tor drops its method reply before a refusal of pipelined input; the client is owed it all the same."""
        tor.set(SafeSocks=1)
        try:
            assert ask(before_tor.socks, (GREETING, 2), (socks5(Fresh.new().v4, 80), 0)) == NO_AUTH + refused5(2)
            assert ask(before_tor.socks, (GREETING + socks5(Fresh.new().v4, 80), 0)) == NO_AUTH + refused5(2)
            assert ask(before_tor.socks, (socks4(Fresh.new().v4, 80), 0)) == REFUSED4
            greeted = (GREETING_AUTH, 2), (auth(b"u", b"p"), 2)
            assert ask(before_tor.socks, *greeted, (socks5(Fresh.new().v4, 80), 0)) == WITH_AUTH + AUTH_OK + refused5(2)
        finally:
            tor.set(SafeSocks=0)

    def test_a_username_that_tor_refuses_is_refused(self, tor: Tor, before_tor: Shim) -> None:
        """Proposal 351: tor refuses it while reading the credentials, before any request."""
        steps = (GREETING_AUTH, 2), (auth(b"<torS0X>1", b"x"), 2), (socks5(Fresh.new().name, 80), 0)
        assert ask(before_tor.socks, *steps) == WITH_AUTH + AUTH_OK + refused5(1)

    def test_a_granted_stream_is_granted(self, tor: Tor, before_tor: Shim) -> None:
        """RESOLVE of an address is the one request that tor grants without a network."""
        address = Fresh.new().v4
        tor.set(__LeaveStreamsUnattached=0)
        try:
            got = ask(before_tor.socks, (GREETING, 2), (socks5(address, 0, 0xF0), 0))
            assert got == NO_AUTH + b"\5\0\0" + socks5(address, 0)[3:]
            assert ask(before_tor.socks, (socks4(address, 1, 0xF0), 0))[:2] == GRANTED4
        finally:
            tor.set(__LeaveStreamsUnattached=1)
