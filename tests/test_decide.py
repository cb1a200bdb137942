"""shim.judge.decide: the complete table of decisions, over protocol, command, kind of destination, mode and setting."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.judge.classify import classify
from shim.judge.decide import decide
from shim.model import (
    Action,
    Command,
    Decision,
    Exposure,
    Host,
    Knowledge,
    Mode,
    Protocol,
    Reply,
    Request,
    Standing,
)
from shim.policy import Policy

UNKNOWN = Knowledge()
BY_TOR = Knowledge(Standing.RESOLVED_BY_TOR, ("www.example.com",))
ONE_NAME = Knowledge(Standing.UNKNOWN, ("www.example.com",))
TWO_NAMES = Knowledge(Standing.UNKNOWN, ("www.example.com", "cdn.example.net"))
ISSUED = Knowledge(Standing.ISSUED, ("www.example.com",))
STALE = Knowledge(Standing.STALE)

V4 = IPv4Address("93.184.216.34")
V6 = IPv6Address("2001:db8::1")
MAPPED = IPv6Address("::ffff:93.184.216.34")
POOL_V4 = IPv4Address("198.18.7.9")
POOL_V6 = IPv6Address("2001:2::9")
ALLOWED = ("127.0.0.0/8", "localhost:8080")


@dataclass(frozen=True)
class Kind:
    """A kind of destination: how it arrives, what is known of it, what the user allowed."""

    host: Host
    knowledge: Knowledge = UNKNOWN
    allow_local: tuple[str, ...] = ()


KINDS = {
    "name": Kind("www.example.com"),
    "onion": Kind("duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"),
    "label": Kind("intranet"),
    "v4": Kind(V4),
    "v6": Kind(V6),
    "mapped": Kind(MAPPED),
    "v4-text": Kind("93.184.216.34"),
    "v6-text": Kind("[2001:db8::1]"),
    "odd-text": Kind("0x5d.12113954"),
    "local-v4": Kind(IPv4Address("127.0.0.1")),
    "local-v6": Kind(IPv6Address("fd00::1")),
    "local-mapped": Kind(IPv6Address("::ffff:192.168.1.1")),
    "local-text": Kind("10.0.0.1"),
    "local-odd-text": Kind("2130706433"),
    "local-zone-text": Kind("fe80::1%eth0"),
    "local-name": Kind("printer.local"),
    "localhost": Kind("LocalHost."),
    "local-v4-known": Kind(IPv4Address("127.0.0.1"), BY_TOR),
    "allowed-v4": Kind(IPv4Address("127.0.0.1"), allow_local=ALLOWED),
    "allowed-mapped": Kind(IPv6Address("::ffff:127.0.0.1"), allow_local=ALLOWED),
    "allowed-text": Kind("0x7f.1", allow_local=ALLOWED),
    "allowed-name": Kind("LOCALHOST.", allow_local=ALLOWED),
    "not-allowed-v4": Kind(IPv4Address("10.0.0.1"), allow_local=ALLOWED),
    "not-allowed-name": Kind("printer.local", allow_local=ALLOWED),
    "not-allowed-port": Kind("localhost", allow_local=("localhost:8081",)),
    "v4-by-tor": Kind(V4, BY_TOR),
    "text-by-tor": Kind(str(V4), BY_TOR),
    "v4-one-name": Kind(V4, ONE_NAME),
    "v6-one-name": Kind(V6, ONE_NAME),
    "text-one-name": Kind(str(V4), ONE_NAME),
    "v4-two-names": Kind(V4, TWO_NAMES),
    "text-two-names": Kind(str(V4), TWO_NAMES),
    "v4-issued": Kind(POOL_V4, ISSUED),
    "v6-issued": Kind(POOL_V6, ISSUED),
    "text-issued": Kind(str(POOL_V4), ISSUED),
    "v4-stale": Kind(POOL_V4, STALE),
    "v6-stale": Kind(POOL_V6, STALE),
    "text-stale": Kind(str(POOL_V4), STALE),
}

# What each word of the table means. Replies: 02 not allowed, 07 command not supported (SOCKS5 REP).
MEANING = {
    "pass": Decision(Action.FORWARD),
    "REPAIR": Decision(Action.REPAIR, host="www.example.com"),
    "ADDRESS": Decision(Action.BLOCK, "address_only", Reply(0x02)),
    "TEXT": Decision(Action.BLOCK, "address_as_text", Reply(0x02)),
    "LOCAL": Decision(Action.BLOCK, "local_destination", Reply(0x02)),
    "ISSUED": Decision(Action.BLOCK, "issued", Reply(0x02)),
    "STALE": Decision(Action.BLOCK, "stale", Reply(0x02)),
    "COMMAND": Decision(Action.BLOCK, "command_not_supported", Reply(0x07)),
}

COLUMNS: list[tuple[Mode, Literal["warn", "block"]]] = [
    (Mode.WARN, "warn"),
    (Mode.WARN, "block"),
    (Mode.BLOCK, "warn"),
    (Mode.BLOCK, "block"),
    (Mode.REPAIR, "warn"),
    (Mode.REPAIR, "block"),
]

# One row a command and kind of destination; the same for SOCKS4, SOCKS4a, SOCKS5 and HTTP, always.
# Six columns: each mode with policy.address_as_text = "warn", then "block".
TABLE = """
                             warn             block             repair
                             text: warn block text: warn block  text: warn block

