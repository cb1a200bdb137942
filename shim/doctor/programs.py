"""The settings of this user's programs, and of tor: which of them leak.

Reads files and variables only; a file that cannot be read is said to be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from shim.doctor import proxy_settings, torrc
from shim.doctor.machine import Machine
from shim.doctor.proxy_settings import READERS, Setting
from shim.doctor.remark import Remark, Status

FILES: dict[str, tuple[str, ...]] = {
    "curl": ("{CURL_HOME}/.curlrc", "{CONFIG}/curlrc", "~/.curlrc"),
    "git": ("/etc/gitconfig", "{CONFIG}/git/config", "~/.gitconfig"),
    "pip": ("/etc/pip.conf", "{CONFIG}/pip/pip.conf", "~/.pip/pip.conf"),
    "npm": ("/etc/npmrc", "~/.npmrc"),
    "apt": ("/etc/apt/apt.conf", "/etc/apt/apt.conf.d/*"),
    "ssh": ("/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d/*.conf", "~/.ssh/config"),
    "proxychains4": (
        "/etc/proxychains4.conf",
        "/etc/proxychains.conf",
        "~/.proxychains/proxychains.conf",
        "{PROXYCHAINS_CONF_FILE}",
    ),
    "torsocks": ("/etc/tor/torsocks.conf", "/etc/torsocks.conf", "{TORSOCKS_CONF_FILE}"),
    "privoxy": ("/etc/privoxy/config",),
    "chromium": (
        "/etc/chromium/policies/managed/*.json",
        "/etc/opt/chrome/policies/managed/*.json",
        "/etc/brave/policies/managed/*.json",
        "{CONFIG}/chromium/*/Preferences",
        "{CONFIG}/google-chrome/*/Preferences",
        "{CONFIG}/BraveSoftware/Brave-Browser/*/Preferences",
        "~/snap/chromium/common/chromium/*/Preferences",
        "~/.var/app/org.chromium.Chromium/config/chromium/*/Preferences",
    ),
    "firefox": ("/etc/firefox/policies/policies.json", "/usr/lib/firefox*/distribution/policies.json"),
    "thunderbird": ("/etc/thunderbird/policies/policies.json", "/usr/lib/thunderbird/distribution/policies.json"),
}
PROFILES = {
    "firefox": (
        "~/.mozilla/firefox/*/prefs.js",
        "~/snap/firefox/common/.mozilla/firefox/*/prefs.js",
        "~/.var/app/org.mozilla.firefox/.mozilla/firefox/*/prefs.js",
    ),
    "thunderbird": ("~/.thunderbird/*/prefs.js", "~/snap/thunderbird/common/.thunderbird/*/prefs.js"),
}
TORRCS = ("/etc/tor/torrc", "/etc/tor/torrc.d/*.conf", "~/.torrc")


def look(machine: Machine, environ: Mapping[str, str]) -> Iterator[Remark]:
    """All that concerns a proxy; a program that has none set is not mentioned."""
    for setting in dict.fromkeys(proxy_settings.environment(environ)):
        fields = (("setting", setting.text),)
        if setting.leaks:
            yield Remark("variable_leaks", Status.LEAK, fields, "environment")
        else:
            yield Remark("variable_hands", Status.NOTE, fields)
    for program, places in FILES.items():
        for place, text in machine.files(places, environ):
            yield from _unreadable(place) if text is None else _told(program, place, READERS[program](text))
    for program, places in PROFILES.items():
        for place, text in machine.files(places, environ):
            folder = place.removesuffix("prefs.js")
            user, about = machine.text(f"{folder}user.js") or "", machine.text(f"{folder}compatibility.ini") or ""
            last = about.partition("LastVersion=")[2]
            yield from (
                _unreadable(place) if text is None else _told(program, place, proxy_settings.mozilla(text, user, last))
            )
    version = machine.tor_version()
    for place, text in machine.files(TORRCS, environ):
        yield from _unreadable(place) if text is None else torrc.look(place, text, version)


def _told(program: str, place: str, settings: Iterable[Setting]) -> Iterator[Remark]:
    for setting in dict.fromkeys(settings):
        fields = (("program", program), ("file", place), ("setting", setting.text))
        if setting.leaks:
            yield Remark("program_leaks", Status.LEAK, fields, "setup")
        else:
            yield Remark("program_hands", Status.NOTE, fields)  # the verdict is about the resolver unless one leaks


def _unreadable(place: str) -> Iterator[Remark]:
    yield Remark("file_unreadable", Status.NOTE, (("file", place),))
