"""The cases in which the shim differs from tor on purpose, one by one, each with its reason.

A case that is not named here must come out the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rig.oracle import Outcome
from rig.wire import AUTH_OK, NO_AUTH, REFUSED4, WITH_AUTH, refused5


@dataclass(frozen=True)
class Difference:
    """A case in which the shim differs from tor on purpose: why, and what the shim does instead."""

    reason: str
    instead: Callable[[Outcome], Outcome]


def refused_like_safesocks(tor: Outcome) -> Outcome:
    reply = tor.reply or REFUSED4 if tor.reply[:1] != b"\x05" else NO_AUTH + refused5(2)
    return Outcome(None, reply, unsafe=False)


def refused_as_malformed(_: Outcome) -> Outcome:
    return Outcome(None, NO_AUTH + refused5(1), unsafe=False)


LOCAL = Difference(
    "tor refuses local destinations only after it has chosen a circuit, and as unsafe addresses before; "
    "the shim refuses them at once and calls them what they are",
    refused_like_safesocks,
)
COMMAND_FIRST = Difference(
    "tor judges the address of a SOCKS4 request before it looks at the command; a command that is refused anyway "
    "gives no address to Tor, so the shim does not call it one",
    lambda tor: replace(tor, unsafe=False),
)
NUL = Difference("tor cuts a name at an embedded NUL and asks for another one; the shim refuses", refused_as_malformed)
MIXED = Difference(
    "tor reads each message by its own first byte, so a SOCKS4 request passes behind a SOCKS5 greeting; "
    "the shim holds the client to the version it greeted with",
    refused_as_malformed,
)
NO_PAGE = Difference(
    "tor answers HTTP with a page that confirms the port to any web site; the shim closes unless policy.http_hint",
    lambda _: Outcome(None, b"", unsafe=False),
)
LONG = Difference(
    "tor cuts a name of 255 bytes in its event, though not on its way",
    lambda tor: replace(tor, target="a" * 250 + ".test:80"),
)
PROPOSAL_351 = Difference(
    "what follows <torS0X> has one meaning to C-tor, another to Arti and none to older versions: "
    "the shim passes it on and leaves the refusal to the upstream",
    lambda _: Outcome("NAME:80", WITH_AUTH + AUTH_OK, unsafe=False),
)
IMPATIENT = Difference(
    "tor takes a second greeting for a broken request; the shim answers it once, because no request begins so",
    lambda _: Outcome("NAME:80", NO_AUTH, unsafe=False),
)
DIFFERENCES = {
    "socks4 address 0.0.1.0 is no 4a mark": LOCAL,
    "socks4 loopback address": LOCAL,
    "socks4 private address": LOCAL,
    "socks5 loopback address": LOCAL,
    "socks5 IPv6 loopback address": LOCAL,
    "socks5 link-local address": LOCAL,
    "socks5 private address as text": LOCAL,
    "socks5 name localhost": LOCAL,
    "socks4 BIND of an address": COMMAND_FIRST,
    "socks4 RESOLVE_PTR of an address": COMMAND_FIRST,
    "socks5 embedded NUL in a name": NUL,
    "socks5 request of version 4 behind a greeting of 5": MIXED,
    "socks5 name of 255 bytes": LONG,
    "socks4a name of 255 bytes": LONG,
    "auth proposal 351, nothing behind the mark": PROPOSAL_351,
    "auth proposal 351, object id": PROPOSAL_351,
    "auth proposal 351, more behind the 0": PROPOSAL_351,
    "greeting sent twice": IMPATIENT,
    "HTTP request": NO_PAGE,
    "HTTP CONNECT": NO_PAGE,
}
