"""Which advice a finding gets once its program is known: by script, path, name or reason; else the general one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import leak

from shim.advice import Program, Row, Table, table
from shim.judge.advice import ADVICE_IDS
from shim.judge.remedies import Remedies
from shim.locale import catalogue
from shim.model import LeakKind, Process

REMEDIES = Remedies(table())
SOCKS4, SOCKS5, TEXT, QUERY = "address_only.socks4", "address_only.socks5", "address_as_text", "dns_query"


def choice(general: str, process: Process | None, reason: str | None = None, remedies: Remedies = REMEDIES) -> str:
    return remedies.tell(leak(LeakKind.ADDRESS_ONLY, f"advice.{general}"), process, reason).advice


def chosen(general: str, exe: str | None, name: str = "worker", script: str | None = None) -> str:
    return choice(general, Process(1, name, exe, script=script))


PROGRAMS = [
    ("/usr/bin/curl", None, SOCKS4, "curl.socks4"),
    ("/usr/bin/curl", None, SOCKS5, "curl.socks5"),
    ("/usr/lib/git-core/git-remote-http", None, SOCKS5, "git.dns"),
    ("/usr/bin/python3.11", "pip", SOCKS5, "pip.dns"),
    ("/usr/bin/python3.11", "pip3.11", SOCKS4, "pip.dns"),
    ("/usr/bin/python3.11", "backup.py", SOCKS5, "python.socks5"),
    ("/usr/bin/python3", None, SOCKS4, "python.socks4"),
    ("/usr/bin/node", "npm-cli.js", SOCKS5, "npm.dns"),
    ("/usr/bin/node", "fetch.js", SOCKS5, "node.dns"),
    ("/usr/lib/jvm/java-17-openjdk-amd64/bin/java", "app.jar", SOCKS5, "java.dns"),
    ("/usr/lib/apt/methods/http", None, "not_socks.http", "apt.dns"),
    ("/usr/bin/ssh", None, QUERY, "ssh.dns"),
    ("/usr/bin/nc.openbsd", None, SOCKS4, "nc.socks4"),
    ("/usr/bin/socat", None, SOCKS4, "socat.dns"),
    ("/usr/bin/wget", None, "onion_in_dns", "wget.dns"),
    ("/usr/bin/python3.11", "qutebrowser", QUERY, "qutebrowser.dns"),
    ("/usr/bin/falkon", None, "dns_beside_proxy", "falkon.dns"),
    ("/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/WebKitNetworkProcess", None, QUERY, "epiphany.dns"),
    ("/usr/bin/lynx", None, QUERY, "lynx.dns"),
    ("/usr/bin/links2", None, TEXT, "browser.text"),
    ("/usr/sbin/privoxy", None, SOCKS4, "privoxy.dns"),
    ("/usr/lib/firefox-esr/firefox-esr", None, SOCKS5, "firefox.socks5"),
    ("/snap/firefox/1234/usr/lib/firefox/firefox", None, SOCKS4, "firefox.socks4"),
    ("/usr/lib/firefox-esr/firefox-esr", None, "dns_beside_proxy", "firefox.dns"),
    ("/usr/lib/thunderbird/thunderbird-bin", None, SOCKS5, "thunderbird.dns"),
    ("/usr/lib/chromium/chromium", None, SOCKS4, "chromium.socks4"),
    ("/opt/google/chrome/chrome", None, TEXT, "browser.text"),
    ("/opt/brave.com/brave/brave", None, QUERY, "chromium.dns"),
    ("/opt/microsoft/msedge/msedge", None, "not_socks.http", "chromium.not_socks"),
    ("/usr/lib/electron28/electron", None, QUERY, "electron.dns"),
    ("/home/me/tor-browser/Browser/firefox.real", None, TEXT, "tor_browser.address"),
    ("/home/me/tor-browser/Browser/firefox.real", None, SOCKS5, "tor_browser.dns"),
    ("/home/me/tor-browser/Browser/firefox", None, QUERY, "tor_browser.dns"),
]


@pytest.mark.parametrize(("exe", "script", "general", "exact"), PROGRAMS)
def test_the_program_decides(exe: str, script: str | None, general: str, exact: str) -> None:
    assert chosen(general, exe, script=script) == f"advice.for.{exact}"
    assert f"advice.for.{exact}" in catalogue("en")


def test_who_is_not_in_the_table_keeps_the_general_advice() -> None:
    for general in ADVICE_IDS:
        assert chosen(general.removeprefix("advice."), "/opt/somebody/something") == general


@pytest.mark.parametrize("general", ["address_only.dns_port", "bind_attempt", "dns_query.suffix", "local_destination"])
def test_a_finding_that_the_program_has_no_row_for_keeps_it_too(general: str) -> None:
    assert chosen(general, "/usr/bin/curl") == f"advice.{general}"


def test_the_executable_counts_and_not_what_a_process_calls_itself() -> None:
    assert chosen(SOCKS5, "/opt/tool", name="curl") == f"advice.{SOCKS5}"
    assert chosen(SOCKS5, None, name="curl") == "advice.for.curl.socks5"


def test_some_put_a_title_in_the_place_of_their_command_line() -> None:
    assert chosen(SOCKS5, "/usr/bin/node", name="npm") == "advice.for.npm.dns"
    assert chosen(SOCKS5, "/usr/bin/node", name="npmish") == "advice.for.node.dns"


@pytest.mark.parametrize("exe", ["/usr/bin/curl", "/usr/bin/python3.11", "/opt/tool", "/usr/bin/chromium"])
def test_what_was_preloaded_comes_before_the_program(exe: str) -> None:
    inside = Process(1, "x", exe, script="pip", wrapper="proxychains")
    assert choice(SOCKS5, inside) == "advice.for.proxychains"
    assert choice(TEXT, replace(inside, wrapper="torsocks")) == "advice.for.torsocks.text"


def test_names_fit_as_a_whole() -> None:
    for exe in ("/usr/bin/curlew", "/usr/bin/mycurl", "/curl/curl.sh", "/usr/bin/curl\n"):
        assert chosen(SOCKS5, exe) == f"advice.{SOCKS5}"


def test_a_script_is_no_executable() -> None:
    assert chosen(SOCKS5, "/usr/bin/perl", script="curl") == f"advice.{SOCKS5}"


def test_a_shared_resolver_is_known_by_the_reason() -> None:
    assert choice(QUERY, None, "shared_resolver") == "advice.for.resolver.dns"
    assert choice("onion_in_dns", None, "shared_resolver") == "advice.for.resolver.onion"
    for reason in ("gone", "off", "not_permitted", None):
        assert choice(QUERY, None, reason) == f"advice.{QUERY}"


def test_the_first_program_and_the_first_row_that_fit_count() -> None:
    rows = Row((SOCKS5,), "one", "x"), Row((SOCKS5, SOCKS4), "two", "x")
    both = Table("2026-11-22", (Program("a", rows, names=("a*",)), Program("ab", rows[1:], names=("ab",))))
    process = Process(1, "ab", "/ab")
    assert choice(SOCKS5, process, remedies=Remedies(both)) == "advice.for.one"
    assert choice(SOCKS4, process, remedies=Remedies(both)) == "advice.for.two"


def test_what_only_readers_are_told_fits_nobody() -> None:
    for program in table().programs:
        if not (
            program.names or program.paths or program.scripts or program.titles or program.wrappers or program.reasons
        ):
            alone = Remedies(Table("2026-11-22", (program,)))
            assert choice(SOCKS5, Process(1, "", ""), remedies=alone) == f"advice.{SOCKS5}"


PROCESSES = st.none() | st.builds(
    Process, st.integers(1, 9), st.text(max_size=9), st.none() | st.text(max_size=9), script=st.none() | st.text()
)


@given(PROCESSES, st.sampled_from(sorted(ADVICE_IDS)), st.none() | st.text(max_size=9))
def test_whatever_a_process_is_called_its_advice_can_be_told(
    process: Process | None, general: str, reason: str | None
) -> None:
    assert choice(general.removeprefix("advice."), process, reason) in catalogue("ja")


@pytest.mark.parametrize(
    ("offers", "general", "exact", "code"),
    [
        ("00 01", SOCKS5, "like_libcurl", "like_libcurl"),
        ("00 01 02", SOCKS5, "like_libcurl", "like_libcurl"),
        ("00 02 empty", SOCKS5, "like_java", "like_java"),
        ("userid", SOCKS4, "like_java_or_socat", "like_java_or_socat"),
    ],
)
def test_an_unknown_program_gets_a_hint_from_what_it_offers(offers: str, general: str, exact: str, code: str) -> None:
    found = leak(LeakKind.ADDRESS_ONLY, f"advice.{general}", offers=offers)
    for reason in ("gone", "off", "not_permitted", "busy", None):
        told = REMEDIES.tell(found, None, reason)
        assert told == (f"advice.for.{exact}", found.confidence, (*found.evidence, code))
    assert REMEDIES.tell(found, Process(1, "x", "/opt/x"), None) == (found.advice, found.confidence, found.evidence)
    assert "like_" not in str(REMEDIES.tell(found, Process(1, "curl", "/usr/bin/curl"), None))


@pytest.mark.parametrize("offers", ["", "00", "00 02", "00 01 03", "01 00"])
def test_what_most_programs_offer_is_no_hint(offers: str) -> None:
    found = leak(LeakKind.ADDRESS_ONLY, f"advice.{SOCKS5}", offers=offers)
    assert REMEDIES.tell(found, None, "gone") == (found.advice, found.confidence, found.evidence)


def test_a_hint_is_given_only_where_it_helps() -> None:
    found = leak(LeakKind.BIND_ATTEMPT, "advice.bind_attempt", offers="00 01")
    assert REMEDIES.tell(found, None, "gone") == (found.advice, found.confidence, found.evidence)
