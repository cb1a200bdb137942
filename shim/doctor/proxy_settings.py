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
_VARIABLES = ("all_proxy", "http_proxy", "https_proxy", "ftp_proxy")
_MANUAL, _PAC = 1, 2
_REMOTE_BY_DEFAULT = 128
"""The Firefox from which network.proxy.socks5_remote_dns exists, and is true."""


def environment(variables: Mapping[str, str]) -> Iterator[Setting]:
    """Proxy variables, in either case."""
    for name, value in variables.items():
        if name.lower() in _VARIABLES:
            yield from _scheme(name, value)


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


def mozilla(prefs: str, user: str, last_version: str) -> Iterator[Setting]:
    """prefs.js and user.js, which counts more, of a Firefox or Thunderbird profile."""
    values = {key: _value(raw) for text in (prefs, user) for key, raw in _PREF.findall(text)}
    kind = values.get("network.proxy.type")
    if kind == _PAC:
        yield Setting("network.proxy.type = 2", True)
    if kind != _MANUAL or not values.get("network.proxy.socks"):
        return
    number = re.match(r"\d+", last_version)
    remote = "network.proxy.socks_remote_dns"
    hands = values.get(remote, False)
    if values.get("network.proxy.socks_version", 5) == 5 and (not number or int(number[0]) >= _REMOTE_BY_DEFAULT):
        remote = "network.proxy.socks5_remote_dns"
        hands = values.get(remote, True)
    yield Setting(f"{remote} = {'true' if hands else 'false'}", not hands)
    for way_out in ("network.proxy.allow_bypass", "network.proxy.failover_direct"):
        if values.get(way_out, True):
            yield Setting(f"{way_out} = true", True)


def chromium(text: str) -> Iterator[Setting]:
    """A profile's Preferences, or a managed policy."""
    try:
        found = json.loads(text)
    except ValueError:
        return
    if isinstance(found, dict):
        policy = found.get("ProxySettings")
        kept = found.get("proxy")
        settings: dict[str, Any] = policy if isinstance(policy, dict) else kept if isinstance(kept, dict) else found
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
    "proxychains": proxychains,
    "privoxy": privoxy,
    "chromium": chromium,
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


def _value(raw: str) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return None
