"""`shim check --visit`: real browsers load pages by themselves, and what stands in for one shows how it is started.

Everything runs in namespaces of their own: no packet leaves this machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from rig.programs import missing, require_program
from test_check import check, report

from shim.lab.browser import family_of
from shim.lab.isolation import probe

PATIENCE_S = 110
SECOND = "http://www.example.org/second"


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if (refused := probe()) is not None:
        missing(f"needs namespaces: {refused}")


def requests(plain: dict[str, Any]) -> dict[str, int]:
    return {canary["role"]: canary["requests"] for canary in plain["canaries"]}


def leaked(plain: dict[str, Any]) -> set[str]:
    return {canary["role"] for canary in plain["canaries"] if canary["leaked"]}


def browser(folder: Path, name: str, script: str) -> str:
    """A program of that name."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    program.chmod(0o755)
    return str(program)


@pytest.mark.clients
@pytest.mark.parametrize("name", ["chromium", "firefox-esr"])
def test_a_browser_as_it_should_be_set_loads_all_pages_and_leaks_nothing(name: str) -> None:
    words = ("--ca-env", "--visit", "{canary_https_url}", "--visit", SECOND)
    code, plain = report(*words, "--", require_program(name), timeout=PATIENCE_S)
    assert (code, plain["leaks"], plain["command_status"], plain["stopped"]) == (0, [], 0, None)
    assert [visit["loaded"] for visit in plain["visits"]] == [True, True]
    assert plain["visits"][1]["url"] == SECOND
    assert requests(plain)["page"]
    assert "left_running" not in {each["code"] for each in plain["not_covered"]}


@pytest.mark.clients
def test_a_proxy_of_ones_own_is_left_as_it_is_and_a_page_that_does_not_load_is_told() -> None:
    own = "--proxy-server=socks4://{socks_host}:{socks_port}"
    words = ("--visit", "{canary_url}", "--visit", "{canary_https_url}")
    code, plain = report(*words, "--", require_program("chromium"), own, timeout=PATIENCE_S)
    assert code == 1
    assert {"page", "image"} <= leaked(plain)
    first, second = plain["visits"]
    assert first["loaded"] is True, "a leak is repaired, and the page comes"
    assert (second["loaded"], second["error"]) == (False, "net::ERR_CERT_AUTHORITY_INVALID")
    assert {"not_loaded", "tls"} <= {each["code"] for each in plain["not_covered"]}


@pytest.mark.parametrize(("script", "status", "reason"), [("exit 7", 7, "no_request"), ("kill -9 $$", -9, "signal")])
@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_a_browser_that_dies_ends_the_run(name: str, script: str, status: int, reason: str, tmp_path: Path) -> None:
    code, plain = report("--visit", SECOND, "--visit", SECOND, "--", browser(tmp_path, name, script))
    assert (code, plain["command_status"], plain["reason"]) == (3, status, reason)
    assert [(visit["loaded"], visit["error"]) for visit in plain["visits"]] == [(False, "ended")] * 2


def test_one_that_says_nothing_is_ended_by_the_time_limit(tmp_path: Path) -> None:
    silent = browser(tmp_path, "firefox", "exec sleep 321")
    code, plain = report("--timeout", "2", "--visit", SECOND, "--", silent)
    assert (code, plain["stopped"], plain["visits"][0]["error"]) == (3, "timeout", "ended")


def test_by_hand_it_has_its_window_and_the_pages(tmp_path: Path) -> None:
    show = 'echo "$DISPLAY" "$XAUTHORITY"; printf "%s\\n" "$@"; cat "$3/user.js" 2>/dev/null'
    env = {"DISPLAY": ":7"}
    for name in ("firefox", "google-chrome-stable"):
        output = tmp_path / "report"
        words = ("--interactive", "--output", str(output), "--visit", "{canary_url}", "--visit", SECOND)
        done = check(*words, "--", browser(tmp_path, name, show), "--kiosk", env=env)
        head, *rest = done.stdout.splitlines()
        assert head.startswith(":7 ") and head != ":7 "
        assert "--headless" not in rest and "--marionette" not in rest and "--remote-debugging-pipe" not in rest
        assert "--kiosk" in rest and SECOND in rest
        assert any(line.startswith("http://www.") for line in rest), "the canary is filled in"
        proxied = '"network.proxy.socks_port", 9250' if name == "firefox" else "--proxy-server=socks5://127.0.0.1:9250"
        assert proxied in done.stdout
        assert f"{SECOND} was given to the browser" in output.read_text(encoding="utf-8")


def test_the_browser_has_a_home_and_a_profile_that_are_gone_afterwards(tmp_path: Path) -> None:
    show = 'echo "$HOME"; test "$HOME" != "$OLD_HOME" && touch "$HOME/was-here"'
    done = check("--visit", SECOND, "--", browser(tmp_path, "firefox", show), env={"OLD_HOME": os.environ["HOME"]})
    home = Path(done.stderr.splitlines()[0])
    assert home != Path.home() and not home.exists()


def test_pages_can_be_left_out_of_the_report(tmp_path: Path) -> None:
    done = check("--scrub", "--visit", SECOND, "--", browser(tmp_path, "firefox", "exit 0"))
    assert "example.org" not in done.stdout and "[scrubbed]" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--visit", SECOND, "--", "curl"), "curl"),
        (("--visit", SECOND, "--", "/opt/tor-browser/Browser/firefox"), "Browser/firefox"),
        (("--visit", "file:///etc/passwd", "--", "firefox"), "file:///etc/passwd"),
        (("--visit", "{canary}", "--", "firefox"), "{canary}"),
        (("--visit", SECOND, "--", "firefox", "-P", "mine"), "-P"),
        (("--visit", SECOND, "--", "firefox", "--profile", "mine"), "--profile"),
        (("--visit", SECOND, "--", "chromium", "--user-data-dir=mine"), "--user-data-dir=mine"),
    ],
)
@pytest.mark.parametrize("lang", ["en", "ja"])
def test_wrong_usage_says_what_is_wrong(words: tuple[str, ...], said: str, lang: str) -> None:
    done = check("--lang", lang, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and "--visit" in done.stderr


@pytest.mark.parametrize(
    ("program", "family"),
    [
        ("firefox", "firefox"),
        ("/usr/bin/firefox-esr", "firefox"),
        ("librewolf", "firefox"),
        ("/usr/bin/chromium", "chromium"),
        ("google-chrome-stable", "chromium"),
        ("brave-browser", "chromium"),
        ("vivaldi", "chromium"),
        ("/home/a/tor-browser/Browser/firefox", None),
        ("thunderbird", None),
        ("python3", None),
        ("lynx", None),
    ],
)
def test_the_families(program: str, family: str | None) -> None:
    assert family_of(program) == family
