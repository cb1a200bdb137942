"""What is looked at on this machine: a few files, and whether some sockets are there.

Reads only; what cannot be read is as good as not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from shim.doctor import torrc
from shim.doctor.settings_files import ResolvConf, Resolved, hosts_sources, resolv_conf, resolved_conf

MAX_BYTES = 1 << 20
MAX_FILES = 64
"""Of one program."""

DPKG_STATUS = "/var/lib/dpkg/status"
_DPKG_BYTES = 64 << 20

RESOLV_CONF = "/etc/resolv.conf"
NSSWITCH_CONF = "/etc/nsswitch.conf"
UPLINKS = "/run/systemd/resolve/resolv.conf"
"""Where systemd-resolved lists the servers that it really asks."""

_RESOLVED_CONF = "systemd/resolved.conf"
_RESOLVED_PLACES = ("/usr/lib", "/usr/local/lib", "/run", "/etc")
"""From the least to the most important: of two files of one name, the last counts."""

_RESOLVED_SOCKET = "/run/systemd/resolve/io.systemd.Resolve"
_NSCD_SOCKETS = ("/run/nscd/socket", "/var/run/nscd/socket")


class Machine:
    """The files of the system at `root`, which is another folder than / in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def resolv_conf(self) -> ResolvConf | None:
        """None without the file."""
        text = self.text(RESOLV_CONF)
        return None if text is None else resolv_conf(text)

    def hosts_sources(self) -> tuple[str, ...]:
        """Where the C library looks names up."""
        return hosts_sources(self.text(NSSWITCH_CONF) or "")

    def uplinks(self) -> ResolvConf | None:
        """Whom systemd-resolved asks, but for servers at another port than 53, which it leaves out."""
        text = self.text(UPLINKS)
        return None if text is None else resolv_conf(text)

    def resolved(self) -> Resolved:
        """How systemd-resolved is set."""
        main = [text for place in _RESOLVED_PLACES if (text := self.text(f"{place}/{_RESOLVED_CONF}")) is not None]
        drop_ins: dict[str, str] = {}
        for place in _RESOLVED_PLACES:
            for path in sorted(self._path(f"{place}/{_RESOLVED_CONF}.d").glob("*.conf")):
                drop_ins[path.name] = self._read(path) or ""
        return resolved_conf([*main[-1:], *(drop_ins[name] for name in sorted(drop_ins))])

    def runs_resolved(self) -> bool:
        """Whether systemd-resolved can be asked, past resolv.conf."""
        return self._path(_RESOLVED_SOCKET).exists()

    def runs_nscd(self) -> bool:
        """Whether nscd answers in the C library's place, and keeps answers."""
        return any(self._path(place).exists() for place in _NSCD_SOCKETS)

    def files(self, places: Iterable[str], environ: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
        """Where there is a file, and its text (None: it cannot be read). Places may hold `~`, `{VARIABLE}` and `*`."""
        count = 0
        for place in places:
            for path in self._matching(_filled(place, environ)):
                count += 1
                if count <= MAX_FILES:
                    yield f"/{path.relative_to(self._root)}", self._read(path)

    def tor_version(self) -> torrc.Version | None:
        """Of Debian's package, if it is installed; nothing is started to learn it."""
        try:
            with self._path(DPKG_STATUS).open("rb") as file:
                found = re.search(rb"^Package: tor\n(?:.+\n)*?Version: (.+)$", file.read(_DPKG_BYTES), re.MULTILINE)
        except OSError:
            return None
        return torrc.version(found[1].decode("ascii", "replace")) if found else None

    def _matching(self, place: str | None) -> list[Path]:
        if place is None:
            return []
        try:
            return [path for path in sorted(self._root.glob(place.lstrip("/"))) if path.is_file()]
        except OSError:
            return []

    def _path(self, place: str) -> Path:
        return self._root / place.lstrip("/")

    def text(self, place: str) -> str | None:
        """The text of a file; None where it cannot be read."""
        return self._read(self._path(place))

    def _read(self, path: Path) -> str | None:
        """Bytes that are no UTF-8 are shown as \\xNN, never guessed."""
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES).decode("utf-8", "backslashreplace")
        except OSError:
            return None


def _filled(place: str, environ: Mapping[str, str]) -> str | None:
    """The place for this user; None where a variable that it needs is not set."""
    home = environ.get("HOME", "")
    known = {"CONFIG": environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else ""), "~": home}
    for word in re.findall(r"~|\{(\w+)\}", place):
        value = known.get(word or "~") or environ.get(word)
        if not value:
            return None
        place = place.replace(f"{{{word}}}" if word else "~", value, 1)
    return place
