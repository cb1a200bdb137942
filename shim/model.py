"""The nouns: what a request, a verdict and a finding are made of.

Values only: no sockets, no clocks, no policy.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, NamedTuple

from shim.value import value

Isolate = Literal["none", "client", "destination"]
"""Who is kept apart from whom by credentials of the shim's own."""

Host = IPv4Address | IPv6Address | str
"""DST.ADDR: an address as the client's binary field gave it, or a name (possibly an address as text)."""


class Protocol(StrEnum):
    """What the client spoke. SOCKS4 and SOCKS4a are told apart by the form of the address."""

    SOCKS4 = "socks4"
    SOCKS4A = "socks4a"
    SOCKS5 = "socks5"
    HTTP = "http"


class Command(StrEnum):
    """CMD of RFC 1928 section 4, and Tor's two extensions (socks-extensions, section 2)."""

    CONNECT = "CONNECT"
    BIND = "BIND"
    UDP_ASSOCIATE = "UDP_ASSOCIATE"
    RESOLVE = "RESOLVE"
    RESOLVE_PTR = "RESOLVE_PTR"


class Reply(IntEnum):
    """REP of RFC 1928 section 6. Tor's F0 to F7 travel as plain integers: `Answer.reply` is an `int`."""

    SUCCEEDED = 0x00
    GENERAL_FAILURE = 0x01
    NOT_ALLOWED = 0x02
    NETWORK_UNREACHABLE = 0x03
    HOST_UNREACHABLE = 0x04
    CONNECTION_REFUSED = 0x05
    TTL_EXPIRED = 0x06
    COMMAND_NOT_SUPPORTED = 0x07
    ADDRESS_TYPE_NOT_SUPPORTED = 0x08


class Mode(StrEnum):
    """What is done about an unsafe request: tell, refuse, or send the name in its place."""

    WARN = "warn"
    BLOCK = "block"
    REPAIR = "repair"


class DnsMode(StrEnum):
    """How the sensor answers: refuse, hand out an address that stands for the name, or ask Tor."""

    REFUSE = "refuse"
    ISSUE = "issue"
    TOR = "tor"


class DnsAnswer(StrEnum):
    """How one query was answered; `drop` means not at all."""

    REFUSE = "refuse"
    ISSUE = "issue"
    TOR = "tor"
    DROP = "drop"


class Exposure(StrEnum):
    """What the application gave away before it asked us."""

    NAME = "name"
    ADDRESS = "address"
    ADDRESS_AS_TEXT = "address_as_text"
    ISSUED = "issued"
    RESOLVED_BY_TOR = "resolved_by_tor"
    LOCAL = "local"
    NOT_APPLICABLE = "not_applicable"


class Action(StrEnum):
    """What became of a request or query."""

    FORWARD = "forward"
    REPAIR = "repair"
    BLOCK = "block"


class LeakKind(StrEnum):
    """The kinds of finding; each is described in docs/leaks.md."""

    ADDRESS_ONLY = "address_only"
    ADDRESS_AS_TEXT = "address_as_text"
    LOCAL_RESOLUTION = "local_resolution"
    DNS_BESIDE_PROXY = "dns_beside_proxy"
    DNS_QUERY = "dns_query"
    ONION_IN_DNS = "onion_in_dns"
    UDP_ATTEMPT = "udp_attempt"
    BIND_ATTEMPT = "bind_attempt"
    PLAINTEXT_PORT = "plaintext_port"
    LOCAL_DESTINATION = "local_destination"
    DIRECT_TRAFFIC = "direct_traffic"
    NOT_SOCKS = "not_socks"


class Confidence(StrEnum):
    """How sure a finding is. An address alone is never more than possible."""

    POSSIBLE = "possible"
    PROBABLE = "probable"
    CONFIRMED = "confirmed"


