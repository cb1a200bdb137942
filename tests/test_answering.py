"""shim.judge.answering: the whole table of names, types and modes, and that nothing but it decides."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shim.judge.answering import AAAA, PTR, A, Plan, plan
from shim.judge.hosts import address_from_text, is_hostname
from shim.model import DnsMode
from shim.policy import DnsPolicy
from shim.protocol import dns
from shim.protocol.hostname import is_valid_hostname

SRV, SVCB, HTTPS, TXT, ANY = 33, 64, 65, 16, 255
OTHERS = (SRV, SVCB, HTTPS, TXT, ANY, 0, 65535)

POLICIES = {
    "refuse": DnsPolicy(),
    "issue": DnsPolicy(DnsMode.ISSUE),
    "issue6": DnsPolicy(DnsMode.ISSUE, ipv6=True),
    "tor": DnsPolicy(DnsMode.TOR),
}
V3 = "a" * 56

# Kind of name, then what A, AAAA, PTR and any other type give in each mode but `refuse`.
TABLE = """
                issue                            issue6                           tor
onion           nxdomain nxdomain nxdomain nxdomain  nxdomain nxdomain nxdomain nxdomain  nxdomain nxdomain nxdomain nxdomain
canary          nxdomain nxdomain nxdomain nxdomain  nxdomain nxdomain nxdomain nxdomain  nxdomain nxdomain nxdomain nxdomain
name            issue4   empty    nxdomain empty     issue4   issue6   nxdomain empty     resolve  resolve  nxdomain empty
machine         nxdomain nxdomain nxdomain nxdomain  nxdomain nxdomain nxdomain nxdomain  nxdomain nxdomain nxdomain nxdomain
bait            nxdomain nxdomain nxdomain nxdomain  nxdomain nxdomain nxdomain nxdomain  nxdomain nxdomain nxdomain nxdomain
no_name         nxdomain nxdomain nxdomain empty     nxdomain nxdomain nxdomain empty     nxdomain nxdomain nxdomain empty
address         nxdomain nxdomain nxdomain empty     nxdomain nxdomain nxdomain empty     nxdomain nxdomain nxdomain empty
root            empty    empty    nxdomain empty     empty    empty    nxdomain empty     empty    empty    nxdomain empty
reverse         issue4   empty    pointer  empty     issue4   issue6   pointer  empty     resolve  resolve  resolve_ptr empty
reverse_local   issue4   empty    nxdomain empty     issue4   issue6   nxdomain empty     resolve  resolve  nxdomain empty
"""  # noqa: E501

NAMES = {
    "onion": ["example.onion", f"{V3}.onion", f"www.{V3}.onion", f"{V3}.onion.lan", "example.onion.corp.lan"],
    "canary": ["use-application-dns.net"],
    "name": [
        "www.example.com",
        "secret.example.org",
        "intranet",
        "xn--wgv71a119e.example",
        "a_b.example",
        "example-.com",
        "1.example",
        "onion.example.org",
        "myonion",
        "onion",
        "www.onion.com",
        "www.onion.co.uk",
        "notlocalhost",
        "local.example",
        "swpad.example",
        "example.wpad",
        "www.use-application-dns.net",
        f"{'x' * 63}.example",
    ],
    "machine": ["localhost", "www.localhost", "local", "printer.local", "b._dns-sd._udp.local", "a.b.local"],
    "bait": ["wpad", "wpad.corp.lan", "isatap", "isatap.example.com"],
    "no_name": [
        "_dmarc.example.com",
        "-x.example",
        "how to\\.do it",
        "how\\032to",
        "two words.example",
        "caf\\195\\169.example",
        "c++",
        "what?",
        "_xmpp-client._tcp.example.org",
        "*",
        "a\\.b.example",
        "\\000",
    ],
    "address": ["93.184.216.34", "127.0.0.1", "2130706433", "0x7f.1", "0177.1", "0"],
    "root": ["."],
    "reverse": ["34.216.184.93.in-addr.arpa", "9.7.18.198.in-addr.arpa"],
    "reverse_local": ["1.1.168.192.in-addr.arpa", "1.0.0.127.in-addr.arpa"],
}


def pointer_of(name: str) -> IPv4Address | IPv6Address | None:
    """The address that an IPv4 reverse name spells."""
    labels = name.removesuffix(".in-addr.arpa").split(".")
    return ip_address(".".join(reversed(labels))) if name.endswith(".in-addr.arpa") else None


def rows() -> list[tuple[str, str, str, list[str]]]:
    header, *lines = TABLE.strip().splitlines()
    modes = header.split()
    cells = [(line.split()[0], line.split()[1:]) for line in lines]
    assert {kind for kind, _ in cells} == set(NAMES)
    return [
        (name, kind, mode, plans[4 * place : 4 * place + 4])
        for kind, plans in cells
        for place, mode in enumerate(modes)
        for name in NAMES[kind]
    ]


@pytest.mark.parametrize(("name", "kind", "mode", "plans"), rows())
def test_the_table(name: str, kind: str, mode: str, plans: list[str]) -> None:
    policy, pointer = POLICIES[mode], pointer_of(name)
    found = [plan(name, qtype, pointer if qtype == PTR else None, policy) for qtype in (A, AAAA, PTR)]
    assert found == [Plan(each) for each in plans[:3]], kind
    assert {plan(name, qtype, None, policy) for qtype in OTHERS} == {Plan(plans[3])}


@pytest.mark.parametrize("refusal", ["REFUSED", "NXDOMAIN"])
@pytest.mark.parametrize("kind", NAMES)
def test_mode_refuse_refuses_all_but_what_does_not_exist_in_any_mode(refusal: str, kind: str) -> None:
    policy = DnsPolicy(refusal=refusal)  # type: ignore[arg-type]
    expected = Plan.NXDOMAIN if kind in ("onion", "canary") else Plan.REFUSE
    for name in NAMES[kind]:
        assert {plan(name, qtype, pointer_of(name), policy) for qtype in (A, AAAA, PTR, *OTHERS)} == {expected}


@pytest.mark.parametrize(
    ("text", "issue", "tor"),
    [
        ("2001:2::9", Plan.POINTER, Plan.RESOLVE_PTR),
        ("2001:db8::1", Plan.POINTER, Plan.RESOLVE_PTR),
        ("fe80::1", Plan.NXDOMAIN, Plan.NXDOMAIN),
        ("::1", Plan.NXDOMAIN, Plan.NXDOMAIN),
    ],
)
def test_pointers_of_ipv6(text: str, issue: Plan, tor: Plan) -> None:
    address = IPv6Address(text)
    assert plan(address.reverse_pointer, PTR, address, POLICIES["issue"]) is issue
    assert plan(address.reverse_pointer, PTR, address, POLICIES["tor"]) is tor


def test_a_name_that_spells_no_whole_address_points_nowhere() -> None:
    for mode in ("issue", "tor"):
        assert plan("184.93.in-addr.arpa", PTR, None, POLICIES[mode]) is Plan.NXDOMAIN


def test_the_types_are_those_of_the_codec() -> None:
    assert (A, PTR, AAAA) == (dns.TYPE_A, dns.TYPE_PTR, dns.TYPE_AAAA)


def test_every_plan_is_reached() -> None:
    words = {word for line in TABLE.strip().splitlines()[1:] for word in line.split()[1:]}
    assert {Plan(word) for word in words} | {Plan.REFUSE} == set(Plan)


_LABELS = st.text(string.ascii_lowercase + string.digits + "-_ \\+", min_size=1, max_size=8)


@given(
    st.lists(_LABELS, min_size=1, max_size=5).map(".".join),
    st.sampled_from([A, AAAA, PTR, HTTPS]),
    st.sampled_from(sorted(POLICIES)),
)
@example("93.184.216.34", A, "issue")
def test_what_is_given_an_address_can_be_repaired(name: str, qtype: int, mode: str) -> None:
    """Whatever is issued or asked of Tor is a name to Tor, and neither local nor an address nor an onion name."""
    if plan(name, qtype, None, POLICIES[mode]) in (Plan.ISSUE4, Plan.ISSUE6, Plan.RESOLVE):
        assert is_valid_hostname(name.encode())
        assert address_from_text(name) is None
        assert not name.endswith((".local", ".onion", "localhost"))
        assert name.partition(".")[0] not in ("wpad", "isatap")


@given(st.text(string.ascii_letters + string.digits + "-_. \\é\n", max_size=12))
@example("a.")
@example("a..")
@example("")
@example("x" * 255)
def test_the_rule_for_names_is_the_codecs(name: str) -> None:
    assert is_hostname(name) == is_valid_hostname(name.encode())
