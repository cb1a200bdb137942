"""Stories of one shim, told event by event: a judge decides as in a running one, a correlator finds what it finds.

Time is told too: each event is a tenth of a second after the one before, unless the story waits.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from shim.events import DnsQueried, Event, HandshakeFailed, LeakFound, RequestDecided, UpstreamAnswered
from shim.judge.answering import AAAA, PTR, A, Plan
from shim.judge.correlate import Correlator
from shim.judge.issued import IssuedPool
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import Answer, Command, Credentials, DnsAnswer, DnsMode, Host, Mode, Peer, Process, Protocol, Request
from shim.policy import DnsPolicy, Policy
from shim.rule import Rule

START = 1_795_348_800.0
STEP_S = 0.1
HERE = Peer("127.0.0.1", 40000)
THERE = Peer("192.0.2.77", 40000)
LISTENER = "127.0.0.1:9250"
TYPES = {"A": A, "AAAA": AAAA, "PTR": PTR, "HTTPS": 65}
V4 = IPv4Address("93.184.216.34")


class Story:
    """What happened so far: `events` in their order, `found` by them, and the time."""

    def __init__(
        self,
        mode: Mode = Mode.WARN,
        dns: DnsMode = DnsMode.REFUSE,
        start: int = 1800,
        rules: tuple[Rule, ...] = (),
        **policy: object,
    ) -> None:
        self.events: list[Event] = []
        self.found: list[LeakFound] = []
        self.at = START
        pool = IssuedPool(start=start) if dns is DnsMode.ISSUE else None
        policies = DnsPolicy(dns, **policy)  # type: ignore[arg-type]
        self.judge = Judge(Policy(mode, rule=rules), AnswerMemory(), dns=policies, pool=pool)
        self.correlator = Correlator()
        self._ids = {"c": 0, "q": 0}

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds

    def tell(self, event: Event) -> list[LeakFound]:
        """One event; what follows from it."""
        self.events.append(event)
        found = list(self.correlator.feed(event))
        self.found += found
        self.at += STEP_S
        return found

    def connect(
        self,
        host: Host,
        port: int = 443,
        peer: Peer = HERE,
        protocol: Protocol = Protocol.SOCKS5,
        command: Command = Command.CONNECT,
        credentials: Credentials | None = None,
    ) -> list[LeakFound]:
        """A client's request, judged."""
        request = Request(protocol, command, host, port, credentials)
        verdict = self.judge.judge(request, peer, self.at)
        return self.tell(RequestDecided(self.at, self._id("c"), peer, LISTENER, request, verdict))

    def resolve(self, name: str, answer: str, peer: Peer = HERE) -> list[LeakFound]:
        """RESOLVE by SOCKS, and Tor's answer."""
        found = self.connect(name, 0, peer, command=Command.RESOLVE)
        (decided,) = [event for event in self.events[-1:] if isinstance(event, RequestDecided)]
        request = Request(Protocol.SOCKS5, Command.RESOLVE, name, 0)
        told = Answer(0, ip_address(answer), 0)
        self.judge.answered(request, peer, told, self.at, decided.verdict.decision.host)
        return found + self.tell(UpstreamAnswered(self.at, f"c{self._ids['c']}", peer, request, told))

    def ask(
        self,
        name: str,
        qtype: str = "A",
        peer: Peer = HERE,
        tor: str = "93.184.216.34",
        process: Process | None = None,
    ) -> list[LeakFound]:
        """A query at the sensor, answered as a running one would; `tor` is what Tor finds."""
        pointer = V4 if qtype == "PTR" and name == V4.reverse_pointer else None
        plan = self.judge.plan(name, TYPES[qtype], pointer)
        rcode, answer, addresses = self._answer(plan, name, peer, tor)
        reason = "off" if process is None else None
        event = DnsQueried(
            self.at, self._id("q"), peer, LISTENER, "udp", name, qtype, rcode, answer, addresses, process, reason
        )
        return self.tell(event)

    def look_up(self, name: str, peer: Peer = HERE) -> IPv4Address | IPv6Address:
        """What getaddrinfo does: A and AAAA; the address that came."""
        self.ask(name, "A", peer)
        asked = self.events[-1]
        self.ask(name, "AAAA", peer)
        assert isinstance(asked, DnsQueried)
        return asked.addresses[0]

    def fail(self, error: str, foreign: str | None = None) -> list[LeakFound]:
        """A handshake that came to nothing."""
        return self.tell(HandshakeFailed(self.at, self._id("c"), HERE, LISTENER, error, b"", foreign))

    def kinds(self) -> list[tuple[str, str, str]]:
        """Kind, confidence and rule of all that was found."""
        return [(each.kind, each.confidence, each.rule) for each in self.found]

    def of_kind(self, kind: str) -> list[LeakFound]:
        """All findings of one kind, each revision."""
        return [each for each in self.found if each.kind == kind]

    def _answer(
        self, plan: Plan, name: str, peer: Peer, tor: str
    ) -> tuple[str, DnsAnswer, tuple[IPv4Address | IPv6Address, ...]]:
        mode = DnsAnswer(self.judge.dns.mode)
        match plan:
            case Plan.REFUSE:
                return self.judge.dns.refusal, DnsAnswer.REFUSE, ()
            case Plan.NXDOMAIN:
                return "NXDOMAIN", DnsAnswer.REFUSE, ()
            case Plan.ISSUE4 | Plan.ISSUE6:
                address = self.judge.issue(name, 4 if plan is Plan.ISSUE4 else 6, self.at)
                assert address is not None
                return "NOERROR", DnsAnswer.ISSUE, (address,)
            case Plan.RESOLVE:
                self.judge.told(peer, name, (ip_address(tor),), self.at)
                return "NOERROR", DnsAnswer.TOR, (ip_address(tor),)
            case _:
                return "NOERROR", mode, ()

    def _id(self, prefix: str) -> str:
        self._ids[prefix] += 1
        return f"{prefix}{self._ids[prefix]}"
