"""What every way of looking up owners offers, and the words of its answers.

Holds values only; the ways themselves are `witness` (Linux) and `elsewhere` (psutil).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final, Protocol

from shim.model import Process
from shim.value import value
from shim.witness.clues import Clue, Flow
from shim.witness.proc import Stat, Table

GONE: Final = "gone"
NOT_PERMITTED: Final = "not_permitted"
OTHER_NAMESPACE: Final = "other_namespace"
"""Another network or process namespace (a container), or another machine."""
SHARED_RESOLVER: Final = "shared_resolver"
AMBIGUOUS: Final = "ambiguous"
"""Several sockets share the port, and any of them may have sent the datagram."""
TIMEOUT: Final = "timeout"
BUSY: Final = "busy"
OFF: Final = "off"

SHARED_RESOLVERS = frozenset(
    (
        *("systemd-resolve", "systemd-resolved", "nscd", "unscd", "nsncd", "avahi-daemon"),
        *(
            "dnsmasq",
            "unbound",
            "stubby",
            "named",
            "kresd",
            "pdns_recursor",
            "coredns",
            "dnscrypt-proxy",
            "cloudflared",
        ),
        *("smartdns", "dnsproxy", "AdGuardHome", "pihole-FTL", "aardvark-dns", "dockerd", "tor"),
    )
)
"""Programs that ask on behalf of others: they hide who wanted the name, and are not to blame for it."""


@value
class Sighting:
    """The process, or why there is none. `uid` is that of the socket, known even where the process is not."""

    process: Process | None
    reason: str | None = None
    uid: int | None = None


@value
class Trace:
    """What is left to search for: who holds the socket `inode`, or (`stat`) a process that is not described yet."""

    clue: Clue
    inode: int = 0
    uid: int | None = None
    stat: Stat | None = None


@value
class Holding:
    """Who holds a socket; at which descriptor, and what else was open, where that was seen."""

    stat: Stat
    process: Process
    uid: int | None
    descriptor: int | None = None
    table: Table | None = None


@value
class Found:
    """The end of a search; `holding` is what another looker needs to see the next socket at a glance."""

    trace: Trace
    sighting: Sighting
    holding: Holding | None = None


Checked = set[object]
"""Whom a looker has found unchanged since all of some questions were asked, in its own words; empty at first."""


class Looker(Protocol):
    """One way of looking up owners. Not for several threads at once."""

    def glance(self, clue: Clue, checked: Checked | None = None) -> Sighting | Trace:
        """What can be said in a tenth of a millisecond; else what there is to search for.

        What came together shares one `checked`, which is looked at and added to.
        """

    def skim(self, traces: Sequence[Trace]) -> Iterator[Found]:
        """Those that are found where they are likely, in some milliseconds; of the others nothing is said."""

    def search(self, traces: Sequence[Trace], until: float) -> Iterator[Found | None]:
        """Each trace's end, as soon as it is known, and all of them at `until` (time.monotonic) at the latest.

        None in between: a moment to turn to something else.
        """

    def prepare(self, interrupted: Callable[[], bool]) -> bool:
        """Do beforehand what makes later searches short. Whether all is done: not so when it was interrupted."""

    def remember(self, holding: Holding) -> None:
        """Take over what another looker has found."""

    def close(self) -> None:
        """Give up what it holds."""


def sighting(clue: Clue, process: Process, uid: int | None) -> Sighting:
    """The process; but a resolver that others share is the reason for not knowing it, not the culprit."""
    if isinstance(clue, Flow) and clue.query:
        names = {process.name, PurePosixPath(process.exe or "").name}
        if not names.isdisjoint(SHARED_RESOLVERS):
            return Sighting(None, SHARED_RESOLVER, uid)
    return Sighting(process, None, uid)
