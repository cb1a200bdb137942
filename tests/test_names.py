"""shim.judge.names: each kind by its names, the near misses beside it, and that any text has a kind."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.judge.names import DOH_CANARY, NameKind, address_of_reverse, host_of, kind_of, labels_of, suffix_of
from shim.protocol.dns import presentation

V3 = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad"
V2 = "expyuzz4wqqyqhjn"

KINDS = {
    NameKind.ORDINARY: [
        "www.example.com",
        "xn--wgv71a119e.jp",
        "under_score.example.com",
        "_dmarc.example.com",
        "_8443._https.www.example.com",
        "_443._tcp.www.example.com",
        "*.example.com",
        "93.184.216.34",
        "onion.com",
        "www.onion.com",
        "www.onion.co.uk",
        "onion.torproject.org",
        "theonion.example.com",
        "www.theonion.com",
        f"{V3}.onions.corp.lan",
        "wpad2.corp.lan",
        "isatapx.corp.lan",
        "www.wpad.example",
        f"x.{DOH_CANARY}",
        "in-addr.arpa",
        "in-addr.arpa.corp.lan",
        "_tcp.example.com",
        "localhost.corp.lan",
        "wikipedia.org",
    ],
    NameKind.ROOT: [".", ""],
    NameKind.ONION: [
        f"{V3}.onion",
        f"www.{V3}.onion",
        f"{V2}.onion",
        "mistyped.onion",
        "_http._tcp.shop.onion",
        r"search\032text.onion",
        "a.onion.onion",
        "wpad.onion",
    ],
    NameKind.ONION_WITH_SUFFIX: [
        f"{V3}.onion.corp.lan",
        f"www.{V3}.onion.corp.example.com",
        f"{V3}.onion.ly",
        f"{V2}.onion.to",
        "mistyped.onion.lan",
        "mistyped.onion.home.arpa",
        "mistyped.onion.corp.example.com",
        f"{V3}.onion.co.uk",
        r"a\.b.onion.corp.lan",
    ],
    NameKind.LOCAL: ["localhost", "www.localhost", "printer.local", "a.b.local"],
    NameKind.SINGLE_LABEL: ["intranet1", "nas", "onion", "router-2", "abcdefghijklmnop", "local", "arpa", "xn--wgv71a"],
    NameKind.RANDOM_LABEL: ["uwdpnxkqr", "abcdefg", "abcdefghijklmno"],
    NameKind.SEARCH_TEXT: [
        r"how\032to\032use\032tor",
        "how+to+use+tor",
        r"\230\151\165\230\156\172.corp.lan",
        "日本",
        "what?",
        "a,b.example.com",
        "user@example.com",
        "example.com:80",
        "tor%20browser",
        r"a\.b.example.com",
        r"\000",
        "two words",
    ],
    NameKind.WPAD: ["wpad", "wpad.corp.lan", "isatap", "isatap.corp.lan", "wpad.local", "wpad.example.com"],
    NameKind.REVERSE: ["34.216.184.93.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa", "0/25.2.0.192.in-addr.arpa"],
    NameKind.DOH_CANARY: [DOH_CANARY],
    NameKind.SERVICE_DISCOVERY: [
        "_services._dns-sd._udp.local",
        "lb._dns-sd._udp.0.1.168.192.in-addr.arpa",
        "_ldap._tcp.dc._msdcs.corp.lan",
        "_ldap._tcp",
        "_xmpp-client._tcp.example.com",
        r"office\032printer._ipp._tcp.local",
        "_dns.resolver.arpa",
        "ipv4only.arpa",
    ],
    NameKind.NETBIOS: ["ckaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "fhepfcelehfcepfffacacacacacacabl"],
}
EXAMPLES = [(name, kind) for kind, names in KINDS.items() for name in names]


def test_every_kind_has_examples() -> None:
    assert set(KINDS) == set(NameKind)


@pytest.mark.parametrize(("name", "kind"), EXAMPLES, ids=lambda value: str(value)[:40])
def test_the_kind_of_a_name(name: str, kind: NameKind) -> None:
    assert kind_of(name) is kind
    assert kind_of(name.upper()) is kind
    if not name.endswith("."):
        assert kind_of(f"{name}.") is kind


class Everything:
    """Every name is known."""

    def __contains__(self, name: object) -> bool:
        return True


@given(st.text(max_size=300))
def test_any_text_has_a_kind(name: str) -> None:
    assert kind_of(name) in NameKind
    assert name.lower().removesuffix(".").endswith(host_of(name))
    suffix = suffix_of(name, Everything())
    assert suffix is None or labels_of(name)[1:] != []


PART = st.sampled_from(
    ["onion", V3, "www", "com", "uk", "co", "lan", "_ldap", "_tcp", "_8443", "wpad", "\\", r"\.", "a b"]
)


@given(st.lists(PART, max_size=6).map(".".join))
def test_any_mixture_of_telling_parts_has_a_kind(name: str) -> None:
    kind = kind_of(name)
    assert kind in NameKind
    if re.search(r"(^|[^\\])\.onion$", name) and "\\" not in name:
        assert kind is NameKind.ONION
    assert suffix_of(name, Everything()) == (labels_of(name)[-1] if len(labels_of(name)) > 1 else None)


LABELS = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5).map(tuple)


@given(LABELS)
def test_labels_are_those_that_were_sent(labels: tuple[bytes, ...]) -> None:
    if labels[-1].endswith(b"."):  # an escaped dot at the end cannot be told from the root's
        labels = (*labels, b"x")
    assert labels_of(presentation(labels)) == [presentation((label,)) for label in labels]


@pytest.mark.parametrize(
    ("name", "known", "suffix"),
    [
        ("example.com.corp.lan", {"example.com"}, "corp.lan"),
        ("Example.COM.Corp.Lan.", {"example.com"}, "corp.lan"),
        ("www.example.com.lan", {"www.example.com", "example.com"}, "lan"),
        ("printer.corp.lan", {"printer"}, "corp.lan"),
        ("a.b.c.d", {"a", "a.b", "a.b.c.d"}, "c.d"),
        ("example.com", {"example.com"}, None),
        ("notexample.com.lan", {"example.com"}, None),
        ("www.example.com.lan", {"example.com"}, None),
        (r"a\.b.lan", {"a\\"}, None),
        (r"a\.b.lan", {r"a\.b"}, "lan"),
        (".", {""}, None),
        ("", {""}, None),
        ("com", {"com"}, None),
    ],
)
def test_a_suffix_is_what_stands_behind_a_known_name(name: str, known: set[str], suffix: str | None) -> None:
    assert suffix_of(name, known) == suffix


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("_8123._https.www.example.com", "www.example.com"),
        ("_443._tcp.WWW.example.com.", "www.example.com"),
        ("www.example.com", "www.example.com"),
        ("_https.www.example.com", "_https.www.example.com"),
        ("x._8123._https.example.com", "x._8123._https.example.com"),
        ("_8123._https", "_8123._https"),
        ("_8123._https.", "_8123._https"),
        ("_ldap._tcp.example.com", "_ldap._tcp.example.com"),
    ],
)
def test_the_host_behind_a_port(name: str, host: str) -> None:
    assert host_of(name) == host


@given(st.ip_addresses())
def test_a_reverse_name_is_its_address(address: IPv4Address | IPv6Address) -> None:
    assert address_of_reverse(address.reverse_pointer) == address


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "in-addr.arpa",
        "18.198.in-addr.arpa",
        "1.2.3.4.5.in-addr.arpa",
        "1.2.3.256.in-addr.arpa",
        "1.2.3.04.in-addr.arpa",
        "a.b.c.d.in-addr.arpa",
        "1.2.3.4.in-addr.arpa.corp.lan",
        "1.2.3.4.example.com",
        "0." * 31 + "ip6.arpa",
        "0." * 33 + "ip6.arpa",
        "0." * 31 + "g.ip6.arpa",
        "0." * 31 + "00.ip6.arpa",
        "0." * 30 + "00.00.ip6.arpa",
        r"0\.0.0.0.0.in-addr.arpa",
        "www.example.com",
        "in-addr.arpa",
        "216.184.93.in-addr.arpa",
        "300.216.184.93.in-addr.arpa",
        "b._dns-sd._udp.34.216.184.93.in-addr.arpa",
        "x.216.184.93.in-addr.arpa",
        ip_address("2001:db8::1").reverse_pointer.replace("1.0", "g.0", 1),
        ip_address("2001:db8::1").reverse_pointer[2:],
        "é" + ip_address("2001:db8::1").reverse_pointer[1:],
    ],
)
def test_any_other_name_is_none(name: str) -> None:
    assert address_of_reverse(name) is None
