"""The judge as the data plane sees it: a request in, a verdict out.

Holds the policy and the memory of answers, and sees no event: findings are the correlator's.
"""

from __future__ import annotations

from shim.judge.classify import classify
from shim.judge.decide import FORWARD, decide
from shim.judge.hosts import address_from_text
from shim.judge.isolation import isolation
from shim.judge.memory import AnswerMemory
from shim.model import Answer, Command, Credentials, Exposure, Peer, Reply, Request, Verdict
from shim.policy import Policy

_NAME_FORWARDED = Verdict(Exposure.NAME, FORWARD)  # the common case allocates nothing


class Judge:
    """Judges every request. `policy` may be replaced at any time; the memory stays."""

    __slots__ = ("_memory", "_salt", "policy")

    def __init__(self, policy: Policy, memory: AnswerMemory, salt: bytes = b"") -> None:
        """`salt` keys the credentials that `policy.isolate` makes: random, and new for each run."""
        self.policy = policy
        self._memory = memory
        self._salt = salt

    def judge(self, request: Request, peer: Peer, at: float) -> Verdict:
        """The verdict on one request; `at` in seconds, by the clock that `answered` is given."""
        knowledge = self._memory.knowledge(peer.key, request.host, at)
        exposure = classify(request, knowledge)
        decision = decide(request, exposure, knowledge, self.policy)
        if decision is FORWARD and exposure is Exposure.NAME:
            return _NAME_FORWARDED
        return Verdict(exposure, decision, knowledge.names)

    def answered(self, request: Request, peer: Peer, answer: Answer, at: float) -> None:
        """Learn from Tor's answer to RESOLVE; `request` as it was sent upstream, so a repaired one with its name."""
        if request.command is not Command.RESOLVE or answer.reply != Reply.SUCCEEDED:
            return
        address = address_from_text(answer.host) if isinstance(answer.host, str) else answer.host
        if address is not None and isinstance(request.host, str):
            self._memory.learn(peer.key, address, request.host, at)

    def credentials(self, request: Request, peer: Peer) -> Credentials | None:
        """What `policy.isolate` adds where the client sent no credentials of its own."""
        return isolation(request, peer, self.policy, self._salt)

    def http_hint(self) -> bool:
        """Whether an HTTP client on the SOCKS port is told what is wrong."""
        return self.policy.http_hint
