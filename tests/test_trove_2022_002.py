"""TROVE-2022-002, from bytes to verdict: SOCKS4 with an address is unsafe, SOCKS4a with a name is safe, never reversed.

Tor's SafeSocks had the two inverted from 0.3.5.1-alpha to 0.4.7.12: neither the parser nor the policy was wrong by
itself, so this goes through both.
"""

from __future__ import annotations

import pytest

from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import Mode, Peer, Verdict
from shim.policy import Policy
from shim.protocol.socks_server import SocksServer

SAFE_4A = b"\x04\x01\x00\x50\x00\x00\x00\x01user\x00www.example.com\x00"
SAFE_4A_RESOLVE = b"\x04\xf0\x00\x00\x00\x00\x00\xff\x00www.example.com\x00"
UNSAFE_4 = b"\x04\x01\x00\x50\x5d\xb8\xd8\x22user\x00"
UNSAFE_4_RESOLVE = b"\x04\xf0\x00\x00\x5d\xb8\xd8\x22\x00"
UNSAFE_4_NEARLY_4A = b"\x04\x01\x00\x50\x01\x00\x00\x01user\x00www.example.com\x00"  # 1.0.0.1: the name is early data


def verdict(wire: bytes, mode: Mode) -> Verdict:
    """What becomes of these bytes."""
    request = SocksServer().receive_data(wire)
    assert request is not None
    return Judge(Policy(mode=mode), AnswerMemory()).judge(request, Peer("127.0.0.1", 40000), 0.0)


@pytest.mark.parametrize("wire", [SAFE_4A, SAFE_4A_RESOLVE])
@pytest.mark.parametrize("mode", Mode)
def test_safe_socks4a_is_forwarded_in_every_mode(wire: bytes, mode: Mode) -> None:
    found = verdict(wire, mode)
    assert (found.exposure, found.decision.action) == ("name", "forward")


@pytest.mark.parametrize("wire", [UNSAFE_4, UNSAFE_4_RESOLVE, UNSAFE_4_NEARLY_4A])
@pytest.mark.parametrize(("mode", "action"), [(Mode.WARN, "forward"), (Mode.BLOCK, "block"), (Mode.REPAIR, "block")])
def test_unsafe_socks4_is_refused_when_unsafe_requests_are(wire: bytes, mode: Mode, action: str) -> None:
    found = verdict(wire, mode)
    assert (found.exposure, found.decision.action) == ("address", action)


@pytest.mark.parametrize("mode", Mode)
def test_local_socks4_is_refused_in_every_mode(mode: Mode) -> None:
    found = verdict(b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", mode)
    assert (found.exposure, found.decision.reason) == ("local", "local_destination")
