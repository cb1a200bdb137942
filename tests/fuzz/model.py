"""What a session owes each of its sides, by what both have said so far: pure codecs, in one piece, and no sockets.

It says what may come and in which order, not when: what has come must be a beginning of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from shim.errors import ProtocolError, UpstreamError
from shim.model import Action, Command, Credentials, Decision, Exposure, Reply, Request, Verdict
from shim.protocol import ServerCodec
from shim.protocol.socks_client import GRANTED, SocksClient
from shim.protocol.wire import HTTP_HINT_PAGE

NOT_SUPPORTED = Verdict(
    Exposure.NOT_APPLICABLE, Decision(Action.BLOCK, "command", Reply.COMMAND_NOT_SUPPORTED), finding=False
)
LONGEST_HANDSHAKE = 9000
"""Bytes within which every codec has its answer: 8192 of a request's head are the most."""


@dataclass(frozen=True)
class Setting:
    """How the session stands: its codec, how its request is judged, and which upstream there is."""

    codec: Callable[[], ServerCodec]
    verdict: Verdict
    named: Verdict | None = None
    """The verdict once a name was heard, where that is waited for."""
    isolation: Credentials | None = None
    pipelining: bool = True
    upstream: bool = True
    hint: bool = False

    def judged(self, request: Request) -> Verdict:
        """As a judge judges who is not made to: what cannot be sent on is refused, and heard is only who will speak."""
        command = request.command
        if command in (Command.BIND, Command.UDP_ASSOCIATE):
            return NOT_SUPPORTED
        if self.verdict.hear is not None and command is not Command.CONNECT:
            return replace(self.verdict, hear=None)
        if self.verdict.decision.host is not None and command is Command.RESOLVE_PTR:
            return NOT_SUPPORTED
        return self.verdict

    def hears(self, request: Request) -> bool:
        """Whether a success is told before the request is decided."""
        return self.judged(request).hear is not None and self.upstream


@dataclass(frozen=True)
class Owed:
    """Bytes to each side. `instead` is what the client gets in place of all behind `steps`, if the upstream fails."""

    upstream: bytes = b""
    steps: bytes = b""
    client: bytes = b""
    instead: bytes = b""
    asks: bool = False
    """The upstream is asked at all."""
    tunnel: bool = False
    """Both have agreed: bytes are passed on."""

    def may_have_sent(self, to_client: bytes, to_upstream: bytes) -> bool:
        """Whether this much, and no other, may have come by now."""
        ways = self.steps + self.client, self.steps + self.instead
        return any(way.startswith(to_client) for way in ways) and self.upstream.startswith(to_upstream)


def owed(setting: Setting, client_said: bytes, upstream_said: bytes) -> Owed:
    """What is owed when this much was said."""
    codec = setting.codec()
    try:
        request = codec.receive_data(client_said[:LONGEST_HANDSHAKE])
    except ProtocolError as error:
        hint = setting.hint and error.protocol == "http" and not error.reply
        return Owed(steps=codec.data_to_send(), client=HTTP_HINT_PAGE if hint else error.reply)
    steps = codec.data_to_send()
    if request is None:
        return Owed(steps=steps)
    if not setting.hears(request):
        return replace(_asked(setting, setting.judged(request), client_said, upstream_said, True), steps=steps)
    told = codec.reply(GRANTED)
    verdict = setting.named or setting.verdict
    return replace(_asked(setting, verdict, client_said, upstream_said, False), steps=steps + told)


def _heard(setting: Setting, said: bytes) -> tuple[ServerCodec, Request, bytes]:
    codec = setting.codec()
    request = codec.receive_data(said[:LONGEST_HANDSHAKE])
    assert request is not None
    return codec, request, codec.trailing_data() + said[LONGEST_HANDSHAKE:]


def _asked(setting: Setting, verdict: Verdict, client_said: bytes, upstream_said: bytes, replies: bool) -> Owed:
    """From the verdict on. Without `replies`, the client has had its reply."""
    codec, request, behind = _heard(setting, client_said)
    if verdict.decision.action is Action.BLOCK:
        return Owed(client=codec.refuse(verdict.decision.reply or Reply.NOT_ALLOWED) if replies else b"")
    instead = _heard(setting, client_said)[0].refuse(Reply.GENERAL_FAILURE) if replies else b""
    if not setting.upstream:
        return Owed(client=instead)
    if verdict.decision.host is not None:
        request = replace(request, host=verdict.decision.host)
    leg = SocksClient(request, request.credentials or setting.isolation, pipelining=setting.pipelining)
    sent = leg.data_to_send()
    try:
        answer = leg.receive_data(upstream_said[:LONGEST_HANDSHAKE])
    except UpstreamError:
        answer = None
    sent += leg.data_to_send()
    if answer is None:
        return Owed(sent, client=instead, asks=True)
    reply = codec.reply(answer) if replies else b""
    if answer.reply != Reply.SUCCEEDED or request.command is not Command.CONNECT:
        return Owed(sent, client=reply, instead=instead, asks=True)
    early = leg.trailing_data() + upstream_said[LONGEST_HANDSHAKE:]
    return Owed(sent + behind, client=reply + early, instead=instead, asks=True, tunnel=True)
