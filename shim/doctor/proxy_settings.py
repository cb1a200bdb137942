"""What programs' settings files say of a SOCKS proxy: whether names are handed to it or looked up before.

Parses only: opens no file. Of a setting only its key and its scheme are kept, never a host or a credential.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """One setting that matters; `leaks` is whether the program then looks names up itself, or goes past the proxy."""

    text: str
    leaks: bool


_LEAKING = ("socks", "socks4", "socks5")
_HANDING = ("socks4a", "socks5h")
_URL = re.compile(r"""["']?(socks\w*)://""", re.IGNORECASE)
_PREF = re.compile(r"""^\s*user_pref\(\s*"([\w.-]+)"\s*,\s*(.*?)\s*\)\s*;""", re.MULTILINE)
_CURL = re.compile(r"^\s*(?:--?)?([\w-]+)(?:\s*[=:]\s*|\s+)?(.*)$")
_CURL_FLAGS = {"socks4": True, "socks5": True, "socks4a": False, "socks5-hostname": False}
_CURL_PROXIES = ("proxy", "x", "preproxy")
_VARIABLES = (
    *("all_proxy", "http_proxy", "https_proxy", "ftp_proxy", "pip_proxy"),
    *("npm_config_proxy", "npm_config_https_proxy"),
)
_JAVA_VARIABLES = ("java_tool_options", "_java_options", "jdk_java_options")
_MANUAL, _PAC = 1, 2
_REMOTE = "network.proxy.socks_remote_dns", "network.proxy.socks5_remote_dns"
_POLICY_MODES = {"manual": _MANUAL, "autoConfig": _PAC}
_POLICY_PREFS = {"SOCKSProxy": "network.proxy.socks", "SOCKSVersion": "network.proxy.socks_version"}
_REMOTE_BY_DEFAULT = 128
"""The Firefox from which network.proxy.socks5_remote_dns exists, and is true."""


def environment(variables: Mapping[str, str]) -> Iterator[Setting]:
    """Proxy variables, in either case; those of Chromium and of Java, which looks names up all the same."""
    for name, value in variables.items():
        if name.lower() in _VARIABLES:
            yield from _scheme(name, value)
        elif name == "SOCKS_VERSION" and value == "4" and variables.get("SOCKS_SERVER"):
            yield Setting("SOCKS_VERSION = 4", True)
        elif name.lower() in _JAVA_VARIABLES and "-DsocksProxyHost" in value:
            yield Setting(f"{name} -DsocksProxyHost", True)


def curlrc(text: str) -> Iterator[Setting]:
    """curl's configuration, long options with or without dashes."""
    for line in _lines(text):
        if match := _CURL.match(line):
            option, value = match[1], match[2]
            if option in _CURL_FLAGS:
                yield Setting(option, _CURL_FLAGS[option])
            elif option in _CURL_PROXIES:
                yield from _scheme(option, value)


def assignments(text: str) -> Iterator[Setting]:
    """`proxy = URL` and its like: git, pip, npm. Other keys may name sites, so they are left out."""
    for line in _lines(text):
        key, _, value = line.partition("=")
        if key.strip().lower() in ("proxy", "https-proxy", "http-proxy"):
            yield from _scheme(key.strip(), value)


def apt(text: str) -> Iterator[Setting]:
    """apt.conf; socks5h is the only SOCKS scheme that apt knows."""
    for line in _lines(text.replace("//", "\0")):
        if re.search(r"(?i)proxy", line):
            yield from _scheme("Acquire::…::Proxy", line.replace("\0", "//").partition(" ")[2].strip())


def ssh(text: str) -> Iterator[Setting]:
    """ssh_config: nc looks names up itself unless it speaks SOCKS5, and two options ask DNS."""
    for line in _lines(text):
        words = line.replace("=", " ", 1).split() or [""]
        key, rest = words[0].lower(), words[1:]
        if key == "proxycommand" and rest and rest[0].rpartition("/")[2] in ("nc", "netcat") and "-x" in rest:
            version = rest[rest.index("-X") + 1] if "-X" in rest[:-1] else "5"
            yield Setting(f"ProxyCommand nc -X {version}", version == "4")
        elif key in ("verifyhostkeydns", "canonicalizehostname") and rest and rest[0].lower() != "no":
            yield Setting(f"{words[0]} {rest[0]}", True)


def proxychains(text: str) -> Iterator[Setting]:
    """proxychains.conf: without proxy_dns, names are looked up before."""
    lines = [line.split()[0].lower() for line in _lines(text)]
    if "[proxylist]" in lines and any(word in ("socks4", "socks5") for word in lines):
        hands = any(word.startswith("proxy_dns") for word in lines)
        yield Setting("proxy_dns" if hands else "[ProxyList]", not hands)


