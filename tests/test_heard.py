"""Two events of Tor's for one request, put together: what tor 0.4.9.11 really says, and what it might."""

from __future__ import annotations

import pytest

from shim.model import Command
from shim.tor.heard import Asked, Heard

TARGET = "192.0.2.7:80"


def test_a_stream_alone() -> None:
    told = Heard().stream("NEW", "www.example.com:80", "127.0.0.1:41360", "SOCKS5")
    assert told == [Asked("127.0.0.1:41360", "socks5", Command.CONNECT, "www.example.com:80")]


def test_a_warning_and_its_stream_are_one_request() -> None:
    heard = Heard()
    assert heard.warned("SOCKS5", TARGET) == []
    told = heard.stream("NEW", TARGET, "127.0.0.1:41360", "SOCKS5")
    assert told == [Asked("127.0.0.1:41360", "socks5", Command.CONNECT, TARGET, dangerous=True)]
    assert heard.other() == [], "it is told once"


def test_a_warning_without_a_stream_was_refused() -> None:
    heard = Heard()
    heard.warned("SOCKS4", TARGET)
    assert heard.other() == [Asked(None, "socks4", Command.CONNECT, TARGET, True, True)]
    assert heard.other() == []


def test_a_warning_before_another_ones_stream_was_refused() -> None:
    heard = Heard()
    heard.warned("SOCKS5", TARGET)
    refused, other = heard.stream("NEW", "www.example.com:80", "127.0.0.1:4", "SOCKS5")
    assert (refused.destination, refused.refused, refused.source) == (TARGET, True, None)
    assert (other.destination, other.dangerous, other.source) == ("www.example.com:80", False, "127.0.0.1:4")


def test_two_warnings_in_a_row() -> None:
    heard = Heard()
    heard.warned("SOCKS5", TARGET)
    (first,) = heard.warned("SOCKS5", "192.0.2.8:80")
    assert (first.destination, first.refused) == (TARGET, True)
    (second,) = heard.stream("NEW", "192.0.2.8:80", "127.0.0.1:4", "SOCKS5")
    assert second.dangerous and not second.refused


def test_a_refused_look_up() -> None:
    heard = Heard()
    heard.warned("SOCKS5", "192.0.2.7:0")
    (refused,) = heard.other()
    assert refused.command is Command.RESOLVE


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("127.0.0.1:41360", "127.0.0.1:41360"),
        ("::1:38938", "[::1]:38938"),
        ("[::1]:38938", "[::1]:38938"),
        ("2001:db8::7:1", "[2001:db8::7]:1"),
        ("/run/tor/socks:0", "unix:/run/tor/socks"),
        ("/run/with:colon:0", "unix:/run/with:colon"),
    ],
)
def test_where_it_came_from(source: str, origin: str) -> None:
    (told,) = Heard().stream("NEWRESOLVE", "www.example.com:0", source, "DNS")
    assert (told.source, told.command, told.protocol) == (origin, Command.RESOLVE, "dns")


@pytest.mark.parametrize("source", ["", "(Tor_internal):0", "nowhere", "127.0.0.1:", "127.0.0.1:x", ":1"])
def test_what_comes_from_nowhere_is_tors_own(source: str) -> None:
    assert Heard().stream("NEW", "127.0.0.1.$0002.exit:1", source, "UNKNOWN") == []


def test_what_is_redirected_is_told_as_tcp() -> None:
    (told,) = Heard().stream("NEW", TARGET, "192.0.2.1:5", "TRANS")
    assert told.protocol == "tcp"
