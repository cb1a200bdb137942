"""The sentence about a finding: program, protocol, port, what was done and what to set, in both languages."""

from __future__ import annotations

import re

import pytest
from samples import CURL, PIP, leak

from shim.judge.advice import ADVICE_IDS
from shim.locale import LANGUAGES, catalogue
from shim.model import Action, LeakKind, Process
from shim.record.message import advice, message, program

ENGLISH, JAPANESE = catalogue("en"), catalogue("ja")
JUDGED = {
    LeakKind.ADDRESS_ONLY: "advice.address_only.socks5",
    LeakKind.ADDRESS_AS_TEXT: "advice.address_as_text",
    LeakKind.LOCAL_DESTINATION: "advice.local_destination",
    LeakKind.BIND_ATTEMPT: "advice.bind_attempt",
    LeakKind.UDP_ATTEMPT: "advice.udp_attempt",
    LeakKind.PLAINTEXT_PORT: "advice.plaintext_port",
    LeakKind.NOT_SOCKS: "advice.not_socks.http",
}


def test_the_example_of_the_contract_in_our_words() -> None:
    said = message(leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5", process=CURL), ENGLISH)
    assert said.startswith("curl (pid 4242, SOCKS5, port 443) gave only an IP address; ")
    assert "socks5h://" in said


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("action", [Action.FORWARD, Action.BLOCK])
@pytest.mark.parametrize("kind", JUDGED)
def test_every_kind_names_program_protocol_port_and_remedy(lang: str, action: Action, kind: LeakKind) -> None:
    texts = catalogue(lang)
    event = leak(kind, JUDGED[kind], process=CURL, action=action, protocol="socks4a", port=8443)
    said = message(event, texts)
    assert all(part in said for part in ("curl", "4242", "SOCKS4a", "8443", advice(event, texts)))
    assert not re.search(r"[{}\n]", said)
    assert said.endswith("." if lang == "en" else "。")
    assert "93.184" not in said


@pytest.mark.parametrize(
    "kind", [LeakKind.ADDRESS_ONLY, LeakKind.ADDRESS_AS_TEXT, LeakKind.LOCAL_DESTINATION, LeakKind.PLAINTEXT_PORT]
)
def test_it_says_refused_only_where_it_was(kind: LeakKind) -> None:
    forwarded = leak(kind, JUDGED[kind], action=Action.FORWARD)
    blocked = leak(kind, JUDGED[kind], action=Action.BLOCK)
    assert "refused" in message(blocked, ENGLISH)
    assert "拒否" in message(blocked, JAPANESE)
    assert "refused" not in message(forwarded, ENGLISH)
    assert "拒否" not in message(forwarded, JAPANESE)


@pytest.mark.parametrize(("lang", "someone"), [("en", "An application (TCP) "), ("ja", "アプリケーション（TCP）")])
def test_an_unknown_program_and_no_port(lang: str, someone: str) -> None:
    event = leak(LeakKind.NOT_SOCKS, "advice.not_socks.other", protocol="tcp", port=None)
    assert message(event, catalogue(lang)).startswith(someone)


def test_a_programs_name_can_neither_colour_the_terminal_nor_be_a_template() -> None:
    event = leak(LeakKind.BIND_ATTEMPT, "advice.bind_attempt", process=Process(1, "x", "/opt/\x1b[31m{advice}"))
    assert program(event, ENGLISH) == r"\x1b[31m{advice}"
    assert message(event, ENGLISH).startswith(r"\x1b[31m{advice} (pid 1")


def test_a_script_is_named_before_its_interpreter() -> None:
    event = leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5", process=PIP)
    assert program(event, ENGLISH) == "pip"
    assert message(event, ENGLISH).startswith("pip (python3, pid 4243, SOCKS5, port 443) gave")
    assert message(event, JAPANESE).startswith("pip（python3、pid 4243、SOCKS5、ポート 443）")


def test_what_was_preloaded_is_named_behind_the_program() -> None:
    process = Process(7, "curl", "/usr/bin/curl", wrapper="proxychains")
    event = leak(LeakKind.ADDRESS_ONLY, "advice.address_only.socks5", process=process)
    assert message(event, ENGLISH).startswith("curl (proxychains, pid 7, SOCKS5, port 443) gave")


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("advice_id", sorted(ADVICE_IDS))
def test_all_advice_that_the_judge_gives_can_be_read(lang: str, advice_id: str) -> None:
    text = catalogue(lang).text(advice_id)
    assert not text.endswith((".", "。"))
    assert not re.search(r"[{}\n]", text)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("advice_id", ["advice.address_only.socks4", "advice.address_only.socks5", "advice.stale"])
def test_advice_on_leaked_names_has_curls_setting(lang: str, advice_id: str) -> None:
    assert "socks5h://" in catalogue(lang).text(advice_id)
