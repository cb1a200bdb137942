"""shim.policy: the defaults of the contract, and what `policy.allow_local` may hold."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from shim.errors import PolicyError
from shim.model import Mode
from shim.policy import ALLOWED_FORMS, Allowance, Policy, parse_allowance


def test_defaults_are_the_contracts() -> None:
    policy = Policy()
    assert policy.mode is Mode.WARN
    assert policy.address_as_text == "warn"
    assert policy.allow_local == ()
    assert policy.isolate == "none"
    assert policy.http_hint is False
    assert not policy.allows(IPv4Address("127.0.0.1"), 80)
    assert not policy.allows("localhost", 80)


def test_is_frozen_and_replaceable() -> None:
    policy = Policy(allow_local=("localhost",))
    with pytest.raises(FrozenInstanceError):
        policy.mode = Mode.BLOCK  # type: ignore[misc]
    other = replace(policy, mode=Mode.BLOCK)
    assert other != policy
    assert other.allows("localhost", 1)


@pytest.mark.parametrize(
    ("entry", "host", "port", "covered"),
    [
        ("127.0.0.1", IPv4Address("127.0.0.1"), 80, True),
        ("127.0.0.1", IPv4Address("127.0.0.2"), 80, False),
        ("127.0.0.1", IPv6Address("::1"), 80, False),
        ("127.0.0.1", "localhost", 80, False),
        ("127.0.0.1:8080", IPv4Address("127.0.0.1"), 8080, True),
        ("127.0.0.1:8080", IPv4Address("127.0.0.1"), 80, False),
        ("10.0.0.0/8", IPv4Address("10.255.0.1"), 65535, True),
        ("10.0.0.0/8", IPv4Address("11.0.0.1"), 1, False),
        ("10.0.0.0/8", "localhost", 1, False),
        ("::1", IPv6Address("::1"), 1, True),
        ("[::1]", IPv6Address("::1"), 1, True),
        ("[::1]:443", IPv6Address("::1"), 443, True),
        ("[::1]:443", IPv6Address("::1"), 442, False),
        ("fc00::/7", IPv6Address("fd00::1"), 1, True),
        ("FD00::1", IPv6Address("fd00::1"), 1, True),
        ("::ffff:10.0.0.1", IPv4Address("10.0.0.1"), 1, True),
        ("::ffff:10.0.0.0/104", IPv4Address("10.9.9.9"), 1, True),
        ("::ffff:10.0.0.0/104", IPv4Address("11.0.0.1"), 1, False),
        ("::fffe:0:0/96", IPv6Address("::fffe:0:1"), 1, True),
        ("localhost", "localhost", 1, True),
        ("localhost", "a.localhost", 1, False),
        ("localhost", IPv4Address("127.0.0.1"), 1, False),
        (" LocalHost. ", "localhost", 1, True),
        ("printer.local:631", "printer.local", 631, True),
        ("printer.local:631", "printer.local", 80, False),
        ("a.b.localhost", "a.b.localhost", 1, True),
    ],
)
def test_allowance(entry: str, host: IPv4Address | IPv6Address | str, port: int, covered: bool) -> None:
    assert parse_allowance(entry).covers(host, port) is covered
    assert Policy(allow_local=(entry,)).allows(host, port) is covered


def test_any_entry_may_allow() -> None:
    policy = Policy(allow_local=("192.168.0.0/16", "localhost:8080"))
    assert policy.allowances == (Allowance(policy.allowances[0].network), Allowance(name="localhost", port=8080))
    assert policy.allows(IPv4Address("192.168.7.1"), 22)
    assert policy.allows("localhost", 8080)
    assert not policy.allows("localhost", 22)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        ":80",
        "10.0.0.1/8",  # host bits set: one address or a network, which?
        "10.0.0.0/8:80",
        "127.1",
        "0177.0.0.1",
        "2130706433",
        "fe80::1%eth0",
        "[127.0.0.1]:80",
        "[::1",
        "[::1]x",
        "[::1]:",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:+1",
        "localhost:٨",
        "localhost:000080",
        "local",
        "intranet",
        "www.example.com",
        "*.local",
        ".local",
        "a..local",
        "ä.local",
        "x" * 64 + ".local",
    ],
)
def test_unreadable_entry_says_what_is_allowed(entry: str) -> None:
    with pytest.raises(ValueError, match="allowed are") as caught:
        parse_allowance(entry)
    assert str(caught.value) == ALLOWED_FORMS
    with pytest.raises(PolicyError, match="allow_local") as wrong:
        Policy(allow_local=("localhost", entry))
    assert wrong.value.mistakes == (("allow_local", "config.allow_local", entry),)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_plaintext_port_is_a_port(port: int) -> None:
    with pytest.raises(PolicyError, match=r"^warn_plaintext_ports, reject_plaintext_ports$") as wrong:
        Policy(warn_plaintext_ports=(23, port), reject_plaintext_ports=(port,))
    assert wrong.value.mistakes == (
        ("warn_plaintext_ports", "config.port", port),
        ("reject_plaintext_ports", "config.port", port),
    )


def test_the_plaintext_ports_are_those_warned_about_and_those_rejected() -> None:
    assert Policy().plaintext_ports == {23, 109, 110, 143}
    assert Policy(warn_plaintext_ports=(), reject_plaintext_ports=(21, 21)).plaintext_ports == {21}
