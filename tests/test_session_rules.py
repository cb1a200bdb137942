"""A session whose verdict hangs on the program that it belongs to: it waits for the name, and nothing is lost."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from rig.session import GRANTED, NAME, Served
from rig.wire import GREETING, GREETING_AUTH, NO_AUTH, RESOLVE, refused5, socks5

from shim.events import ConnectionClosed, ProcessSought, RequestDecided
from shim.eyes import Eyes
from shim.judge.judge import Judge
from shim.judge.memory import AnswerMemory
from shim.model import Action, Decision, Exposure, Process, Reply, Sought, Verdict
from shim.policy import Policy
from shim.rule import Rule
from shim.witness.looking import Sighting

CURL = Process(4242, "curl", "/usr/bin/curl")
PASSED = Verdict(Exposure.NAME, Decision(Action.FORWARD), rule=1, finding=False)
REFUSED = Verdict(Exposure.NAME, Decision(Action.BLOCK, "refused_by_rule", Reply.NOT_ALLOWED), rule=2, finding=False)


class Witness:
    """Looks up nothing until the test says what is known."""

    def __init__(self, served: Served) -> None:
        self.asked: list[str] = []
        self._then: Callable[[Process | None, Sought], None] | None = None
        served.plane.identify = lambda conn, _sock, _then: self.asked.append(conn)
        served.plane.whose = self.whose
        served.bench.by_program = lambda process: REFUSED if process is CURL else PASSED

    def whose(self, conn: str, _sock: object, then: Callable[[Process | None, Sought], None]) -> None:
        self.asked.append(conn)
        self._then = then

    def tell(self, process: Process | None) -> None:
        """The look-up has ended."""
        assert self._then is not None
        self._then(process, Sought.ENDED)

    def late(self) -> None:
        """It has taken too long."""
        assert self._then is not None
        self._then(None, Sought.LATE)


@pytest.fixture
def witness(served: Served) -> Iterator[Witness]:
    yield Witness(served)


def events(served: Served) -> list[type]:
    return [type(event) for event in served.events]


def test_it_waits_and_is_refused(served: Served, witness: Witness) -> None:
    client = served.connect()
    served.say(client, GREETING + NAME)
    served.hears(client, NO_AUTH)
    assert events(served) == [ProcessSought]
    assert not served.asked(), "nothing goes upstream while it waits"
    witness.tell(CURL)
    served.hears(client, refused5(2))
    assert events(served) == [ProcessSought, RequestDecided, ConnectionClosed]
    assert witness.asked == ["c1"], "looked up once"


def test_it_waits_and_is_forwarded_with_all_that_came_meanwhile(served: Served, witness: Witness) -> None:
    client = served.connect()
    served.say(client, GREETING + NAME + b"one ")
    served.hears(client, NO_AUTH)
    served.say(client, b"two")
    witness.tell(None)
    upstream = served.accept()
    served.hears(upstream, GREETING + NAME)
    served.say(upstream, NO_AUTH + GRANTED)
    served.hears(client, GRANTED)
    served.hears(upstream, b"one two")
    assert events(served) == [ProcessSought, RequestDecided]


def test_whose_program_is_not_known_in_time_is_refused(served: Served, witness: Witness) -> None:
    """By the real judge: with a general failure, which is none of the policy's answers, and a reason of its own."""
    rule = Rule(program=("curl",), allow=False)
    served.plane.bench = Judge(Policy(rule=(rule,)), AnswerMemory())
    client = served.connect()
    served.say(client, GREETING + NAME)
    served.hears(client, NO_AUTH)
    witness.late()
    served.hears(client, refused5(1))
    (decided,) = served.of(RequestDecided)
    decision = decided.verdict.decision
    assert (decision.action, decision.reason) == (Action.BLOCK, "program_unknown")
    assert not served.asked()
    served.closed("refused", received=12)


@pytest.mark.parametrize(
    ("process", "reason", "sought"),
    [
        (CURL, None, Sought.ENDED),
        (None, "timeout", Sought.LATE),
        (None, "busy", Sought.LATE),
        (None, "gone", Sought.ENDED),
        (None, "not_permitted", Sought.ENDED),
        (None, "other_namespace", Sought.ENDED),
    ],
)
def test_only_what_took_too_long_is_late(process: Process | None, reason: str | None, sought: Sought) -> None:
    """What can never be known is nobody's at once; a look-up ends after 0.25 s."""
    waited: list[float] = []

    class Attributor:
        def identify(self, _conn: str, _clue: object, then: Callable[[Sighting], None], within_s: float) -> None:
            waited.append(within_s)
            then(Sighting(process, reason))

    answers: list[tuple[Process | None, Sought]] = []
    near, far = socket.socketpair()
    with near, far:
        eyes = Eyes(Attributor())  # type: ignore[arg-type]
        eyes.owner("c1", near, lambda who, how: answers.append((who, how)))
    assert (answers, waited) == ([(process, sought)], [0.25])


def test_a_client_that_leaves_meanwhile_is_judged_and_ends_once(served: Served, witness: Witness) -> None:
    client = served.connect()
    served.say(client, GREETING + NAME)
    served.hears(client, NO_AUTH)
    client.end()
    served.settle()
    assert events(served) == [ProcessSought]
    witness.tell(None)
    served.settle()
    served.closed("client_closed", received=2)
    assert events(served) == [ProcessSought, RequestDecided, ConnectionClosed]


def test_the_end_of_the_shim_does_not_wait(served: Served, witness: Witness) -> None:
    client = served.connect()
    served.say(client, GREETING + NAME)
    for owner in served.poller.owners():
        owner.abort("shutdown")
    served.closed("shutdown", received=2)
    assert events(served) == [ProcessSought, RequestDecided, ConnectionClosed]
    witness.tell(CURL)
    assert len(served.events) == 3, "it is too late"


def test_where_nobody_looks_up_programs_it_is_nobodys(served: Served, witness: Witness) -> None:
    served.plane.identify = served.plane.whose = None
    client = served.connect()
    served.say(client, GREETING + NAME)
    served.hears(client, NO_AUTH)
    served.hears(served.accept(), GREETING + NAME)
    assert events(served) == [RequestDecided]


def test_what_is_known_at_once_does_not_wait(served: Served, witness: Witness) -> None:
    served.plane.whose = lambda _conn, _sock, then: then(CURL, Sought.ENDED)
    client = served.connect()
    served.say(client, GREETING + NAME)
    served.hears(client, NO_AUTH + refused5(2))


def test_a_rule_may_keep_it_apart_from_others(served: Served) -> None:
    served.bench.verdict = Verdict(Exposure.NAME, Decision(Action.FORWARD), rule=1, isolate="client", finding=False)
    client = served.connect()
    served.say(client, GREETING + NAME)
    served.hears(served.accept(), GREETING_AUTH)
    assert client.got == b""


def test_tors_answer_is_remembered_for_the_name_that_it_was_asked(served: Served) -> None:
    served.judge(Action.REPAIR, host="a.example")
    client = served.connect()
    served.say(client, GREETING + socks5("93.184.216.34", 0, RESOLVE))
    served.say(served.accept(), NO_AUTH + GRANTED)
    assert served.bench.sent == "a.example"
