"""Scrubbing: names go, ports and codes stay, and nothing that a terminal obeys survives."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.model import Process
from shim.record.scrub import SCRUBBED, code, destination, name, printable, program

HOSTILE = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
    *"\u200b\u200c\u200d\u200e\u200f\u061c\u2028\u2029\u00ad\ufeff\ufff9\ud800\udcff\U000e0001",
]


@pytest.mark.parametrize("char", HOSTILE, ids=lambda char: f"U+{ord(char):04X}")
def test_every_hostile_character_is_written_out(char: str) -> None:
    shown = printable(f"a{char}b")
    assert char not in shown
    assert shown.isascii()
    assert shown.startswith("a\\")
    assert shown.endswith("b")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("a\nb\tc", r"a\x0ab\x09c"),
        ("\x9b2J", r"\x9b2J"),
        ("\U000e0041", r"\U000e0041"),
        ("plain.example.com", "plain.example.com"),
        ("日本語のプログラム", "日本語のプログラム"),
        ("", ""),
    ],
)
def test_escapes_are_visible_and_plain_text_is_untouched(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_no_control_bidi_or_separator_survives(text: str) -> None:
    shown = printable(text)
    kinds = {unicodedata.category(char) for char in shown if char != " "}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
    shown.encode("utf-8")
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("host.example:443", "[scrubbed]:443"),
        ("[2001:db8::1]:80", "[scrubbed]:80"),
        ("93.184.216.34:0", "[scrubbed]:0"),
        ("host.example", SCRUBBED),
        ("host.example:https", SCRUBBED),
        ("host.example:", SCRUBBED),
        ("host.example:123456", SCRUBBED),
        ("host.example:٤٤", SCRUBBED),
        ("", ""),
    ],
)
def test_a_destination_keeps_its_port_only(text: str, scrubbed: str) -> None:
    assert destination(text, reveal=False) == scrubbed


def test_a_revealed_destination_is_whole_but_harmless() -> None:
    assert destination("a\x1bb.example:443", reveal=True) == r"a\x1bb.example:443"


def test_a_name_is_scrubbed_or_harmless() -> None:
    assert name("host.example", reveal=False) == SCRUBBED
    assert name("host\u202e.example", reveal=True) == r"host\u202e.example"


@pytest.mark.parametrize("text", ["client_closed", "L03", "dns_answer_q1", "ValueError", "socks5"])
def test_codes_stay(text: str) -> None:
    assert code(text, reveal=False) == text


@pytest.mark.parametrize("text", ["host.example", "sni:host", "10.0.0.1", "", "a b", "host\n", "名前"])
def test_what_is_no_code_is_scrubbed(text: str) -> None:
    assert code(text, reveal=False) == SCRUBBED
    assert code(text, reveal=True) == printable(text)


@given(st.text(), st.integers(0, 65535))
def test_no_host_survives_scrubbing(host: str, port: int) -> None:
    assert destination(f"{host}:{port}", reveal=False) == f"{SCRUBBED}:{port}"


@pytest.mark.parametrize(
    ("said", "exe", "script", "shown"),
    [
        ("curl", "/usr/bin/curl", None, "curl"),
        ("python3", "/usr/bin/python3.11", None, "python3"),
        ("nc", "/usr/bin/nc.openbsd", None, "nc"),
        ("git-remote-http", "/usr/lib/git-core/git-remote-https", None, "git-remote-http"),
        ("a-very-long-nam", "/opt/a-very-long-name-indeed", None, "a-very-long-nam"),
        ("pip", "/usr/bin/python3.11", "pip", "pip"),
        ("a_long_script_n", "/usr/bin/perl", "a_long_script_name.pl", "a_long_script_n"),
        ("npm", "/usr/bin/node", None, "npm"),
        ("wget", "/bin/busybox", None, "wget"),
        ("curl.exe", "C:\\Windows\\System32\\curl.exe", None, "curl.exe"),
        ("myapp", None, None, "myapp"),
        ("s3ntinel", "/usr/bin/node", None, "node"),
        ("s3ntinel.test", "/usr/bin/node", "fetch.js", "node"),
        ("to s3ntinel", "/usr/bin/python3.11", None, "python3.11"),
        ("s3ntinel.test", None, None, SCRUBBED),
        ("10.0.0.7", None, None, SCRUBBED),
        ("s3ntinel.test:1", "/bin/busybox", None, "busybox"),
        ("", "/usr/bin/x", None, "x"),
        ("", None, None, SCRUBBED),
    ],
)
def test_a_process_is_shown_by_a_name_that_is_not_of_its_own_making(
    said: str, exe: str | None, script: str | None, shown: str
) -> None:
    process = Process(7, said, exe, script=script)
    assert program(process, False) == shown
    assert program(process, True) == printable(said)


@given(st.text(max_size=15), st.none() | st.text(max_size=20))
def test_whatever_it_calls_itself_can_be_shown(said: str, exe: str | None) -> None:
    assert program(Process(7, said, exe), False).isprintable()
