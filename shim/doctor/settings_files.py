"""The resolver's settings files, read as those read them whom they are for.

Parses only: opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_ACTION = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True)
class ResolvConf:
    """resolv.conf(5): who is asked, and what is appended to names."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def resolv_conf(text: str) -> ResolvConf:
    """Read it. All nameservers: glibc asks the first three in turn, musl asks them at once."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        keyword, *words = line.split() or [""]
        if keyword == "nameserver" and words:
            nameservers.append(words[0])
        elif keyword in ("search", "domain") and words:  # the last one counts
            search = tuple(word.removesuffix(".") for word in words[: 1 if keyword == "domain" else None])
    return ResolvConf(tuple(nameservers), tuple(suffix for suffix in search if suffix))


def hosts_sources(text: str) -> tuple[str, ...]:
    """The sources of `hosts` in nsswitch.conf(5), in order; glibc's own when it names none."""
    for line in text.splitlines():
        database, colon, sources = line.partition("#")[0].partition(":")
        if colon and database.strip() == "hosts":
            return tuple(_ACTION.sub(" ", sources).split())
    return DEFAULT_SOURCES


DEFAULT_SOURCES = ("files", "dns")


@dataclass(frozen=True)
class Resolved:
    """resolved.conf(5), as far as it is looked at. `llmnr` and `mdns` are None where no file says: the default is the
    distribution's.
    """

    dns: tuple[str, ...] = ()
    llmnr: bool | None = None
    mdns: bool | None = None


def resolved_conf(texts: Iterable[str]) -> Resolved:
    """Read the file and its drop-ins, in the order in which systemd does: a list grows, an empty value empties it."""
    dns: tuple[str, ...] = ()
    switches: dict[str, bool | None] = {"LLMNR": None, "MulticastDNS": None}
    for key, value in (setting for text in texts for setting in _section(text, "Resolve")):
        if key == "DNS":
            dns = (*dns, *value.split()) if value else ()
        elif key in switches:
            switches[key] = value.lower() not in ("no", "false", "off", "0", "n", "f")
    return Resolved(dns, switches["LLMNR"], switches["MulticastDNS"])


def _section(text: str, wanted: str) -> Iterable[tuple[str, str]]:
    """Keys and values of one section of a systemd file."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == wanted and line[:1] not in ("", "#", ";"):
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()