CONNECT name                 pass    pass     pass    pass      pass    pass
CONNECT onion                pass    pass     pass    pass      pass    pass
CONNECT label                pass    pass     pass    pass      pass    pass
CONNECT v4                   pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
CONNECT v6                   pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
CONNECT mapped               pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
CONNECT v4-text              pass    pass     pass    TEXT      pass    TEXT
CONNECT v6-text              pass    pass     pass    TEXT      pass    TEXT
CONNECT odd-text             pass    pass     pass    TEXT      pass    TEXT
CONNECT local-v4             LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT local-v6             LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT local-mapped         LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT local-text           LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT local-odd-text       LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT local-zone-text      LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT local-name           LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT localhost            LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT local-v4-known       LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT allowed-v4           pass    pass     pass    pass      pass    pass
CONNECT allowed-mapped       pass    pass     pass    pass      pass    pass
CONNECT allowed-text         pass    pass     pass    pass      pass    pass
CONNECT allowed-name         pass    pass     pass    pass      pass    pass
CONNECT not-allowed-v4       LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT not-allowed-name     LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT not-allowed-port     LOCAL   LOCAL    LOCAL   LOCAL     LOCAL   LOCAL
CONNECT v4-by-tor            pass    pass     pass    pass      pass    pass
CONNECT text-by-tor          pass    pass     pass    pass      pass    pass
CONNECT v4-one-name          pass    pass     ADDRESS ADDRESS   REPAIR  REPAIR
CONNECT v6-one-name          pass    pass     ADDRESS ADDRESS   REPAIR  REPAIR
CONNECT text-one-name        pass    pass     pass    TEXT      REPAIR  REPAIR
CONNECT v4-two-names         pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
CONNECT text-two-names       pass    pass     pass    TEXT      pass    TEXT
CONNECT v4-issued            REPAIR  REPAIR   ISSUED  ISSUED    REPAIR  REPAIR
CONNECT v6-issued            REPAIR  REPAIR   ISSUED  ISSUED    REPAIR  REPAIR
CONNECT text-issued          REPAIR  REPAIR   ISSUED  ISSUED    REPAIR  REPAIR
CONNECT v4-stale             STALE   STALE    STALE   STALE     STALE   STALE
CONNECT v6-stale             STALE   STALE    STALE   STALE     STALE   STALE
CONNECT text-stale           STALE   STALE    STALE   STALE     STALE   STALE

RESOLVE name                 pass    pass     pass    pass      pass    pass
RESOLVE onion                pass    pass     pass    pass      pass    pass
RESOLVE label                pass    pass     pass    pass      pass    pass
RESOLVE v4                   pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE v6                   pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE mapped               pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE v4-text              pass    pass     pass    pass      pass    pass
RESOLVE v6-text              pass    pass     pass    pass      pass    pass
RESOLVE odd-text             pass    pass     pass    pass      pass    pass
RESOLVE local-v4             pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE local-v6             pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE local-mapped         pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE local-text           pass    pass     pass    pass      pass    pass
RESOLVE local-odd-text       pass    pass     pass    pass      pass    pass
RESOLVE local-zone-text      pass    pass     pass    pass      pass    pass
RESOLVE local-name           pass    pass     pass    pass      pass    pass
RESOLVE localhost            pass    pass     pass    pass      pass    pass
RESOLVE local-v4-known       pass    pass     pass    pass      pass    pass
RESOLVE allowed-v4           pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE allowed-mapped       pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE allowed-text         pass    pass     pass    pass      pass    pass
RESOLVE allowed-name         pass    pass     pass    pass      pass    pass
RESOLVE not-allowed-v4       pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE not-allowed-name     pass    pass     pass    pass      pass    pass
RESOLVE not-allowed-port     pass    pass     pass    pass      pass    pass
RESOLVE v4-by-tor            pass    pass     pass    pass      pass    pass
RESOLVE text-by-tor          pass    pass     pass    pass      pass    pass
RESOLVE v4-one-name          pass    pass     ADDRESS ADDRESS   REPAIR  REPAIR
RESOLVE v6-one-name          pass    pass     ADDRESS ADDRESS   REPAIR  REPAIR
RESOLVE text-one-name        pass    pass     pass    pass      REPAIR  REPAIR
RESOLVE v4-two-names         pass    pass     ADDRESS ADDRESS   ADDRESS ADDRESS
RESOLVE text-two-names       pass    pass     pass    pass      pass    pass
RESOLVE v4-issued            REPAIR  REPAIR   ISSUED  ISSUED    REPAIR  REPAIR
RESOLVE v6-issued            REPAIR  REPAIR   ISSUED  ISSUED    REPAIR  REPAIR
RESOLVE text-issued          REPAIR  REPAIR   ISSUED  ISSUED    REPAIR  REPAIR
RESOLVE v4-stale             STALE   STALE    STALE   STALE     STALE   STALE
RESOLVE v6-stale             STALE   STALE    STALE   STALE     STALE   STALE
RESOLVE text-stale           STALE   STALE    STALE   STALE     STALE   STALE

