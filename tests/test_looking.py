"""What is said of a process that was found: its name, or that it asks for others."""

from __future__ import annotations

import pytest

from shim.model import Process
from shim.witness.clues import Clue, Endpoint, Flow, LocalPeer
from shim.witness.looking import SHARED_RESOLVER, Sighting, sighting

ENDS = Endpoint("127.0.0.1", 40000), Endpoint("127.0.0.1", 5453)
QUERIES = [Flow("udp", *ENDS, query=True), Flow("tcp", *ENDS, query=True)]


@pytest.mark.parametrize("clue", QUERIES, ids=["udp", "tcp"])
@pytest.mark.parametrize(
    "process",
    [
        Process(1, "systemd-resolve", "/usr/lib/systemd/systemd-resolved"),
        Process(1, "renamed", "/usr/sbin/dnsmasq"),
        Process(1, "nscd", None),
        Process(1, "unbound", "/usr/sbin/unbound"),
        Process(1, "dnscrypt-proxy", "/usr/bin/dnscrypt-proxy"),
    ],
    ids=lambda process: process.name,
)
def test_a_resolver_that_others_share_hides_the_asker(clue: Clue, process: Process) -> None:
    assert sighting(clue, process, 101) == Sighting(None, SHARED_RESOLVER, 101)


@pytest.mark.parametrize("clue", [Flow("tcp", *ENDS), LocalPeer(5, 0, 0.0)], ids=["tcp", "unix"])
def test_a_request_of_such_a_program_is_its_own(clue: Clue) -> None:
    process = Process(1, "dnscrypt-proxy", "/usr/bin/dnscrypt-proxy")
    assert sighting(clue, process, 0) == Sighting(process, None, 0)


@pytest.mark.parametrize("clue", QUERIES, ids=["udp", "tcp"])
def test_everybody_else_is_named(clue: Clue) -> None:
    process = Process(1, "curl", "/usr/bin/curl")
    assert sighting(clue, process, None) == Sighting(process)