def privoxy(text: str) -> Iterator[Setting]:
    """Privoxy's config."""
    for line in _lines(text):
        word = line.split()[0].lower()
        if word.startswith("forward-socks"):
            yield Setting(word, word == "forward-socks4")


def torsocks(text: str) -> Iterator[Setting]:
    """torsocks.conf: AllowOutboundLocalhost lets programs reach a resolver of this machine, past Tor."""
    for line in _lines(text):
        words = line.split()
        if words[0] == "TorPort":
            yield Setting("TorPort", False)
        elif words[0] == "AllowOutboundLocalhost" and words[1:2] not in ([], ["0"]):
            yield Setting(line, True)


def mozilla(prefs: str, user: str, last_version: str) -> Iterator[Setting]:
    """prefs.js and user.js, which counts more, of a Firefox or Thunderbird profile."""
    yield from _mozilla({key: _value(raw) for text in (prefs, user) for key, raw in _PREF.findall(text)}, last_version)


def mozilla_policy(text: str) -> Iterator[Setting]:
    """policies.json of Firefox or Thunderbird; what it does not set, a profile may."""
    policies = _object(_value(text)).get("policies")
    proxy, preferences = (_object(_object(policies).get(key)) for key in ("Proxy", "Preferences"))
    values = {key: _object(each).get("Value", each) for key, each in preferences.items()}
    values |= {_POLICY_PREFS[key]: value for key, value in proxy.items() if key in _POLICY_PREFS}
    if isinstance(kind := proxy.get("Mode"), str):
        values["network.proxy.type"] = _POLICY_MODES.get(kind)
    if "UseProxyForDNS" in proxy:
        values |= dict.fromkeys(_REMOTE, proxy["UseProxyForDNS"])
    yield from _mozilla(values, "")


def _mozilla(values: Mapping[str, object], last_version: str) -> Iterator[Setting]:
    kind = values.get("network.proxy.type")
    if kind == _PAC:
        yield Setting("network.proxy.type = 2", True)
    if kind != _MANUAL or not values.get("network.proxy.socks"):
        return
    number = re.match(r"\d+", last_version)
    remote, remote5 = _REMOTE
    hands = values.get(remote, False)
    if values.get("network.proxy.socks_version", 5) == 5 and (not number or int(number[0]) >= _REMOTE_BY_DEFAULT):
        remote = remote5
        hands = values.get(remote, True)
    yield Setting(f"{remote} = {'true' if hands else 'false'}", not hands)
    for way_out in ("network.proxy.allow_bypass", "network.proxy.failover_direct"):
        if values.get(way_out, True):
            yield Setting(f"{way_out} = true", True)


def chromium(text: str) -> Iterator[Setting]:
    """A profile's Preferences, or a managed policy."""
    if found := _object(_value(text)):
        policy = found.get("ProxySettings")
        kept = found.get("proxy")
        settings: Mapping[str, Any] = policy if isinstance(policy, dict) else kept if isinstance(kept, dict) else found
        mode = settings.get("ProxyMode", settings.get("mode"))
        if mode == "pac_script":
            yield Setting("ProxyMode = pac_script", True)
        server = settings.get("ProxyServer", settings.get("server"))
        if mode in (None, "fixed_servers") and isinstance(server, str):
            if server.startswith("socks5://"):
                yield Setting("ProxyServer = socks5://", False)
            elif server.startswith(("socks4://", "socks://")) or "socks=" in server:
                yield Setting("ProxyServer = socks4://" if "socks=" not in server else "ProxyServer = socks=", True)


READERS: dict[str, Callable[[str], Iterator[Setting]]] = {
    "curl": curlrc,
    "git": assignments,
    "pip": assignments,
    "npm": assignments,
    "apt": apt,
    "ssh": ssh,
    "proxychains4": proxychains,
    "torsocks": torsocks,
    "privoxy": privoxy,
    "chromium": chromium,
    "firefox": mozilla_policy,
    "thunderbird": mozilla_policy,
}
"""By program, as `shim setup` names it."""


def _scheme(key: str, value: str) -> Iterator[Setting]:
    match = _URL.match(value.strip())
    scheme = match[1].lower() if match else ""
    if scheme in (*_LEAKING, *_HANDING):
        yield Setting(f"{key} = {scheme}://", scheme in _LEAKING)


def _lines(text: str) -> Iterator[str]:
    for line in map(str.strip, text.splitlines()):
        if line and line[0] not in "#;":
            yield line


def _object(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _value(raw: str) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return None