RESOLVE_PTR name             pass    pass     pass    pass      pass    pass
RESOLVE_PTR onion            pass    pass     pass    pass      pass    pass
RESOLVE_PTR label            pass    pass     pass    pass      pass    pass
RESOLVE_PTR v4               pass    pass     pass    pass      pass    pass
RESOLVE_PTR v6               pass    pass     pass    pass      pass    pass
RESOLVE_PTR mapped           pass    pass     pass    pass      pass    pass
RESOLVE_PTR v4-text          pass    pass     pass    pass      pass    pass
RESOLVE_PTR v6-text          pass    pass     pass    pass      pass    pass
RESOLVE_PTR odd-text         pass    pass     pass    pass      pass    pass
RESOLVE_PTR local-v4         pass    pass     pass    pass      pass    pass
RESOLVE_PTR local-v6         pass    pass     pass    pass      pass    pass
RESOLVE_PTR local-mapped     pass    pass     pass    pass      pass    pass
RESOLVE_PTR local-text       pass    pass     pass    pass      pass    pass
RESOLVE_PTR local-odd-text   pass    pass     pass    pass      pass    pass
RESOLVE_PTR local-zone-text  pass    pass     pass    pass      pass    pass
RESOLVE_PTR local-name       pass    pass     pass    pass      pass    pass
RESOLVE_PTR localhost        pass    pass     pass    pass      pass    pass
RESOLVE_PTR local-v4-known   pass    pass     pass    pass      pass    pass
RESOLVE_PTR allowed-v4       pass    pass     pass    pass      pass    pass
RESOLVE_PTR allowed-mapped   pass    pass     pass    pass      pass    pass
RESOLVE_PTR allowed-text     pass    pass     pass    pass      pass    pass
RESOLVE_PTR allowed-name     pass    pass     pass    pass      pass    pass
RESOLVE_PTR not-allowed-v4   pass    pass     pass    pass      pass    pass
RESOLVE_PTR not-allowed-name pass    pass     pass    pass      pass    pass
RESOLVE_PTR not-allowed-port pass    pass     pass    pass      pass    pass
RESOLVE_PTR v4-by-tor        pass    pass     pass    pass      pass    pass
RESOLVE_PTR text-by-tor      pass    pass     pass    pass      pass    pass
RESOLVE_PTR v4-one-name      pass    pass     pass    pass      pass    pass
RESOLVE_PTR v6-one-name      pass    pass     pass    pass      pass    pass
RESOLVE_PTR text-one-name    pass    pass     pass    pass      pass    pass
RESOLVE_PTR v4-two-names     pass    pass     pass    pass      pass    pass
RESOLVE_PTR text-two-names   pass    pass     pass    pass      pass    pass
RESOLVE_PTR v4-issued        ISSUED  ISSUED   ISSUED  ISSUED    ISSUED  ISSUED
RESOLVE_PTR v6-issued        ISSUED  ISSUED   ISSUED  ISSUED    ISSUED  ISSUED
RESOLVE_PTR text-issued      ISSUED  ISSUED   ISSUED  ISSUED    ISSUED  ISSUED
RESOLVE_PTR v4-stale         STALE   STALE    STALE   STALE     STALE   STALE
RESOLVE_PTR v6-stale         STALE   STALE    STALE   STALE     STALE   STALE
RESOLVE_PTR text-stale       STALE   STALE    STALE   STALE     STALE   STALE

