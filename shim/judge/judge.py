"""The judge as the data plane and the sensor see it: a request in, a verdict out; a query in, a plan out.

Holds the policies, the memory of answers and the issued addresses, and sees no event: findings are the correlator's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from shim.judge import answering
from shim.judge.answering import Plan
from shim.judge.classify import classify
from shim.judge.decide import FORWARD, REFUSE_LATE, decide, plaintext, worth_hearing, would_connect
from shim.judge.findings import shows
from shim.judge.hosts import address_from_text
from shim.judge.isolation import isolation
from shim.judge.issued import IssuedPool
from shim.judge.memory import UNKNOWN, AnswerMemory
from shim.judge.rules import by_rule, facts
from shim.model import (
    PENDING,
    Action,
    Answer,
    Command,
    Credentials,
    Decision,
    Exposure,
    Isolate,
    Knowledge,
    Mode,
    Peer,
    Process,
    Reply,
    Request,
    Sought,
    Standing,
    Verdict,
)
from shim.policy import DnsPolicy, Policy

_RULED = frozenset((Command.CONNECT, Command.RESOLVE, Command.RESOLVE_PTR))
"""The other commands are refused, whatever any rule says."""

_NAME_FORWARDED = Verdict(Exposure.NAME, FORWARD, finding=False)  # the common case allocates nothing


class Judge:
    """Judges every request and every query; each `at` is in seconds, all by one clock.

    `policy`, `dns` and `pool` may be replaced at any time; the memory stays. `pool` holds the issued addresses while
    the sensor issues any, and is None otherwise: they are ordinary addresses then.
    """

    __slots__ = ("_memory", "_salt", "dns", "policy", "pool")

    def __init__(
        self,
        policy: Policy,
        memory: AnswerMemory,
        salt: bytes = b"",
        dns: DnsPolicy | None = None,
        pool: IssuedPool | None = None,
    ) -> None:
        """`salt` keys the credentials that `policy.isolate` makes: random, and new for each run."""
        self.policy = policy
        self.dns = dns or DnsPolicy()
        self.pool = pool
        self._memory = memory
        self._salt = salt

    def judge(
        self,
        request: Request,
        peer: Peer,
        at: float,
        listener: str = "",
        process: Process | None = None,
        sought: Sought = Sought.NOT_YET,
    ) -> Verdict:
        """The verdict on one request, which came to `listener`.

        PENDING where a rule has to know first whose it is: then ask again with `sought`, and the program if there is
        one. No rule that names a program fits a request of nobody; what is LATE is refused.
        """
        policy = self.policy
        if policy.asks_first and process is None and sought is Sought.NOT_YET and request.command in _RULED:
            return PENDING
        host = request.host
        address = address_from_text(host) if isinstance(host, str) else host
        # Of a name nothing is known: nearly every request needs no look into the memory.
        knowledge = UNKNOWN if address is None else self._knowledge(address, peer, at)
        exposure = classify(request, knowledge)
        if policy.rule and request.command in _RULED:
            about = facts(request, knowledge, listener, process, sought is Sought.ENDED)
            verdict = by_rule(request, exposure, knowledge, policy, about)
            if verdict is PENDING and sought is Sought.LATE:
                return Verdict(exposure, REFUSE_LATE, knowledge.names, finding=shows(request, exposure, REFUSE_LATE))
            if verdict is not None:
                return verdict
        decision = decide(request, exposure, knowledge, policy)
        if request.port in policy.plaintext_ports and would_connect(request, decision):
            return Verdict(exposure, plaintext(request, decision, policy), knowledge.names, plaintext=True)
        if decision is FORWARD and exposure is Exposure.NAME:
            return _NAME_FORWARDED
        hear = worth_hearing(request, decision, policy)
        return Verdict(exposure, decision, knowledge.names, hear=hear, finding=shows(request, exposure, decision))

    def heard(self, request: Request, peer: Peer, at: float, listener: str, verdict: Verdict, name: str) -> Verdict:
        """The verdict on an address once the client's first bytes have given `name`, in lower case.

        Where that may be repaired, the name is judged as if it had been given at once.
        """
        if verdict.hear is not Mode.REPAIR:
            return verdict
        named = Request(request.protocol, request.command, name, request.port, request.credentials)
        told = self.judge(named, peer, at, listener, None, Sought.LATE)
        decision = told.decision
        if decision.action is not Action.BLOCK:
            decision = Decision(Action.REPAIR, "first_bytes", host=name)
        return replace(
            verdict,
            decision=decision,
            plaintext=told.plaintext,
            rule=told.rule or verdict.rule,
            isolate=told.isolate or verdict.isolate,
        )

    def answered(self, request: Request, peer: Peer, answer: Answer, at: float, sent: str | None = None) -> None:
        """Learn from Tor's answer to RESOLVE; `request` as the client sent it.

        `sent` is the name that took the place of its address: that is what Tor was asked for.
        """
        if request.command is not Command.RESOLVE or answer.reply != Reply.SUCCEEDED:
            return
        address = address_from_text(answer.host) if isinstance(answer.host, str) else answer.host
        asked = sent or request.host
        if address is not None and isinstance(asked, str):
            self._memory.learn(peer.key, address, asked, at)

    def credentials(self, request: Request, peer: Peer, isolate: Isolate | None = None) -> Credentials | None:
        """What `policy.isolate` adds where the client sent no credentials of its own; a rule may have its own way."""
        return isolation(request, peer, isolate or self.policy.isolate, self._salt)

    def http_hint(self) -> bool:
        """Whether an HTTP client on the SOCKS port is told what is wrong."""
        return self.policy.http_hint

    def plan(self, name: str, qtype: int, pointer: IPv4Address | IPv6Address | None) -> Plan:
        """What the sensor does with a query; the arguments are those of `answering.plan`."""
        return answering.plan(name, qtype, pointer, self.dns)

    def issue(self, name: str, family: int, at: float) -> IPv4Address | IPv6Address | None:
        """An address of family 4 or 6 that stands for `name`, lower case, no last dot; None when none is free."""
        return None if self.pool is None else self.pool.issue(name, at, 6 if family == 6 else 4)

    def name_of(self, address: IPv4Address | IPv6Address, at: float) -> str | None:
        """The name that `address` stands for now."""
        if self.pool is None:
            return None
        known = self.pool.lookup(address, at)
        return known.names[0] if known.standing is Standing.ISSUED else None

    def told(self, peer: Peer, name: str, addresses: Iterable[IPv4Address | IPv6Address], at: float) -> None:
        """The sensor has passed on Tor's answer for `name` to this client."""
        for address in addresses:
            self._memory.learn(peer.key, address, name, at)

    def _knowledge(self, address: IPv4Address | IPv6Address, peer: Peer, at: float) -> Knowledge:
        """What an issued address stands for comes before all that was ever answered. Asking for it is a use of it."""
        if self.pool is not None:
            known = self.pool.lookup(address, at)
            if known.standing is not Standing.UNKNOWN:
                self.pool.touch(address, at)
                return known
        return self._memory.knowledge(peer.key, address, at)
