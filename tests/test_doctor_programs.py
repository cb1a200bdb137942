"""What the doctor reads in programs' settings and in a torrc, and that it never says a host or a credential."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.doctor import programs, proxy_settings, torrc
from shim.doctor.machine import Machine
from shim.doctor.proxy_settings import READERS
from shim.doctor.remark import Status
from shim.locale import LANGUAGES, catalogue
from shim.setup.programs import RECIPES

SECRET = "user:s3cret@s3ntinel.example:9250"
LEAKS, HANDS, NOTHING = [True], [False], []

ROWS = [
    ("curl", f"proxy = socks5://{SECRET}", LEAKS),
    ("curl", f'--proxy "socks5h://{SECRET}"', HANDS),
    ("curl", "-x socks4://s3ntinel.example:9250", LEAKS),
    ("curl", "socks5-hostname s3ntinel.example:9250", HANDS),
    ("curl", "socks4a = s3ntinel.example", HANDS),
    ("curl", "socks5 s3ntinel.example", LEAKS),
    ("curl", "# proxy = socks5://s3ntinel.example", NOTHING),
    ("curl", "url = socks5://s3ntinel.example", NOTHING),
    ("curl", "proxy = http://s3ntinel.example", NOTHING),
    ("git", f"[http]\n\tproxy = socks5://{SECRET}", LEAKS),
    ("git", f'[http "https://s3ntinel.example"]\n\tproxy = socks5h://{SECRET}', HANDS),
    ("pip", f"[global]\nproxy = socks5://{SECRET}", LEAKS),
    ("npm", f"https-proxy=socks5h://{SECRET}", HANDS),
    ("npm", "//s3ntinel.example/:_authToken=s3cret", NOTHING),
    ("apt", f'Acquire::http::Proxy "socks5h://{SECRET}";', HANDS),
    ("apt", f'Acquire::https::Proxy "socks5://{SECRET}";', LEAKS),
    ("ssh", "Host s3ntinel.example\n  ProxyCommand nc -X 4 -x 127.0.0.1:9250 %h %p", LEAKS),
    ("ssh", "ProxyCommand /usr/bin/nc -X 5 -x 127.0.0.1:9250 %h %p", HANDS),
    ("ssh", "ProxyCommand nc -x 127.0.0.1:9250 %h %p", HANDS),
    ("ssh", "VerifyHostKeyDNS yes", LEAKS),
    ("ssh", "=", NOTHING),
    ("ssh", "CanonicalizeHostname = no", NOTHING),
    ("proxychains4", "strict_chain\n[ProxyList]\nsocks5 127.0.0.1 9250 user s3cret", LEAKS),
    ("proxychains4", "proxy_dns\n[ProxyList]\nsocks4 127.0.0.1 9250", HANDS),
    ("proxychains4", "#proxy_dns\n[ProxyList]\nsocks4 127.0.0.1 9250", LEAKS),
    ("torsocks", "TorAddress 127.0.0.1\nTorPort 9250\n#AllowOutboundLocalhost 2", HANDS),
    ("torsocks", "AllowOutboundLocalhost 2", LEAKS),
    ("torsocks", "AllowOutboundLocalhost 0\nAllowOutboundLocalhost", NOTHING),
    ("privoxy", "forward-socks4 / s3ntinel.example:9250 .", LEAKS),
    ("privoxy", "forward-socks5t / 127.0.0.1:9250 .", HANDS),
    ("chromium", '{"proxy": {"mode": "fixed_servers", "server": "socks5://s3ntinel.example:1"}}', HANDS),
    ("chromium", '{"proxy": {"mode": "fixed_servers", "server": "socks=s3ntinel.example:1"}}', LEAKS),
    ("chromium", '{"ProxyMode": "fixed_servers", "ProxyServer": "socks4://s3ntinel.example:1"}', LEAKS),
    ("chromium", '{"ProxySettings": {"ProxyMode": "pac_script", "ProxyPacUrl": "http://s3ntinel.example"}}', LEAKS),
    ("chromium", '{"proxy": {"mode": "direct"}}', NOTHING),
    ("chromium", '["no object"]', NOTHING),
    ("firefox", '{"policies": {"Proxy": {"Mode": "autoConfig", "AutoConfigURL": "http://s3ntinel.example"}}}', LEAKS),
    ("firefox", '{"policies": {"Proxy": "s3ntinel.example", "Preferences": [1]}}', NOTHING),
    ("firefox", "[not json", NOTHING),
    ("chromium", "[not json", NOTHING),
]


@pytest.mark.parametrize(("program", "text", "expected"), ROWS)
def test_what_a_setting_means(program: str, text: str, expected: list[bool]) -> None:
    found = list(READERS[program](text))
    assert [setting.leaks for setting in found] == expected
    assert "s3" not in repr(found)


@pytest.mark.parametrize("program", READERS)
@given(text=st.text())
def test_any_text_is_borne(program: str, text: str) -> None:
    list(READERS[program](text))
    list(proxy_settings.mozilla(text, text, text))
    torrc.options(text)


MANUAL = 'user_pref("network.proxy.type", 1);\nuser_pref("network.proxy.socks", "s3ntinel.example");\n'
CLOSED = 'user_pref("network.proxy.allow_bypass", false);\nuser_pref("network.proxy.failover_direct", false);\n'
SOCKS5 = 'user_pref("network.proxy.socks5_remote_dns", {});\n'
SOCKS = 'user_pref("network.proxy.socks_remote_dns", {});\n'
VERSION4 = 'user_pref("network.proxy.socks_version", 4);\n'


@pytest.mark.parametrize(
    ("prefs", "user", "version", "leaks"),
    [
        (MANUAL + CLOSED, "", "128.5.0", [False]),
        (MANUAL, "", "128.5.0", [False, True, True]),
        (MANUAL, CLOSED, "140.1", [False]),
        (MANUAL + CLOSED + SOCKS5.format("false"), "", "128.0", [True]),
        (MANUAL + CLOSED + SOCKS5.format("false"), SOCKS5.format("true"), "128.0", [False]),
        (MANUAL + CLOSED, "", "115.9", [True]),
        (MANUAL + CLOSED + SOCKS.format("true"), "", "115.9", [False]),
        (MANUAL + CLOSED + VERSION4, "", "128.0", [True]),
        (MANUAL + CLOSED + VERSION4 + SOCKS.format("true"), "", "128.0", [False]),
        ('user_pref("network.proxy.type", 2);', "", "128.0", [True]),
        ('user_pref("network.proxy.type", 5);', "", "128.0", []),
    ],
)
def test_firefox(prefs: str, user: str, version: str, leaks: list[bool]) -> None:
    found = list(proxy_settings.mozilla(prefs, user, version))
    assert [setting.leaks for setting in found] == leaks
    assert "s3ntinel" not in repr(found)


SHUT = '"network.proxy.allow_bypass": {"Value": false}, "network.proxy.failover_direct": {"Value": false}'


@pytest.mark.parametrize(
    ("proxy", "preferences", "leaks"),
    [
        ('"SOCKSVersion": 5, "UseProxyForDNS": true', SHUT, [False]),
        ('"SOCKSVersion": 5', SHUT, [False]),
        ('"SOCKSVersion": 5, "UseProxyForDNS": false', SHUT, [True]),
        ('"SOCKSVersion": 4', SHUT, [True]),
        ('"SOCKSVersion": 4, "UseProxyForDNS": true', SHUT, [False]),
        ('"SOCKSVersion": 5', "", [False, True, True]),
        ('"SOCKSVersion": 5', '"network.proxy.socks5_remote_dns": false, ' + SHUT, [True]),
    ],
)
@pytest.mark.parametrize("program", ["firefox", "thunderbird"])
def test_the_policies_of_firefox(program: str, proxy: str, preferences: str, leaks: list[bool]) -> None:
    manual = f'"Proxy": {{"Mode": "manual", "SOCKSProxy": "s3ntinel.example:9250", {proxy}}}'
    found = list(READERS[program](f'{{"policies": {{{manual}, "Preferences": {{{preferences}}}}}}}'))
    assert [setting.leaks for setting in found] == leaks
    assert "s3ntinel" not in repr(found)


def test_the_policies_of_the_documents_are_good() -> None:
    page = (Path(__file__).parents[1] / "docs" / "advice.md").read_text(encoding="utf-8")
    mozilla, chrome = (text.partition("```")[0] for text in page.split("```json\n")[1:])
    assert [setting.leaks for setting in READERS["firefox"](mozilla)] == [False]
    assert [setting.leaks for setting in READERS["chromium"](chrome)] == [False]


@pytest.mark.parametrize(
    ("variables", "leaks"),
    [
        ({"ALL_PROXY": f"socks5://{SECRET}"}, LEAKS),
        ({"https_proxy": f"socks5h://{SECRET}", "PIP_PROXY": f"socks5://{SECRET}"}, [False, True]),
        ({"npm_config_https_proxy": f"socks5://{SECRET}"}, LEAKS),
        ({"SOCKS_SERVER": "s3ntinel.example:1", "SOCKS_VERSION": "4"}, LEAKS),
        ({"SOCKS_SERVER": "s3ntinel.example:1"}, NOTHING),
        ({"SOCKS_VERSION": "4"}, NOTHING),
        ({"JAVA_TOOL_OPTIONS": "-DsocksProxyHost=s3ntinel.example"}, LEAKS),
        ({"JAVA_TOOL_OPTIONS": "-Xmx1g", "NO_PROXY": "s3ntinel.example"}, NOTHING),
    ],
)
def test_the_environment(variables: dict[str, str], leaks: list[bool]) -> None:
    found = list(proxy_settings.environment(variables))
    assert [setting.leaks for setting in found] == leaks
    assert "s3" not in repr(found)


@pytest.mark.parametrize("program", [*programs.FILES, *programs.PROFILES])
def test_every_remedy_is_a_program_of_setup(program: str) -> None:
    assert program in READERS
    assert program in RECIPES


@pytest.mark.parametrize(
    ("text", "version", "codes"),
    [
        ("SocksPort 9050", "0.4.9.11", []),
        ("SocksPort 9050", "0.4.8.21", ["tor_silent"]),
        ("SafeSocks 1", "0.4.8.21", ["tor_safe_socks"]),
        ("SafeSocks 1", "0.4.7.12", ["tor_safe_socks", "tor_inverted"]),
        ("SafeSocks 1", "0.4.7.13", ["tor_safe_socks"]),
        ("SafeSocks 1", "0.4.5.16", ["tor_safe_socks"]),
        ("SafeSocks 1", "0.4.5.15", ["tor_safe_socks", "tor_inverted"]),
        ("safesocks 1\nTestSocks 1", None, ["tor_safe_socks", "tor_test_socks"]),
        ("ORPort 9001", None, ["tor_relay"]),
        ("ORPort 9001\nBridgeRelay 1", None, []),
        ("ORPort 9001\nExitRelay 1", None, ["tor_exit"]),
        ("ORPort 9001\nExitPolicy accept *:80", None, ["tor_exit"]),
        ("ORPort 9001\nExitPolicy accept *:80\nExitRelay 0", None, ["tor_relay"]),
        ("ORPort 0\n# ORPort 9001", None, []),
    ],
)
def test_torrc(text: str, version: str | None, codes: list[str]) -> None:
    which = None if version is None else torrc.version(f"Tor version {version}.")
    assert [remark.code for remark in torrc.look("/etc/tor/torrc", text, which)] == codes


def snapshot(root: Path) -> dict[str, tuple[float, bytes]]:
    return {str(path): (path.stat().st_mtime, path.read_bytes()) for path in root.rglob("*") if path.is_file()}


def test_a_machine_is_read_whole_and_left_as_it_is(tmp_path: Path) -> None:
    files = {
        "home/u/.curlrc": f"proxy = socks5://{SECRET}",
        "home/u/.config/git/config": f"[http]\nproxy = socks5h://{SECRET}",
        "home/u/.mozilla/firefox/x.default/prefs.js": MANUAL,
        "home/u/.mozilla/firefox/x.default/user.js": CLOSED,
        "home/u/.mozilla/firefox/x.default/compatibility.ini": "[Compatibility]\nLastVersion=140.5.0_1/2\n",
        "etc/tor/torrc": "SocksPort 9050\n",
        "var/lib/dpkg/status": "Package: torsocks\nVersion: 2.4\n\nPackage: tor\nStatus: ok\nVersion: 0.4.8.10-1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "etc/npmrc").symlink_to("npmrc")
    before = snapshot(tmp_path)
    found = list(programs.look(Machine(tmp_path), {"HOME": "/home/u", "all_proxy": f"socks4://{SECRET}"}))
    told = {(remark.code, remark.status, dict(remark.fields).get("program", "")) for remark in found}
    assert told == {
        ("variable_leaks", Status.LEAK, ""),
        ("program_leaks", Status.LEAK, "curl"),
        ("program_hands", Status.NOTE, "git"),
        ("program_hands", Status.NOTE, "firefox"),
        ("tor_silent", Status.NOTE, ""),
    }
    assert snapshot(tmp_path) == before
    assert "s3" not in repr(found)
    for lang in LANGUAGES:
        for remark in found:
            texts = catalogue(lang)
            assert texts.text(f"doctor.{remark.code}", **dict(remark.fields))
            assert remark.mend is None or texts.text(f"doctor.mend.{remark.mend}", **dict(remark.fields))