BIND *                       COMMAND COMMAND  COMMAND COMMAND   COMMAND COMMAND
UDP_ASSOCIATE *              COMMAND COMMAND  COMMAND COMMAND   COMMAND COMMAND
"""

Cell = tuple[Command, str, Mode, str]


def expected_decisions() -> dict[Cell, Decision]:
    """The table, read; `*` stands for every kind of destination. A cell given twice is a mistake in the table."""
    cells: dict[Cell, Decision] = {}
    for line in TABLE.strip().splitlines()[3:]:
        if not line:
            continue
        command, kind, *words = line.split()
        for each in KINDS if kind == "*" else (kind,):
            for (mode, setting), word in zip(COLUMNS, words, strict=True):
                cell = (Command(command), each, mode, setting)
                assert cell not in cells, f"given twice: {cell}"
                cells[cell] = MEANING[word]
    return cells


EXPECTED = expected_decisions()


def decided(
    protocol: Protocol, command: Command, kind: Kind, mode: Mode, setting: Literal["warn", "block"]
) -> Decision:
    """What the judge does, classification included."""
    request = Request(protocol, command, kind.host, 8080)
    policy = Policy(mode=mode, address_as_text=setting, allow_local=kind.allow_local)
    return decide(request, classify(request, kind.knowledge), kind.knowledge, policy)


def test_the_table_is_complete() -> None:
    every = {(command, kind, mode, setting) for command, kind, (mode, setting) in product(Command, KINDS, COLUMNS)}
    assert {(mode, setting) for mode, setting in COLUMNS} == set(product(Mode, ("warn", "block")))
    assert set(EXPECTED) == every


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("kind", KINDS)
def test_every_cell(protocol: Protocol, command: Command, kind: str) -> None:
    for mode, setting in COLUMNS:
        found = decided(protocol, command, KINDS[kind], mode, setting)
        assert found == EXPECTED[command, kind, mode, setting], f"{mode} with text {setting}"


# TROVE-2022-002: from 0.3.5.1-alpha to 0.4.7.12 Tor's SafeSocks refused SOCKS4a, which is safe, and let SOCKS4 with an
# address pass, which is not. The four cells, both ways round, for every mode.
SOCKS4_AND_4A = [
    (Protocol.SOCKS4, V4, "unsafe", {"warn": "pass", "block": "ADDRESS", "repair": "ADDRESS"}),
    (Protocol.SOCKS4, "www.example.com", "safe", {"warn": "pass", "block": "pass", "repair": "pass"}),
    (Protocol.SOCKS4A, "www.example.com", "safe", {"warn": "pass", "block": "pass", "repair": "pass"}),
    (Protocol.SOCKS4A, V4, "unsafe", {"warn": "pass", "block": "ADDRESS", "repair": "ADDRESS"}),
]


@pytest.mark.parametrize(("protocol", "host", "safety", "expected"), SOCKS4_AND_4A)
@pytest.mark.parametrize("command", [Command.CONNECT, Command.RESOLVE])
@pytest.mark.parametrize("mode", Mode)
def test_socks4_and_socks4a_are_never_inverted_trove_2022_002(
    protocol: Protocol, host: Host, safety: str, expected: dict[str, str], command: Command, mode: Mode
) -> None:
    request = Request(protocol, command, host, 80)
    exposure = classify(request, UNKNOWN)
    assert exposure is (Exposure.NAME if safety == "safe" else Exposure.ADDRESS)
    assert decide(request, exposure, UNKNOWN, Policy(mode=mode)) == MEANING[expected[mode]]


@pytest.mark.parametrize("mode", Mode)
def test_an_issued_address_without_exactly_one_name_goes_nowhere(mode: Mode) -> None:
    for names in ((), ("a.example", "b.example")):
        knowledge = Knowledge(Standing.ISSUED, names)
        request = Request(Protocol.SOCKS5, Command.CONNECT, POOL_V4, 80)
        assert decide(request, Exposure.ISSUED, knowledge, Policy(mode=mode)) == MEANING["STALE"]


@given(
    st.builds(
        Request,
        st.sampled_from(Protocol),
        st.sampled_from(Command),
        st.one_of(st.ip_addresses(), st.text(), st.text("0123456789.:[]%xf")),
        st.integers(0, 65535),
    ),
    st.sampled_from(Exposure),
    st.builds(Knowledge, st.sampled_from(Standing), st.lists(st.text(), max_size=3).map(tuple)),
    st.builds(
        Policy,
        mode=st.sampled_from(Mode),
        address_as_text=st.sampled_from(["warn", "block"]),
        allow_local=st.sampled_from([(), ALLOWED]),
    ),
)
def test_total_and_well_formed(request: Request, exposure: Exposure, knowledge: Knowledge, policy: Policy) -> None:
    decision = decide(request, exposure, knowledge, policy)
    if decision.action is Action.FORWARD:
        assert decision == Decision(Action.FORWARD)
    if decision.action is Action.REPAIR:
        assert decision == Decision(Action.REPAIR, host=knowledge.names[0])
    if decision.action is Action.BLOCK:
        assert decision.reason
        assert decision.reply
        assert decision.host is None
