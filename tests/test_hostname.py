"""What Tor takes for a name: each case was put to tor 0.4.9.11 as CONNECT, and the second list as RESOLVE_PTR."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.protocol.hostname import is_valid_hostname, read_address, read_hostname, read_ipv4, read_ipv6

ACCEPTED = [
    b"a", b"1", b"a.", b"a-", b"a_b", b"A.B", b"x.onion", b"a" * 64 + b".b", b"a" * 255, b"a" * 254 + b".",
    b"1.2.3", b"1.2.3.4", b"1.2.3.4.", b"256.1.1.1", b"01.02.03.04", b"0x7f.1",
    b"::", b"::1", b"[::1]", b"::FFFF", b"::ffff:1.2.3.4", b"::1.2.3.04", b"::01.2.3.4", b"0:0:0:0:0:0:0:0001",
    b"1:2:3:4:5:6:7::", b"::2:3:4:5:6:7:8", b"1::3:4:5:6:7:8", b"1:2:3:4:5:6:1.2.3.4",
    b"[a]", b"[a.b.]", b"[1.2.3.4]",
]  # fmt: skip

MALFORMED = [
    b"", b".", b"a..", b"a..b", b".a", b"-a", b"_a", b"a._b", b"a.-b", b"a b", b"a/b", b"a:80", b"u@h", b"*", b"a\n",
    b"\xc3\xa9", b"a" * 256, b"[]", b"[", b"]", b"[[a]]", b"[[::1]]", b"[::1", b"::1]", b"[-a]", b"[.]", b"[a..]",
    b":", b":1", b"1:", b":::", b"::1.", b"::1::", b"1::2::3", b"::g", b"::12345", b"0:0:0:0:0:0:0:00001",
    b"1:2:3:4:5:6:7:", b"1:2:3:4:5:6:7:8:9", b"1:2:3:4:5:6:7:1.2.3.4", b"::1.2.3.256", b"::1.2.3.0004", b"::1.2.3",
    b"fe80::1%1", b"fe80::1%lo", b"fe80::1%", b"1.2.3.4 ", b" 1.2.3.4", b"1.2.3.+4", b"::+1", b"::1/64",
]  # fmt: skip

WITH_NUL = [b"a\x00b", b"\x00a", b"a\x00", b"1.2.3.4\x00x", b"::1\x00", b"\x00"]

POINTERS = {
    b"1.2.3.4": IPv4Address("1.2.3.4"),
    b"::1": IPv6Address("::1"),
    b"[::1]": IPv6Address("::1"),
    b"::ffff:1.2.3.4": IPv6Address("::ffff:1.2.3.4"),
    b"::1.2.3.04": IPv6Address("::1.2.3.4"),
    b"::007.000.010.255": IPv6Address("::7.0.10.255"),
}

NO_POINTERS = [
    b"", b"a", b"1.2.3", b"1.2.3.4.", b"1.2.3.04", b"[1.2.3.4]", b"-a", b"fe80::1%lo", b"[::1", b"\xb9.2.3.4",
    b"1.2.3.4\x00x", b"[[::1]]", b":", b"\xff::",
]  # fmt: skip

labels = st.from_regex(rb"[A-Za-z0-9][A-Za-z0-9_-]{0,70}", fullmatch=True)


@pytest.mark.parametrize("raw", ACCEPTED)
def test_tor_accepts(raw: bytes) -> None:
    assert is_valid_hostname(raw)
    assert read_hostname(raw) == raw.decode()


@pytest.mark.parametrize("raw", MALFORMED + WITH_NUL)
def test_malformed(raw: bytes) -> None:
    assert not is_valid_hostname(raw)
    with pytest.raises(ValueError, match=r"\Amalformed name\Z"):
        read_hostname(raw)


@pytest.mark.parametrize("raw", POINTERS)
def test_address_for_resolve_ptr(raw: bytes) -> None:
    assert read_address(raw) == POINTERS[raw]


@pytest.mark.parametrize("raw", NO_POINTERS)
def test_no_address_for_resolve_ptr(raw: bytes) -> None:
    assert read_address(raw) is None


def test_the_two_families_are_kept_apart() -> None:
    assert read_ipv6(b"1.2.3.4") is None
    assert read_ipv4(b"::1") is None


@given(st.lists(labels, min_size=1, max_size=8), st.booleans())
def test_labels_make_a_name_up_to_255_bytes(parts: list[bytes], last_dot: bool) -> None:
    name = b".".join(parts) + b"." * last_dot
    assert is_valid_hostname(name) == (len(name) <= 255)


@given(st.ip_addresses(v=6))
def test_every_spelling_of_an_ipv6_address_is_read(address: IPv6Address) -> None:
    for text in (str(address), address.exploded, address.exploded.upper(), f"[{address}]"):
        assert is_valid_hostname(text.encode())
        assert read_address(text.encode()) == address


@given(st.binary(max_size=300))
def test_any_bytes_give_an_answer_and_a_name_comes_back_as_it_was(raw: bytes) -> None:
    if is_valid_hostname(raw):
        assert read_hostname(raw).encode("ascii") == raw
        assert b"\x00" not in raw