@value
class Credentials:
    """Username and password, byte for byte: Tor's key for stream isolation. Never shown, never logged."""

    username: bytes = field(repr=False)
    password: bytes = field(repr=False)


@value
class Request:
    """One parsed request, of any protocol. `port` is 0 to 65535."""

    protocol: Protocol
    command: Command
    host: Host
    port: int
    credentials: Credentials | None = None

    @property
    def destination(self) -> str:
        """HOST:PORT as the client sent it, an IPv6 address in brackets. Names its target: scrub it."""
        return endpoint(self.host, self.port)


@value
class Answer:
    """A SOCKS reply: REP (F0 to F7 included) and the bound address."""

    reply: int
    host: Host
    port: int


@value
class Peer:
    """Who connected: a socket address, or the uid behind a unix socket."""

    host: str
    port: int
    uid: int | None = None

    @property
    def key(self) -> str:
        """What makes two connections the same client: the source address, or the uid."""
        return self.host if self.uid is None else f"uid:{self.uid}"


class Ancestor(NamedTuple):
    """A process that another one descends from."""

    pid: int
    name: str


@value
class Process:
    """The program behind a socket, by the names that the kernel has for it.

    `start` is when it began (Linux: clock ticks since boot): with the pid it names a process for good. `arguments` may
    name destinations: scrub them. `script` is what an interpreter runs (`pip` of `python3 /usr/bin/pip`). `label` is
    `container:ID`, `flatpak:APP`, `snap:NAME`, `app:ID` or `unit:NAME`. `parents` go up to the leader of the session,
    nearest first. `wrapper` is what was preloaded to make its connections for it: `proxychains` or `torsocks`.
    """

    pid: int
    name: str
    exe: str | None
    start: int = 0
    arguments: tuple[str, ...] = field(default=(), repr=False)
    label: str | None = None
    uid: int | None = None
    parents: tuple[Ancestor, ...] = ()
    script: str | None = None
    wrapper: str | None = None


class Sought(Enum):
    """How far it is with looking up whose request it is: not begun, ended (with a program or none), or overdue."""

    NOT_YET = "not_yet"
    ENDED = "ended"
    LATE = "late"


class Standing(Enum):
    """What is known of an address before it is judged."""

    UNKNOWN = "unknown"
    ISSUED = "issued"
    STALE = "stale"
    RESOLVED_BY_TOR = "resolved_by_tor"


@value
class Knowledge:
    """What the memory of answers says of one address: its standing, and the names it was given for."""

    standing: Standing = Standing.UNKNOWN
    names: tuple[str, ...] = ()


@value
class Decision:
    """What is to be done. `reply` is the refusal's REP, `host` the name that replaces an address."""

    action: Action
    reason: str | None = None
    reply: Reply | None = None
    host: str | None = None


@value
class Verdict:
    """One request judged: what was exposed, and what is done about it.

    `plaintext` tells that it goes, or would have gone, to a port of unencrypted protocols. `rule` is the number of the
    policy's rule that fits, counted from 1, and `isolate` how that rule wants streams kept apart. `finding` tells that
    the correlator will make a finding of it, so that it is worth knowing which program it came from. `hear` is the mode
    that refuses it, if the client's first bytes are to be waited for all the same.
    """

    exposure: Exposure
    decision: Decision
    names: tuple[str, ...] = ()
    plaintext: bool = False
    rule: int = 0
    isolate: Isolate | None = None
    hear: Mode | None = None
    finding: bool = field(default=True, compare=False)


PENDING: Final = Verdict(Exposure.NOT_APPLICABLE, Decision(Action.BLOCK, None, Reply.GENERAL_FAILURE))
"""No verdict yet: a rule has to know first whose request it is. Whoever takes it for one refuses the request."""


def endpoint(host: Host, port: int) -> str:
    """HOST:PORT, or [V6]:PORT."""
    text = str(host)
    return f"[{text}]:{port}" if ":" in text and not text.startswith("[") else f"{text}:{port}"
