"""A Tor network of three nodes on loopback, and a client in front of it: real tor, no outside contact.

Needs the programs tor and tor-gencert, and a network namespace of its own.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Self

from rig.programs import require_program

NODES = 3
BOOTSTRAP_TIMEOUT_S = 180.0
RESOLVER = "127.0.0.2"
"""Who the exits ask."""

_ALL = """\
TestingTorNetwork 1
DataDirectory {data}
Log notice file {data}/log
AssumeReachable 1
UseDefaultFallbackDirs 0
"""

# Votes come every 20 s, so that a consensus is there soon. Every node is authority, guard and exit.
_NODE = """\
Nickname demo{number}
Address 127.0.0.1
ORPort 127.0.0.1:{orport} IPv4Only
DirPort 127.0.0.1:{dirport} IPv4Only
SocksPort 0
ContactInfo none
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 20
V3AuthVoteDelay 4
V3AuthDistDelay 4
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept *:*
ServerDNSResolvConfFile {folder}/resolv.conf
"""

_CLIENT = "SocksPort 127.0.0.1:9050\n"


class TorNetwork:
    """The processes; ready once the client has built a circuit. Its SOCKS port is Tor's default, 9050."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tor = require_program("tor")
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        (self._folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        nodes = [self._node(number) for number in range(NODES)]
        authorities = "".join(line for _, line in nodes)
        texts = [text for text, _ in nodes] + [self._all(self._data("client")) + _CLIENT]
        for number, text in enumerate(texts):
            torrc = self._folder / f"torrc{number}"
            torrc.write_text(text + authorities)
            self._processes.append(subprocess.Popen([*self._command(torrc), "--quiet"], stdin=subprocess.DEVNULL))
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)

    @property
    def log(self) -> str:
        """What the client's tor has written."""
        path = self._folder / "client" / "log"
        return path.read_text() if path.exists() else ""

    def _wait(self) -> None:
        deadline = time.monotonic() + BOOTSTRAP_TIMEOUT_S
        while "Bootstrapped 100%" not in self.log:
            assert time.monotonic() < deadline, "the network did not come up"
            time.sleep(0.2)

    def _data(self, name: str) -> Path:
        data = self._folder / name
        data.mkdir(mode=0o700, exist_ok=True)
        return data

    def _all(self, data: Path) -> str:
        return _ALL.format(data=data)

    def _command(self, torrc: Path) -> list[str]:
        return [self._tor, "--defaults-torrc", "/dev/null", "-f", str(torrc)]

    def _node(self, number: int) -> tuple[str, str]:
        """The torrc of one node, and the line by which the others know it."""
        data = self._data(f"node{number}")
        orport, dirport = 5001 + number, 7001 + number
        v3ident = _make_authority_keys(data / "keys", dirport)
        text = self._all(data) + _NODE.format(number=number, orport=orport, dirport=dirport, folder=self._folder)
        torrc = self._folder / f"keys{number}"
        torrc.write_text(f"{text}DirAuthority none 127.0.0.1:1 {'0' * 40}\n")
        told = [*self._command(torrc), "--list-fingerprint", "--quiet"]
        said = subprocess.run(told, check=True, capture_output=True, text=True, timeout=60).stdout
        fingerprint = said.split(" ", 1)[1].replace(" ", "").strip()
        line = f"DirAuthority demo{number} orport={orport} v3ident={v3ident} 127.0.0.1:{dirport} {fingerprint}\n"
        return text, line


def _make_authority_keys(folder: Path, dirport: int) -> str:
    """Keys of a directory authority; their fingerprint."""
    folder.mkdir(mode=0o700)
    certificate = folder / "authority_certificate"
    subprocess.run(
        [
            *(require_program("tor-gencert"), "--create-identity-key", "--passphrase-fd", "0", "-m", "12"),
            *("-a", f"127.0.0.1:{dirport}", "-c", str(certificate)),
            *("-i", str(folder / "authority_identity_key"), "-s", str(folder / "authority_signing_key")),
        ],
        input=b"demo\n",
        check=True,
        capture_output=True,
        timeout=60,
    )
    found = re.search(r"^fingerprint ([0-9A-F]{40})$", certificate.read_text(), re.MULTILINE)
    assert found
    return found[1]
