"""Debian's tor, started offline, as the oracle of what a SOCKS request means to Tor.

It knows no directory server and attaches no stream, so a request that passes its SOCKS handshake waits for ever.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Self

from rig.control import Control

TORRC = """
SocksPort 127.0.0.1:auto
ControlPort unix:{folder}/control
DataDirectory {folder}/data
CookieAuthentication 0
RunAsDaemon 0
Log notice file {folder}/log
DirAuthority dummy orport=1 v3ident=0000000000000000000000000000000000000001 127.0.0.1:1 \
0000 0000 0000 0000 0000 0000 0000 0000 0000 0002
UseDefaultFallbackDirs 0
__LeaveStreamsUnattached 1
SafeSocks 0
TestSocks 0
"""
OLDEST = (0, 4, 9, 10)
"""Older releases say nothing of unsafe requests unless SafeSocks is on."""


def version(tor: str) -> tuple[int, ...]:
    """What `tor --version` says."""
    said = subprocess.run([tor, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


class Tor(Control):
    """The process and its control connection."""

    def __init__(self, tor: str, folder: Path, more: str = "") -> None:
        """`more` are further lines of its torrc."""
        torrc = folder / "torrc"
        torrc.write_text(TORRC.format(folder=folder) + more)
        argv = [tor, "--defaults-torrc", "/dev/null", "-f", str(torrc), "--quiet"]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        super().__init__(folder / "control", self._process)

    def __enter__(self) -> Self:
        try:
            super().__enter__()
            listening = self.command("GETINFO net/listeners/socks")[0]
            self.socks = listening.partition("=")[2].strip('"')
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._process.terminate()
        self._process.wait(15)
