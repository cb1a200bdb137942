"""shim.judge.classify: the exposure of every request, and the order in which the classes beat each other."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.judge.classify import classify
from shim.model import Command, Exposure, Host, Knowledge, Protocol, Request, Standing

UNKNOWN = Knowledge()
KNOWN = {
    "unknown": UNKNOWN,
    "remembered": Knowledge(Standing.UNKNOWN, ("www.example.com",)),
    "by tor": Knowledge(Standing.RESOLVED_BY_TOR, ("www.example.com",)),
    "issued": Knowledge(Standing.ISSUED, ("www.example.com",)),
    "stale": Knowledge(Standing.STALE),
}


def exposure(command: Command, host: Host, knowledge: Knowledge = UNKNOWN) -> Exposure:
    """The exposure, which must be the same whatever the protocol."""
    found = {classify(Request(protocol, command, host, 443), knowledge) for protocol in Protocol}
    assert len(found) == 1
    return found.pop()


# host, then the exposure of CONNECT and of RESOLVE. A binary address is written with a leading "=".
PLAIN = """
www.example.com         name             name
www.example.com.        name             name
intranet                name             name
example.onion           name             name
xn--bcher-kva.example   name             name
1password.com           name             name
256.1.1.1               name             name
1.2.3.4.example         name             name
1.2.3.4.5               name             name
localhost               local            local
LOCALHOST.              local            local
api.localhost           local            local
printer.local           local            local
=93.184.216.34          address          address
=2001:db8::1            address          address
=::ffff:93.184.216.34   address          address
=224.0.0.251            address          address
=100.64.0.1             address          address
=198.18.0.1             address          address
=64:ff9b::7f00:1        address          address
=127.0.0.1              local            address
=0.0.0.0                local            address
=10.0.0.1               local            address
=169.254.1.1            local            address
=172.16.0.1             local            address
=192.168.1.1            local            address
=::                     local            address
=::1                    local            address
=fd00::1                local            address
=fe80::1                local            address
=::ffff:127.0.0.1       local            address
93.184.216.34           address_as_text  address_as_text
93.184.216.34.          address_as_text  address_as_text
0x5d.184.216.34         address_as_text  address_as_text
0135.0270.0330.042      address_as_text  address_as_text
1572395042              address_as_text  address_as_text
93.12113954             address_as_text  address_as_text
2001:db8::1             address_as_text  address_as_text
[2001:db8::1]           address_as_text  address_as_text
2001:db8::1%eth0        address_as_text  address_as_text
::ffff:93.184.216.34    address_as_text  address_as_text
::ffff:93.184.216.034   address_as_text  address_as_text
127.0.0.1               local            address_as_text
127.1                   local            address_as_text
0177.0.0.1              local            address_as_text
0x7f000001              local            address_as_text
2130706433              local            address_as_text
[::1]                   local            address_as_text
fe80::1%eth0            local            address_as_text
::ffff:192.168.1.1      local            address_as_text
::ffff:127.0.0.01       local            address_as_text
"""


def parse(host: str) -> Host:
    """The host of a table's row."""
    return ip_address(host[1:]) if host.startswith("=") else host


@pytest.mark.parametrize(("host", "connect", "resolve"), [line.split() for line in PLAIN.strip().splitlines()])
def test_nothing_is_known(host: str, connect: str, resolve: str) -> None:
    assert exposure(Command.CONNECT, parse(host)) == connect
    assert exposure(Command.RESOLVE, parse(host)) == resolve


# What is known of the address, then CONNECT and RESOLVE of a binary address, then of the same address as text.
STANDINGS = """
unknown      address           address           address_as_text   address_as_text
remembered   address           address           address_as_text   address_as_text
by tor       resolved_by_tor   resolved_by_tor   resolved_by_tor   resolved_by_tor
issued       issued            issued            issued            issued
stale        issued            issued            issued            issued
"""


@pytest.mark.parametrize("line", STANDINGS.strip().splitlines())
def test_something_is_known(line: str) -> None:
    *known, connect, resolve, connect_text, resolve_text = line.split()
    knowledge = KNOWN[" ".join(known)]
    address = IPv4Address("198.18.7.9")
    assert exposure(Command.CONNECT, address, knowledge) == connect
    assert exposure(Command.RESOLVE, address, knowledge) == resolve
    assert exposure(Command.CONNECT, str(address), knowledge) == connect_text
    assert exposure(Command.RESOLVE, str(address), knowledge) == resolve_text


@pytest.mark.parametrize("knowledge", KNOWN.values(), ids=KNOWN)
@pytest.mark.parametrize("host", [IPv4Address("127.0.0.1"), IPv6Address("fe80::1"), "127.1", "localhost"])
def test_local_beats_all_that_is_known_of_a_connection(host: Host, knowledge: Knowledge) -> None:
    assert exposure(Command.CONNECT, host, knowledge) is Exposure.LOCAL


@pytest.mark.parametrize("knowledge", KNOWN.values(), ids=KNOWN)
def test_a_name_is_a_name_whatever_is_known(knowledge: Knowledge) -> None:
    assert exposure(Command.CONNECT, "www.example.com", knowledge) is Exposure.NAME


@pytest.mark.parametrize("command", [Command.BIND, Command.UDP_ASSOCIATE, Command.RESOLVE_PTR])
@pytest.mark.parametrize("knowledge", KNOWN.values(), ids=KNOWN)
@pytest.mark.parametrize("host", [IPv4Address("127.0.0.1"), IPv4Address("0.0.0.0"), "127.1", "localhost", "a.example"])
def test_other_commands_expose_nothing(command: Command, knowledge: Knowledge, host: Host) -> None:
    assert exposure(command, host, knowledge) is Exposure.NOT_APPLICABLE


@given(
    st.builds(
        Request,
        st.sampled_from(Protocol),
        st.sampled_from(Command),
        st.one_of(st.ip_addresses(), st.text(), st.text("0123456789.:[]%xf")),
        st.integers(0, 65535),
    ),
    st.sampled_from(list(KNOWN.values())),
)
def test_every_request_has_an_exposure(request: Request, knowledge: Knowledge) -> None:
    assert classify(request, knowledge) in Exposure
