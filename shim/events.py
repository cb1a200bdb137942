"""Everything that can have happened, as frozen values.

`at` is seconds since the epoch, UTC. `conn` and `query` are opaque ids, unique in a run.
Invariants (tested): every accepted connection ends in exactly one ConnectionClosed;
every parsed request has exactly one RequestDecided, before its reply, or, where `policy.wait_for_name` has had it
answered too early, before anything goes upstream.
Destinations stand here in clear: only `shim.record` turns events into text, and scrubs there.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from shim.model import (
    Action,
    Answer,
    Command,
    Confidence,
    DnsAnswer,
    LeakKind,
    Peer,
    Process,
    Request,
    Verdict,
)
from shim.value import value


@value
class Ready:
    """The listeners are bound, upstream up or not. Addresses as HOST:PORT, [V6]:PORT or unix:PATH.

    `sandbox` names what is in force of it, by the first worker.
    """

    at: float
    socks: tuple[str, ...]
    http: tuple[str, ...]
    dns: tuple[str, ...]
    dashboard: tuple[str, ...]
    upstream: str | None
    mode: str
    sandbox: tuple[str, ...] = ()


@value
class RequestDecided:
    """A request was parsed and judged; its reply has not been sent yet.

    `offers` is what ServerCodec.offers says of the handshake; it is told only where a finding may follow.
    """

    at: float
    conn: str
    peer: Peer
    listener: str
    request: Request
    verdict: Verdict
    offers: str = ""


@value
class HandshakeFailed:
    """A client broke the protocol or ran out of time before a request was parsed.

    `foreign` names another protocol than the port's when its first bytes show one; `reply` is what was sent.
    """

    at: float
    conn: str
    peer: Peer
    listener: str
    error: str
    reply: bytes
    foreign: str | None = None


@value
class FirstBytesSeen:
    """The client's first bytes behind an address request said where they go: `protocol` is "tls" or "http".

    `name` is the SNI or Host in lower case, None when there was none; `address` tells that an address stood in its
    place, `encrypted` that the ClientHello has an encrypted_client_hello extension (perhaps a meaningless one).
    """

    at: float
    conn: str
    protocol: str
    name: str | None
    address: bool
    encrypted: bool


@value
class UpstreamAnswered:
    """The upstream replied to a request. For RESOLVE, `answer.host` is what Tor found."""

    at: float
    conn: str
    peer: Peer
    request: Request
    answer: Answer


@value
class UpstreamFailed:
    """The upstream is away, slow or broke SOCKS5. `upstream` is its address, `error` a short code."""

    at: float
    upstream: str
    error: str
    conn: str | None = None
    query: str | None = None


@value
class UpstreamChanged:
    """`auto` has chosen an upstream."""

    at: float
    upstream: str | None


@value
class TorBootstrapped:
    """Our own tor child reports how far it is. `progress` is 0 to 100, `summary` Tor's own short text."""

    at: float
    progress: int
    summary: str


@value
class TorAsked:
    """Tor says at its control port that it was asked for something, and it was not the shim that asked.

    `stream` is an opaque id, unique in a run. `source` is the client's end, HOST:PORT; or unix:PATH of Tor's listener,
    behind which all clients look alike; None where Tor tells none. `dangerous` is Tor's own warning that it was given
    only an address, `refused` that SafeSocks let it no further. `confidence` says how sure it is that the shim's own
    request cannot be meant.
    """

    at: float
    stream: str
    source: str | None
    protocol: str
    command: Command
    destination: str
    dangerous: bool
    refused: bool
    confidence: Confidence


@value
class ControlConnected:
    """Tor's control port `control` tells from now on what Tor is asked for."""

    at: float
    control: str


@value
class ControlFailed:
    """Tor's control port cannot be used, or no longer; `error` is a short code. It is tried again."""

    at: float
    control: str
    error: str


@value
class ControlDropped:
    """`count` of the things that Tor told came faster than they could be taken, and were not looked at."""

    at: float
    count: int


@value
class ConnectionClosed:
    """An accepted connection has ended, for whatever reason.

    `sent` counts application bytes passed to the upstream, `received` bytes written to the client,
    the handshake's replies included; `seconds` since accept.
    """

    at: float
    conn: str
    sent: int
    received: int
    seconds: float
    reason: str


