"""Whose process listens where Tor usually does: any user of the machine may, while Tor does not.

Linux, from what /proc tells everybody; elsewhere, and where it says nothing, nobody is suspected.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from shim.address import Address

TABLE: Final = Path("/proc/self/net/tcp")
TABLE_6: Final = Path("/proc/self/net/tcp6")

_SERVICES = (range(1000), range(61184, 65536))
"""Accounts that nobody logs in to: those of a distribution, systemd's dynamic ones, and 65534, as which a user
namespace shows whom it does not know.
"""
_LISTENS = "0A"


def is_squatted(address: Address) -> bool:
    """Whether another person's process listens there, on this IPv4 address and port or on all addresses."""
    return not address.is_unix and any(map(_is_another_person, _owners(address)))


def _is_another_person(uid: int) -> bool:
    return uid != os.geteuid() and not any(uid in accounts for accounts in _SERVICES)


def _owners(address: Address) -> Iterator[int]:
    port = f":{address.port:04X}"
    here = f"{int.from_bytes(IPv4Address(address.host).packed, sys.byteorder):08X}"
    mapped = f"{0:016X}{int.from_bytes(bytes((0, 0, 255, 255)), sys.byteorder):08X}{here}"
    for table, hosts in ((TABLE, (here, "0" * 8)), (TABLE_6, (mapped, "0" * 32))):
        yield from _listening(table, {host + port for host in hosts})


def _listening(table: Path, places: set[str]) -> Iterator[int]:
    try:
        lines = table.read_text("ascii").splitlines()
    except OSError:
        return
    for line in lines:
        _, local, _, state, *rest = line.split(maxsplit=8)
        if state == _LISTENS and local in places:
            yield int(rest[3])
