"""shim.judge.hosts: textual forms of addresses against the system's own parsers, and the list of Local."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shim.judge.classify import classify
from shim.judge.hosts import (
    address_from_text,
    canonical,
    canonical_name,
    is_local_address,
    is_local_name,
    is_mapped,
    normalise,
    number,
)
from shim.model import Command, Exposure, Host, Knowledge, Protocol, Request


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("93.184.216.34", "93.184.216.34"),
        ("93.184.216.34.", "93.184.216.34"),
        ("[93.184.216.34]", "93.184.216.34"),  # Tor takes the brackets
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("0000000000000000000177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.1.", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("10.65535", "10.0.255.255"),
        ("1.2.65535", "1.2.255.255"),
        ("0", "0.0.0.0"),
        ("00", "0.0.0.0"),
        ("4294967295", "255.255.255.255"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25]", "fe80::1"),
        ("::ffff:1.2.3.4", "::ffff:102:304"),
        ("::ffff:1.02.003.4", "::ffff:102:304"),
        ("[::FFFF:127.0.0.1]", "::ffff:7f00:1"),
    ],
)
def test_text_that_a_resolver_takes_for_an_address(text: str, address: str) -> None:
    assert address_from_text(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "www.example.com",
        "localhost",
        "1password.com",
        "3.example",
        "0x7f.example",
        "256.1.1.1",
        "1.2.3.256",
        "1.2.65536",
        "1.16777216",
        "4294967296",
        "040000000000",  # octal, one beyond 32 bits
        "0x100000000",
        "99999999999999999999999999",
        "9" * 5000,  # more digits than Python converts
        "08.1.1.1",
        "0x",
        "0x.1",
        "1..2",
        ".1.2.3",
        "1.2.3.",  # three parts and a dot are an address; see below
        "1.2.3.4.5",
        "1.2.3.4..",
        "+1.2.3.4",
        "-1",
        "1_0.1.1.1",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.4:80",
        "١.2.3.4",
        "[1.2.3.4",
        "1.2.3.4]",
        "[",
        "[]",
        "[localhost]",
        ":",
        "[:",
        ":::",
        "[::1",
        "::1]",
        "[::1].",
        "::1.",
        "::ffff:256.1.1.1",
        "fe80::1%",
        "fe80::1%a%b",
        "::1/128",
        "1:2:3:4:5:6:7:8:9",
        "g::1",
    ],
)
def test_text_that_is_no_address(text: str) -> None:
    expected = IPv4Address("1.2.0.3") if text == "1.2.3." else None
    assert address_from_text(text) == expected


def _numeric_host(text: str) -> IPv4Address | IPv6Address | None:
    """What getaddrinfo(3) takes `text` for when it may ask nobody: the resolver itself as the oracle."""
    try:
        found = socket.getaddrinfo(text, None, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError, ValueError):
        return None
    return ip_address(found[0][4][0])


_PART = st.one_of(
    st.integers(0, 2**33).map(str),
    st.integers(0, 300).map(str),
    st.integers(0, 2**33).map(hex),
    st.integers(0, 300).map(lambda value: f"0{value:o}"),
    st.text("0123456789abcdefxX", max_size=6),
)
_V4_TEXT = st.lists(_PART, min_size=1, max_size=5).map(".".join)


@given(_V4_TEXT)
@example("00x1.1")
def test_v4_forms_agree_with_the_resolver(text: str) -> None:
    bare = text.removesuffix(".")  # the last dot is what browsers take beside the C library
    if bare:  # an empty host means "any address" to getaddrinfo
        assert address_from_text(text) == _numeric_host(bare)


@given(_V4_TEXT)
def test_v4_forms_agree_with_inet_aton(text: str) -> None:
    try:
        expected = IPv4Address(socket.inet_aton(text.removesuffix(".")))
    except OSError:
        expected = None
    assert address_from_text(text) == expected


_V6_TEXT = st.one_of(
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded.upper()),
    st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}"),
    st.lists(st.text("0123456789abcdefABCDEF", max_size=5), max_size=9).map(":".join),
    st.text("0123456789af:.", max_size=20),
)


@given(_V6_TEXT)
def test_v6_forms_agree_with_inet_pton(text: str) -> None:
    if ":" not in text:
        return
    try:
        expected = IPv6Address(socket.inet_pton(socket.AF_INET6, text))
    except OSError:
        expected = None
    assert address_from_text(text) == expected
    assert address_from_text(f"[{text}]") == expected
    assert address_from_text(f"{text}%eth0") == expected


def is_local(host: Host) -> bool:
    """Whether a connection to it is one to this machine or its networks, in whatever form it is asked for."""
    return classify(Request(Protocol.SOCKS5, Command.CONNECT, host, 80), Knowledge()) is Exposure.LOCAL


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_none(text: str) -> None:
    address = address_from_text(text)
    assert address is None or isinstance(address, IPv4Address | IPv6Address)
    assert is_local(text) == (is_local_name(text) if address is None else is_local_address(address))


# First and last address of each local network, and its neighbours outside.
LOCAL_V4 = [
    ("0.0.0.0", "0.255.255.255", None, "1.0.0.0"),
    ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
]
LOCAL_V6 = [
    ("::", "::1", None, "::2"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::"),
    ("::ffff:127.0.0.0", "::ffff:127.255.255.255", "::ffff:126.255.255.255", "::ffff:128.0.0.0"),
    ("::ffff:0.0.0.0", "::ffff:0.255.255.255", "::fffe:ffff:ffff", "::ffff:1.0.0.0"),
    ("::ffff:192.168.0.0", "::ffff:192.168.255.255", "::ffff:192.167.255.255", "::ffff:192.169.0.0"),
]


@pytest.mark.parametrize(("first", "last", "before", "after"), LOCAL_V4 + LOCAL_V6)
def test_edges_of_the_local_networks(first: str, last: str, before: str | None, after: str) -> None:
    for inside in (first, last):
        assert is_local(ip_address(inside))
        assert is_local(inside)
        assert is_local_address(ip_address(inside))
    for outside in filter(None, (before, after)):
        assert not is_local(ip_address(outside))
        assert not is_local(outside)


@pytest.mark.parametrize("last", ["127.0.0.1", "10.1.2.3", "172.20.0.1", "169.254.1.1", "192.168.1.1", "0.0.0.1"])
def test_mapped_is_as_local_as_its_ipv4(last: str) -> None:
    assert is_local(IPv6Address(f"::ffff:{last}"))


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.1",  # documentation
        "198.51.100.1",
        "203.0.113.1",
        "2001:db8::1",
        "198.18.0.1",  # benchmarking
        "2001:2::1",
        "224.0.0.251",  # multicast
        "ff02::fb",
        "64:ff9b::7f00:1",  # NAT64, of a loopback address too
        "100.64.0.1",  # CGNAT
        "240.0.0.1",
        "255.255.255.255",
        "::127.0.0.1",  # IPv4-compatible, deprecated: an address of its own
        "8.8.8.8",
        "2606:4700::1111",
    ],
)
def test_not_local(address: str) -> None:
    assert not is_local(ip_address(address))
    assert not is_local(address)


@pytest.mark.parametrize(
    "text",
    [
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "[127.0.0.1]",
        "[::1]",
        "fe80::1%eth0",
        "[fe80::1%1]",
        "::ffff:10.0.0.1",
        "3232235777",  # 192.168.1.1
        "0",
    ],
)
def test_local_in_any_textual_form(text: str) -> None:
    assert is_local(text)


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("www.localhost", True),
        ("WWW.LOCALHOST.", True),
        ("printer.local", True),
        ("a.b.local.", True),
        ("local", False),
        ("notlocalhost", False),
        ("mylocal", False),
        ("localhost.example.com", False),
        ("printer.local.example", False),
        ("localhost..", False),
        ("intranet", False),
        ("router.lan", False),
        ("home.arpa", False),
        ("example.onion", False),
        ("", False),
    ],
)
def test_local_names(name: str, local: bool) -> None:
    assert is_local_name(name) is local
    assert is_local(name) is local


def test_one_value_for_all_spellings() -> None:
    loopback = IPv4Address("127.0.0.1")
    assert {canonical(host) for host in ("127.1", "2130706433", "::ffff:7f00:1", IPv6Address("::ffff:7f00:1"))} == {
        loopback
    }
    assert canonical(loopback) == loopback
    assert canonical("WWW.Example.COM.") == canonical_name("www.example.com") == "www.example.com"


@given(st.ip_addresses(v=4))
def test_mapped_is_one_address_with_its_ipv4(address: IPv4Address) -> None:
    mapped = IPv6Address(f"::ffff:{address}")
    assert is_mapped(mapped)
    assert not is_mapped(address)
    assert normalise(mapped) == normalise(address) == address
    assert number(mapped) == number(address)


@given(st.ip_addresses(v=6), st.ip_addresses())
def test_other_addresses_stay_apart(one: IPv6Address, other: IPv4Address | IPv6Address) -> None:
    if not is_mapped(one):
        assert normalise(one) is one
    assert (number(one) == number(other)) == (normalise(one) == normalise(other))