@value
class DnsQueried:
    """The sensor was asked, and has answered or dropped the query.

    `qname` is the name in lower case and printable, without a trailing dot: escape it no further, scrub it.
    `qtype` and `rcode` are the mnemonics (TYPE1234 where there is none); `rcode` is empty for a dropped query.
    `addresses` are those of the answer: issued ones, or what Tor found.
    """

    at: float
    query: str
    peer: Peer
    listener: str
    transport: str
    qname: str
    qtype: str
    rcode: str
    answer: DnsAnswer
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    process: Process | None = None
    process_reason: str | None = "off"


@value
class QueriesDropped:
    """The sensor left `count` queries unanswered since it last said so. `peer` sent the last.

    `reason` is the setting whose limit they were above, or "send_queue": their replies were made, and not taken.
    """

    at: float
    peer: Peer
    count: int
    reason: str = "queries_per_second"


@value
class StateFailed:
    """The file of `dns.state` cannot be read or written: issued addresses may not survive a restart."""

    at: float
    error: str


@value
class ProcessSought:
    """A look-up of who sent `subject` (a `conn` or `stream`) has begun; its findings wait for the ProcessIdentified."""

    at: float
    subject: str


@value
class ProcessIdentified:
    """A look-up has ended: the program that sent `subject` (`conn`, `query`, `stream`), or why it is unknown."""

    at: float
    subject: str
    process: Process | None
    reason: str | None = None


@value
class HelperEnded:
    """A process of our own has ended: `witness`, which looks up programs, `guardian`, which starts it and tor, or a
    `worker` that was not told to.
    """

    at: float
    helper: str


@value
class LeakFound:
    """A finding, or a higher revision of one. `advice` is a message id of the catalogue.

    `count` is 1 for the first finding of this program, kind and name, 2 for the next. `stream` is that of a TorAsked.
    `offers` is that of the request, for whoever knows programs by it.
    """

    at: float
    finding: str
    revision: int
    kind: LeakKind
    confidence: Confidence
    protocol: str
    port: int | None
    destination: str
    action: Action
    evidence: tuple[str, ...]
    rule: str
    advice: str
    conn: str | None = None
    query: str | None = None
    name: str | None = None
    process: Process | None = None
    process_reason: str | None = "off"
    prevented: bool | None = None
    count: int = 1
    stream: str | None = None
    offers: str = ""


@value
class SettingUnused:
    """This setting was changed and has no effect, because there is nothing at `needs`. Both as section.key."""

    at: float
    setting: str
    needs: str


@value
class ConfigReloaded:
    """SIGHUP: the new configuration is in force, but for the keys listed, which need a restart."""

    at: float
    needs_restart: tuple[str, ...]


@value
class ConfigRejected:
    """SIGHUP: the new configuration is bad, the old one stays."""

    at: float
    problems: tuple[str, ...]


@value
class ListenerPaused:
    """accept() failed for want of descriptors or memory; the listener rests for a moment."""

    at: float
    listener: str
    error: str


@value
class ConnectionRefused:
    """A limit refused a connection before anything was read from it. `limit` names the setting."""

    at: float
    conn: str
    peer: Peer
    limit: str


@value
class Draining:
    """The shim ends: no new connections, `open` ones may finish for `seconds`."""

    at: float
    open: int
    seconds: float


@value
class Fault:
    """An exception that should not have happened: its type and place, never its contents."""

    at: float
    error: str
    place: str

    @classmethod
    def of(cls, error: BaseException | None, at: float) -> Fault:
        """What happened and in which line of which file: nothing of what the exception says."""
        trace = None if error is None else error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "unknown" if trace is None else f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}"
        return cls(at, type(error).__name__, place)


Event = (
    Ready
    | RequestDecided
    | HandshakeFailed
    | FirstBytesSeen
    | UpstreamAnswered
    | UpstreamFailed
    | UpstreamChanged
    | TorBootstrapped
    | TorAsked
    | ControlConnected
    | ControlFailed
    | ControlDropped
    | ConnectionClosed
    | DnsQueried
    | QueriesDropped
    | StateFailed
    | ProcessSought
    | ProcessIdentified
    | HelperEnded
    | LeakFound
    | SettingUnused
    | ConfigReloaded
    | ConfigRejected
    | ListenerPaused
    | ConnectionRefused
    | Draining
    | Fault
)
