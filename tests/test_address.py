"""ADDR: what is read, what is refused and why."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.address import Address, AddressError, parse_network


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9250", "127.0.0.1", 9250),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
        ("[::1]:9250", "::1", 9250),
        ("[2001:DB8::0:9]:1", "2001:db8::9", 1),
        ("localhost:9250", "127.0.0.1", 9250),
        ("LocalHost:00080", "127.0.0.1", 80),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host=host, port=port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "reason.no_port"),
        ("127.0.0.1", "reason.no_port"),
        ("9250", "reason.no_port"),
        ("127.0.0.1:", "reason.no_port"),
        ("[::1]", "reason.no_port"),
        ("127.0.0.1:65536", "reason.port"),
        ("127.0.0.1:99999", "reason.port"),
        ("127.0.0.1:-1", "reason.port"),
        ("127.0.0.1:+1", "reason.port"),
        ("127.0.0.1:8_0", "reason.port"),
        ("127.0.0.1:" + "9" * 5000, "reason.port"),
        ("127.0.0.1:٩", "reason.port"),
        ("::1:9250", "reason.brackets"),
        ("[::1:9250", "reason.brackets"),
        ("[[::1]]:9250", "reason.host"),
        ("[127.0.0.1]:9250", "reason.host"),
        (":9250", "reason.host"),
        ("*:9250", "reason.host"),
        ("tor.example:9050", "reason.host"),
        ("127.1:9050", "reason.host"),
        ("0x7f000001:9050", "reason.host"),
        (" 127.0.0.1:9050", "reason.host"),
        ("unix:", "reason.path"),
        ("unix:/a\0b", "reason.path"),
        ("unix:/" + "x" * 107, "reason.path"),
    ],
)
def test_what_is_no_address_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse(text)
    assert caught.value.reason == reason


def test_the_refusal_never_repeats_a_name() -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse("secret-host.example:9050")
    assert "secret-host" not in str(caught.value)


def test_a_unix_socket_is_a_path() -> None:
    address = Address.parse("unix:/run/tor/socks")
    assert (address.is_unix, address.path, str(address)) == (True, "/run/tor/socks", "unix:/run/tor/socks")
    assert Address.parse("unix:/" + "x" * 106).is_unix
    assert Address.parse("unix:x").path == "x"


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.10:1", True),
        ("[::1]:1", True),
        ("unix:/run/x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.1.1:1", False),
        ("169.254.1.1:1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(text: str, loopback: bool) -> None:
    assert Address.parse(text).is_loopback is loopback


@pytest.mark.parametrize(
    ("text", "unspecified"),
    [("0.0.0.0:1", True), ("[::]:1", True), ("127.0.0.1:1", False), ("[::1]:1", False), ("unix:/run/x", False)],
)
def test_unspecified_is_every_address_of_this_machine(text: str, unspecified: bool) -> None:
    assert Address.parse(text).is_unspecified is unspecified


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::fffe:0:0/96", "::fffe:0:0/96"),
        ("::/0", "::/0"),
        ("::ffff:0:0/95", None),  # its bits reach beyond its mask
        ("10.1.2.3/8", None),
        ("fe80::1%eth0", None),
        ("example.com", None),
        ("", None),
    ],
)
def test_a_network_is_read_a_mapped_one_as_ipv4(text: str, network: str | None) -> None:
    assert parse_network(text) == (None if network is None else ip_network(network))


@given(st.ip_addresses(), st.integers(0, 65535))
def test_what_is_written_is_read_again(ip: object, port: int) -> None:
    address = Address(host=str(ip), port=port)
    assert Address.parse(str(address)) == address
    assert Address.parse(str(address)).is_unix is False


@given(st.text())
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        Address.parse(text)
    except AddressError as error:
        assert error.reason.startswith("reason.")
