"""shim.judge.endpoints: the table of resolvers is what it says, and no more."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from shim.judge import endpoints
from shim.judge.endpoints import RESOLVERS_DATE, is_known_resolver

ROWS = endpoints._RESOLVERS.strip().splitlines()


def test_the_table_has_a_date_and_an_operator_in_each_row() -> None:
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", RESOLVERS_DATE)
    for row in ROWS:
        *addresses, operator = row.split(maxsplit=4)
        assert len(addresses) == 4
        assert all(ip_address(address).is_global for address in addresses), row
        assert re.match(r"[A-Z]", operator)
    assert len(endpoints._KNOWN) == 4 * len(ROWS), "none twice"


@pytest.mark.parametrize(
    ("text", "port", "known"),
    [
        ("1.1.1.1", 443, True),
        ("1.1.1.1", 853, True),
        ("9.9.9.9", 853, True),
        ("2606:4700:4700::1111", 443, True),
        ("::ffff:8.8.8.8", 443, True),
        ("1.1.1.1", 80, False),
        ("1.1.1.1", 53, False),
        ("1.1.1.4", 443, False),
        ("93.184.216.34", 443, False),
    ],
)
def test_known_resolvers(text: str, port: int, known: bool) -> None:
    address: IPv4Address | IPv6Address = ip_address(text)
    assert is_known_resolver(address, port) is known
