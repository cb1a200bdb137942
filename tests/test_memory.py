"""shim.judge.memory: what is learned, for whom, how long, and that it stays bounded."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.judge.memory import MIN_AGE_S, NAMES_PER_ADDRESS, AnswerMemory
from shim.model import Host, Knowledge, Standing

ADDRESS = IPv4Address("93.184.216.34")
BY_TOR = Knowledge(Standing.RESOLVED_BY_TOR, ("www.example.com",))
REMEMBERED = Knowledge(Standing.UNKNOWN, ("www.example.com",))
UNKNOWN = Knowledge()


def taught(at: float = 0.0) -> AnswerMemory:
    """A memory that knows one answer."""
    memory = AnswerMemory()
    memory.learn("127.0.0.1", ADDRESS, "www.example.com", at)
    return memory


@pytest.mark.parametrize(
    "host",
    [
        ADDRESS,
        IPv6Address("::ffff:93.184.216.34"),
        "93.184.216.34",
        "::ffff:93.184.216.34",
        "0x5d.184.216.34",
        "1572395042",
    ],
)
def test_an_answer_is_known_in_every_form_of_the_address(host: Host) -> None:
    assert taught().knowledge("127.0.0.1", host, 1.0) == BY_TOR


@pytest.mark.parametrize("host", [IPv4Address("93.184.216.35"), IPv6Address("::5db8:d822"), "www.example.com", ""])
def test_of_all_else_nothing_is_known(host: Host) -> None:
    assert taught().knowledge("127.0.0.1", host, 1.0) == UNKNOWN
    assert AnswerMemory().knowledge("127.0.0.1", host, 1.0) == UNKNOWN


@pytest.mark.parametrize("other", ["127.0.0.2", "uid:1000"])
def test_another_client_was_told_nothing_but_the_name_is_remembered(other: str) -> None:
    assert taught().knowledge(other, ADDRESS, 1.0) == REMEMBERED
    assert taught().knowledge(other, "0x5d.184.216.34", 1.0) == REMEMBERED
    assert taught().knowledge(other, IPv4Address("93.184.216.35"), 1.0) == UNKNOWN


def test_what_was_answered_to_two_clients_is_ambiguous_to_a_third() -> None:
    memory = taught()
    memory.learn("127.0.0.2", ADDRESS, "cdn.example.net", 1.0)
    assert memory.knowledge("127.0.0.3", ADDRESS, 2.0).names == ("www.example.com", "cdn.example.net")
    assert memory.knowledge("127.0.0.1", ADDRESS, 2.0) == BY_TOR, "a client's own answers are its own"
    assert memory.knowledge("127.0.0.3", ADDRESS, 601.0).names == ("cdn.example.net",)


def test_a_client_that_was_told_long_ago_is_as_any_other() -> None:
    memory = taught()
    memory.learn("127.0.0.2", ADDRESS, "cdn.example.net", 500.0)
    assert memory.knowledge("127.0.0.1", ADDRESS, 600.0) == BY_TOR
    assert memory.knowledge("127.0.0.1", ADDRESS, 601.0) == Knowledge(Standing.UNKNOWN, ("cdn.example.net",))


def test_a_mapped_answer_is_known_as_ipv4() -> None:
    memory = AnswerMemory()
    memory.learn("c", IPv6Address("::ffff:93.184.216.34"), "www.example.com", 0.0)
    assert memory.knowledge("c", ADDRESS, 1.0) == BY_TOR


@pytest.mark.parametrize("literal", ["93.184.216.34", "[2001:db8::1]", "2130706433", "127.1", "fe80::1%eth0"])
def test_a_literal_teaches_nothing(literal: str) -> None:
    memory = AnswerMemory()
    memory.learn("c", ADDRESS, literal, 0.0)
    assert len(memory) == 0
    assert memory.knowledge("c", ADDRESS, 0.0) == UNKNOWN


def test_spellings_of_one_name_are_one_name() -> None:
    memory = taught()
    memory.learn("127.0.0.1", ADDRESS, "WWW.example.COM.", 1.0)
    assert memory.knowledge("127.0.0.1", ADDRESS, 1.0) == BY_TOR


def test_known_up_to_the_age_and_not_beyond() -> None:
    memory = taught(1000.0)
    assert memory.knowledge("127.0.0.1", ADDRESS, 1000.0 + MIN_AGE_S) == BY_TOR
    assert memory.knowledge("127.0.0.1", ADDRESS, 1000.5 + MIN_AGE_S) == UNKNOWN
    assert len(memory) == 0, "what is too old is forgotten, not only hidden"


def test_repetition_renews() -> None:
    memory = taught()
    memory.learn("127.0.0.1", ADDRESS, "www.example.com", 500.0)
    assert memory.knowledge("127.0.0.1", ADDRESS, 1000.0) == BY_TOR


def test_old_names_of_a_renewed_address_are_forgotten() -> None:
    memory = taught()
    memory.learn("127.0.0.1", ADDRESS, "b.example", 500.0)
    memory.learn("127.0.0.1", ADDRESS, "c.example", 700.0)
    assert memory.knowledge("127.0.0.1", ADDRESS, 700.0).names == ("b.example", "c.example")


def test_names_of_one_address_are_bounded_the_oldest_goes() -> None:
    memory = AnswerMemory()
    names = [f"n{index}.example" for index in range(NAMES_PER_ADDRESS + 3)]
    for at, name in enumerate(names):
        memory.learn("c", ADDRESS, name, float(at))
    assert memory.knowledge("c", ADDRESS, 20.0).names == tuple(names[3:])


def test_entries_are_bounded_the_oldest_answer_goes_first() -> None:
    memory = AnswerMemory(max_entries=2)
    first, second, third = (IPv4Address(f"192.0.2.{last}") for last in (1, 2, 3))
    memory.learn("c", first, "a.example", 0.0)
    memory.learn("c", second, "b.example", 1.0)
    memory.learn("c", first, "a.example", 2.0)  # renewed: the second is the oldest now
    memory.learn("c", third, "c.example", 3.0)
    assert len(memory) == 2
    assert memory.knowledge("c", second, 3.0) == UNKNOWN
    assert memory.knowledge("c", first, 3.0).names == ("a.example",)
    assert memory.knowledge("c", third, 3.0).names == ("c.example",)


@pytest.mark.parametrize(("max_entries", "max_age_s"), [(0, 600.0), (-1, 600.0), (1, 599.9), (1, 0.0)])
def test_a_memory_that_could_not_hold_tors_answers_is_refused(max_entries: int, max_age_s: float) -> None:
    with pytest.raises(ValueError, match="at least 1 entry and 600 s"):
        AnswerMemory(max_entries, max_age_s)


_ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(1, 6).map(lambda last: IPv4Address(f"192.0.2.{last}")),
        st.sampled_from([f"n{index}.example" for index in range(12)]),
        st.integers(0, 400),
    ),
    max_size=80,
)


@given(_ANSWERS, st.integers(0, 1000), st.integers(1, 8))
def test_knows_what_a_full_list_of_answers_would_say(
    answers: list[tuple[str, IPv4Address, str, int]], later: int, max_entries: int
) -> None:
    memory = AnswerMemory(max_entries=max_entries)
    told: list[tuple[str, IPv4Address, str, float]] = []
    now = 0.0
    for client, address, name, pause in answers:
        now += pause
        memory.learn(client, address, name, now)
        told.append((client, address, name, now))
        assert len(memory) <= max_entries
    now += later
    fresh = [row for row in told if row[3] >= now - MIN_AGE_S]
    clients = list(dict.fromkeys((client, address) for client, address, *_ in reversed(told)))[:max_entries]
    addresses = list(dict.fromkeys(address for _, address, *_ in reversed(told)))[:max_entries]
    for client, address in {(client, address) for client in ("a", "b", "c") for _, address, *_ in told}:
        own = [row[2] for row in fresh if row[:2] == (client, address) and row[:2] in clients]
        others = [row[2] for row in fresh if row[1] == address and address in addresses]
        knowledge = memory.knowledge(client, address, now)
        assert knowledge.standing is (Standing.RESOLVED_BY_TOR if own else Standing.UNKNOWN)
        names = list(dict.fromkeys(reversed(own or others)))[:NAMES_PER_ADDRESS]
        if len({row[1] for row in told}) <= max_entries and len({row[:2] for row in told}) <= max_entries:
            assert knowledge.names == tuple(reversed(names))
        else:  # what was evicted and learned again has lost its older names
            assert knowledge.names[-1:] == tuple(names[:1])
            assert set(knowledge.names) <= set(names)


@pytest.mark.parametrize("clients", [1, 1000])
def test_a_flood_of_forged_answers_stays_within_bounds(clients: int) -> None:
    memory = AnswerMemory(max_entries=100)
    memory.learn("victim", ADDRESS, "www.example.com", 0.0)
    for index in range(20_000):
        memory.learn(f"c{index % clients}", IPv4Address(index + 2**24), f"n{index}.example", index / 1000)
        memory.learn("liar", ADDRESS, f"n{index}.example", index / 1000)
    assert len(memory) == 100
    assert len(memory._by_address) == 100
    last = IPv4Address(19_999 + 2**24)
    assert memory.knowledge(f"c{19_999 % clients}", last, 20.0).names == ("n19999.example",)
    assert memory.knowledge("c0", IPv4Address(2**24), 20.0) == UNKNOWN
    assert len(memory.knowledge("victim", ADDRESS, 20.0).names) == NAMES_PER_ADDRESS, "ambiguous: never repaired"
