"""Any text: the readers of names and addresses agree with each other, and what they have read reads the same again."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from random import Random

from fuzz import grammar
from shim.address import Address, AddressError, parse_network
from shim.judge import hosts, names
from shim.judge.answering import plan
from shim.model import DnsMode
from shim.policy import DnsPolicy
from shim.protocol.dns import presentation
from shim.protocol.hostname import is_valid_hostname, read_address, read_hostname

COVERS = ("shim.protocol.hostname", "shim.address", "shim.judge.hosts", "shim.judge.names")


def one_input(data: bytes) -> None:
    _hostname(data)
    text = data.decode("utf-8", "surrogateescape")
    _places(text)
    kind = names.kind_of(text)
    assert kind in names.NameKind
    labels = tuple(label[:63] for label in data[:250].split(b".") if label)
    told = presentation(labels)
    assert told.isascii()
    for mode in DnsMode:
        plan(told, 1, None, DnsPolicy(mode))


def generate(rng: Random) -> bytes:
    host = grammar.name(rng)
    match rng.randrange(6):
        case 0:
            return host + b":%d" % grammar.port(rng)
        case 1:
            return b"[" + host + b"]:%d" % grammar.port(rng)
        case 2:
            return rng.choice(grammar.ADDRESSES).encode() + b"/%d" % rng.randrange(140)
        case 3:
            return b"unix:/" + grammar.field(rng, 120)
    return host


def _hostname(raw: bytes) -> None:
    valid = is_valid_hostname(raw)
    try:
        assert read_hostname(raw) == raw.decode("ascii")
        assert valid
    except ValueError:
        assert not valid
    address = read_address(raw)
    if address is not None:
        assert read_address(str(address).encode("ascii")) == address
        if isinstance(address, IPv6Address) or b"[" not in raw:
            assert hosts.address_from_text(raw.decode("ascii")) is not None
    if valid and address is None and b":" not in raw:
        assert hosts.is_hostname(raw.strip(b"[]").decode("ascii")), "the judge knows it as a name too"


def _places(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError as error:
        assert error.reason.startswith("reason.")
    else:
        assert Address.parse(str(address)) == address
        assert address.is_loopback in (True, False)
        assert not (address.is_unix and address.is_unspecified)
    network = parse_network(text)
    if network is not None:
        assert parse_network(str(network)) == network
    found = hosts.address_from_text(text)
    assert hosts.is_local_name(text) in (True, False)
    if found is not None:
        assert hosts.is_local_address(found) in (True, False)
        assert isinstance(hosts.normalise(found), IPv4Address | IPv6Address)
        assert hosts.canonical(text) == hosts.canonical(found)
    else:
        assert hosts.canonical(text) == hosts.canonical(text.upper()) or not text.isascii()
