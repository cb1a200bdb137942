"""ADDR: what is read, what is refused and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.address import Address, AddressError


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
        ("", "reason.port"),
        ("127.0.0.1", "reason.port"),
        ("9250", "reason.port"),
        ("127.0.0.1:", "reason.port"),
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
