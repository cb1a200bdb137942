"""Six tors on loopback: an authority, two relays, an exit, a client and an onion service; no outside contact.

Needs the programs tor and tor-gencert, and a network namespace, for its ports are fixed.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from rig.programs import require_program

from tornet.node import Node

BOOTSTRAP_TIMEOUT_S = 60.0
RESOLVER = "127.0.0.2"
"""Who the exit asks."""
SOCKS, SOCKS_EXTENDED = "127.0.0.1:9050", "127.0.0.1:9052"
"""The client's ports: Tor's default, and one that gives the extended errors of onion services."""

_DIRPORT = 7000
_RELAYS = ("authority", "relay1", "relay2", "exit")

# The owning process: tor ends by itself soon after a test run that was killed.
_ALL = """\
TestingTorNetwork 1
DataDirectory {data}
Log notice file {data}/log
__OwningControllerProcess {owner}
UseDefaultFallbackDirs 0
PathsNeededToBuildCircuits 0.25
ShutdownWaitLength 0
TestingDirConnectionMaxStall 5 seconds
"""
_RELAY = """\
Nickname {name}
Address 127.0.0.1
ORPort 127.0.0.1:{orport} IPv4Only
AssumeReachable 1
SocksPort 0
ContactInfo none
ServerDNSDetectHijacking 0
ServerDNSTestAddresses
ServerDNSAllowBrokenConfig 1
FetchDirInfoEarly 1
FetchDirInfoExtraEarly 1
"""

# Votes come often, so that a consensus is there soon.
_AUTHORITY = f"""\
DirPort 127.0.0.1:{_DIRPORT} IPv4Only
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
V3AuthVotingInterval 10 seconds
V3AuthVoteDelay 2
V3AuthDistDelay 2
V3AuthNIntervalsValid 3
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteExit *
TestingMinExitFlagThreshold 0
MinUptimeHidServDirectoryV2 0
TestingAuthDirTimeToLearnReachability 0
DirAllowPrivateAddresses 1
AuthDirMaxServersPerAddr 0
"""
_EXIT = """\
ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept *:*
ServerDNSResolvConfFile {folder}/resolv.conf
ServerDNSSearchDomains 0
"""
_CLIENT = f"""\
SocksPort {SOCKS}
SocksPort {SOCKS_EXTENDED} ExtendedErrors
SocksPort unix:{{folder}}/client/socks
ControlPort unix:{{folder}}/client/control
CookieAuthentication 0
"""
_ONION = """\
SocksPort 0
HiddenServiceDir {folder}/onion/site
HiddenServicePort 80 127.0.0.1:80
"""
_OF = {"authority": _AUTHORITY, "exit": _EXIT, "client": _CLIENT, "onion": _ONION}


class TorNetwork:
    """The processes; ready once the client has built a circuit."""

    def __init__(self, folder: Path, prefix: Sequence[str] = ()) -> None:
        """`prefix`: words before each command, so that it runs inside a namespace."""
        self._folder, self._prefix = folder, prefix
        self._tor, self._gencert = require_program("tor"), require_program("tor-gencert")
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as ending:
            (self._folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
            authority = self._authority()
            for name in _RELAYS:
                ending.enter_context(self._node(name, authority))
            _wait("a consensus of every relay", lambda: _relays(self._folder / "authority") == len(_RELAYS))
            ending.enter_context(self._node("onion", authority))
            self.client = ending.enter_context(self._node("client", authority))
            _wait("the client's first circuit", lambda: "Bootstrapped 100%" in self.log)
            self._ending = ending.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    @property
    def log(self) -> str:
        """What the client's tor has written."""
        return self.client.log

    @property
    def socks(self) -> str:
        """The client's SOCKS port that is reached from outside the namespace too."""
        return f"unix:{self._folder}/client/socks"

    @property
    def control(self) -> Path:
        """The client's control port, a unix socket."""
        return self._folder / "client" / "control"

    @property
    def onion(self) -> str:
        """The name of the onion site."""
        return (self._folder / "onion" / "site" / "hostname").read_text().strip()

    def _node(self, name: str, authority: str) -> Node:
        torrc = self._folder / f"torrc.{name}"
        torrc.write_text(self._torrc(name) + authority)
        return Node([*self._command(torrc), "--quiet"], self._data(name))

    def _torrc(self, name: str) -> str:
        text = _ALL.format(data=self._data(name), owner=os.getpid())
        if name in _RELAYS:
            text += _RELAY.format(name=name, orport=_orport(name))
            text += "" if name == "authority" else "DirCache 0\n"
        return text + _OF.get(name, "").format(folder=self._folder)

    def _data(self, name: str) -> Path:
        data = self._folder / name
        data.mkdir(mode=0o700, exist_ok=True)
        return data

    def _command(self, torrc: Path) -> list[str]:
        return [*self._prefix, self._tor, "--defaults-torrc", "/dev/null", "-f", str(torrc)]

    def _authority(self) -> str:
        """The line by which all know the authority, whose keys it makes."""
        v3ident = self._make_keys(self._data("authority") / "keys")
        torrc = self._folder / "torrc.keys"
        torrc.write_text(f"{self._torrc('authority')}DirAuthority none 127.0.0.1:1 {'0' * 40}\n")
        told = [*self._command(torrc), "--list-fingerprint", "--quiet"]
        said = subprocess.run(told, check=True, capture_output=True, text=True, timeout=60).stdout
        fingerprint = said.split(" ", 1)[1].replace(" ", "").strip()
        ports = f"orport={_orport('authority')} v3ident={v3ident} 127.0.0.1:{_DIRPORT}"
        return f"DirAuthority authority {ports} {fingerprint}\n"

    def _make_keys(self, folder: Path) -> str:
        """Keys of a directory authority; their fingerprint."""
        folder.mkdir(mode=0o700)
        certificate = folder / "authority_certificate"
        subprocess.run(
            [
                *(self._gencert, "--create-identity-key", "--passphrase-fd", "0", "-m", "12"),
                *("-a", f"127.0.0.1:{_DIRPORT}", "-c", str(certificate)),
                *("-i", str(folder / "authority_identity_key"), "-s", str(folder / "authority_signing_key")),
            ],
            input=b"private\n",
            check=True,
            capture_output=True,
            timeout=60,
        )
        found = re.search(r"^fingerprint ([0-9A-F]{40})$", certificate.read_text(), re.MULTILINE)
        assert found
        return found[1]


def _orport(name: str) -> int:
    return 5000 + _RELAYS.index(name)


def _relays(authority: Path) -> int:
    """How many relays the consensus lists."""
    path = authority / "cached-microdesc-consensus"
    return len(re.findall(r"^r ", path.read_text(), re.MULTILINE)) if path.exists() else 0


def _wait(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOOTSTRAP_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
