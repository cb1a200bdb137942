"""shim.judge.probes: Chromium's random labels, told from single words."""

from __future__ import annotations

import pytest
from stories import THERE, Story

from shim.judge.probes import BURST_MAX, MACHINES
from shim.model import DnsMode, Peer

ONE, TWO, THREE = "qwhjdkzlmn", "xkcdpvbtrs", "mnbvcxzlk"
WORD = ("L11", ("dns_query_seen", "single_label"), "advice.dns_query.single_label")
PROBE = ("L12", ("dns_query_seen", "single_label", "chromium_probe"), "advice.dns_query.probe")


def last(story: Story) -> dict[str | None, tuple[str, tuple[str, ...], str]]:
    """What is known in the end of each query."""
    assert {found.confidence for found in story.found} == {"possible"}, "not worse than a single label"
    return {found.query: (found.rule, found.evidence, found.advice) for found in story.found}


def test_one_label_is_a_word() -> None:
    story = Story()
    story.ask(ONE)
    story.ask(ONE, "AAAA")
    assert last(story) == {"q1": WORD, "q2": WORD}


@pytest.mark.parametrize("dns", DnsMode)
def test_two_labels_at_once_are_probes_and_so_was_the_first(dns: DnsMode) -> None:
    story = Story(dns=dns)
    for label in (ONE, TWO, THREE):
        story.ask(label)
        story.ask(label, "AAAA")
    assert last(story) == dict.fromkeys([f"q{number}" for number in range(1, 7)], PROBE)
    assert [found.revision for found in story.found] == [1, 1, 1, 2, 2, 1, 1, 1], "each is put right once"
    assert len({found.finding for found in story.found}) == 6


def test_a_word_now_and_a_word_later_are_words() -> None:
    story = Story()
    story.ask(ONE)
    story.wait(2.0)
    story.ask(TWO)
    assert last(story) == {"q1": WORD, "q2": WORD}


def test_a_burst_goes_on_as_long_as_labels_follow_each_other() -> None:
    story = Story()
    for label in (ONE, TWO, THREE):
        story.ask(label)
        story.wait(1.5)
    assert set(last(story).values()) == {PROBE}


def test_each_query_is_measured_by_itself() -> None:
    story = Story()
    for label in (ONE, ONE, TWO):
        story.ask(label)
        story.wait(1.5)
    assert last(story) == {"q1": WORD, "q2": PROBE, "q3": PROBE}


@pytest.mark.parametrize("other", ["nas", "intranet2", "file-server", "www.example.com"])
def test_names_of_another_shape_are_no_part_of_it(other: str) -> None:
    story = Story()
    story.ask(other)
    story.ask(ONE)
    assert last(story)["q2"] == WORD


def test_two_machines_are_two_bursts() -> None:
    story = Story()
    story.ask(ONE)
    story.ask(TWO, peer=THERE)
    assert set(last(story).values()) == {WORD}


def test_a_flood_of_labels_stays_within_bounds() -> None:
    story = Story()
    for number in range(2000):
        story.at = 1.0
        letters = "".join(chr(ord("a") + int(digit)) for digit in f"{number:07d}")
        found = story.ask(letters, peer=Peer(f"192.0.2.{number % 2}", 1))
        assert len(found) <= 1 + BURST_MAX
    bursts = story.correlator._probes._bursts
    assert max(len(burst) for _, burst in bursts._entries.values()) <= 16
    for number in range(3 * MACHINES):
        story.ask(ONE, peer=Peer(f"10.0.{number // 250}.{number % 250}", 1))
    assert len(bursts) <= 2 * MACHINES
