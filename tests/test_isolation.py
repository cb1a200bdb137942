"""Credentials that keep streams apart, for clients that send none."""

from __future__ import annotations

import pytest

from shim.judge.isolation import isolation
from shim.model import Command, Credentials, Peer, Protocol, Request

SALT = b"salt of one run"
ALICE = Peer("127.0.0.1", 1000)
BOB = Peer("unix", 0, uid=1001)


def request(host: str, credentials: Credentials | None = None) -> Request:
    return Request(Protocol.SOCKS5, Command.CONNECT, host, 80, credentials)


def test_none_adds_nothing() -> None:
    assert isolation(request("a.example"), ALICE, "none", SALT) is None


@pytest.mark.parametrize("isolate", ["client", "destination"])
def test_what_the_client_sent_is_never_replaced(isolate: str) -> None:
    sent = request("a.example", Credentials(b"", b""))
    assert isolation(sent, ALICE, isolate, SALT) is None  # type: ignore[arg-type]


def test_by_client_separates_clients_and_nothing_else() -> None:
    first = isolation(request("a.example"), ALICE, "client", SALT)
    assert first == isolation(request("b.example"), Peer("127.0.0.1", 2000), "client", SALT)
    assert first != isolation(request("a.example"), BOB, "client", SALT)


def test_by_destination_separates_hosts_in_any_case_of_letters() -> None:
    first = isolation(request("A.example"), ALICE, "destination", SALT)
    assert first == isolation(request("a.EXAMPLE"), BOB, "destination", SALT)
    assert first != isolation(request("b.example"), ALICE, "destination", SALT)


def test_the_destination_cannot_be_read_from_them_and_another_run_has_others() -> None:
    made = isolation(request("a.example"), ALICE, "destination", SALT)
    assert made is not None
    assert b"example" not in made.username + made.password
    assert not made.username.startswith(b"<torS0X>")
    assert made != isolation(request("a.example"), ALICE, "destination", b"another run")
