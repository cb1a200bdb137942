"""What is looked at on this machine: a few files, and whether some sockets are there.

Reads only; what cannot be read is as good as not there.
"""

from __future__ import annotations

from pathlib import Path

from shim.doctor.settings_files import ResolvConf, Resolved, hosts_sources, resolv_conf, resolved_conf

MAX_BYTES = 1 << 20

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
        text = self._text(RESOLV_CONF)
        return None if text is None else resolv_conf(text)

    def hosts_sources(self) -> tuple[str, ...]:
        """Where the C library looks names up."""
        return hosts_sources(self._text(NSSWITCH_CONF) or "")

    def uplinks(self) -> ResolvConf | None:
        """Whom systemd-resolved asks, but for servers at another port than 53, which it leaves out."""
        text = self._text(UPLINKS)
        return None if text is None else resolv_conf(text)

    def resolved(self) -> Resolved:
        """How systemd-resolved is set."""
        main = [text for place in _RESOLVED_PLACES if (text := self._text(f"{place}/{_RESOLVED_CONF}")) is not None]
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

    def _path(self, place: str) -> Path:
        return self._root / place.lstrip("/")

    def _text(self, place: str) -> str | None:
        return self._read(self._path(place))

    def _read(self, path: Path) -> str | None:
        """Bytes that are no UTF-8 are shown as \\xNN, never guessed."""
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES).decode("utf-8", "backslashreplace")
        except OSError:
            return None
