"""Looking up owners by psutil: for systems without sock_diag. Slow, so it never answers at a glance.

Never guesses; ImportError where psutil (the extra `attribution`) is not installed.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from shim.model import Ancestor, Process
from shim.witness.clues import Clue, Endpoint, Flow, LocalPeer
from shim.witness.describe import GENERATIONS
from shim.witness.labels import plain, script
from shim.witness.looking import (
    AMBIGUOUS,
    GONE,
    NOT_PERMITTED,
    TIMEOUT,
    Checked,
    Found,
    Holding,
    Sighting,
    Trace,
    sighting,
)

_End = tuple[IPv4Address | IPv6Address, int]


class Elsewhere:
    """Looks through the sockets of every process that it may look into."""

    def __init__(self) -> None:
        self._psutil: Any = importlib.import_module("psutil")

    def close(self) -> None:
        """There is nothing to give up."""

    def prepare(self, interrupted: Callable[[], bool]) -> bool:
        """There is nothing to prepare."""
        return True

    def remember(self, holding: Holding) -> None:
        """Nothing is ever seen at a glance here."""

    def glance(self, clue: Clue, checked: Checked | None = None) -> Sighting | Trace:
        """Everything has to be searched for."""
        return Trace(clue)

    def skim(self, traces: Sequence[Trace]) -> Iterator[Found]:
        """Nobody is likelier than others."""
        return iter(())

    def search(self, traces: Sequence[Trace], until: float) -> Iterator[Found | None]:
        """Find them all in one walk through the processes."""
        holders: dict[int, list[Any]] = {index: [] for index in range(len(traces))}
        hidden = late = False
        for process in self._psutil.process_iter():
            late = time.monotonic() > until
            if late:
                break
            yield None
            try:
                sockets = process.net_connections(kind="inet")
            except self._psutil.AccessDenied:
                hidden = True
                continue
            except self._psutil.Error:
                continue
            for index, trace in enumerate(traces):
                if _holds(trace.clue, process.pid, sockets):
                    holders[index].append(process)
        for index, trace in enumerate(traces):
            yield Found(trace, self._judge(trace.clue, holders[index], TIMEOUT if late else _unseen(hidden)))

    def _judge(self, clue: Clue, holders: list[Any], unseen: str) -> Sighting:
        if not holders:
            return Sighting(None, unseen)
        if len(holders) > 1:
            return Sighting(None, AMBIGUOUS)
        try:
            process = self._describe(holders[0])
        except self._psutil.AccessDenied:
            return Sighting(None, NOT_PERMITTED)
        except self._psutil.Error:
            return Sighting(None, GONE)
        return sighting(clue, process, process.uid)

    def _describe(self, found: Any) -> Process:
        with found.oneshot():
            exe, arguments = found.exe() or None, tuple(found.cmdline())
            uid = found.uids().real if hasattr(found, "uids") else None
            above = found.parents()[:GENERATIONS]
            parents = tuple(Ancestor(parent.pid, plain(parent.name(), None)) for parent in above)
            return Process(
                pid=found.pid,
                name=plain(found.name(), exe),
                exe=exe,
                start=int(found.create_time()),
                arguments=arguments,
                uid=uid,
                parents=parents,
                script=script(exe, arguments),
            )


def _holds(clue: Clue, pid: int, sockets: list[Any]) -> bool:
    if isinstance(clue, LocalPeer):
        return clue.pid == pid
    kind = 1 if clue.transport == "tcp" else 2  # SOCK_STREAM, SOCK_DGRAM: the same everywhere
    return any(row.type == kind and _sends(clue, row.laddr, row.raddr) for row in sockets)


def _sends(flow: Flow, here: Any, there: Any) -> bool:
    """Whether a socket with these ends is the client's: the exact one, or for a datagram one connected to nobody."""
    if not here or here[1] != flow.client.port:
        return False
    client = _end(flow.client)
    if there:
        return (_end(here), _end(there)) == (client, _end(flow.server))
    return flow.transport == "udp" and (_end(here)[0].is_unspecified or _end(here) == client)


def _end(endpoint: Endpoint | tuple[str, int]) -> _End:
    """Its address, an IPv4 address in IPv6 clothes taken for what it is."""
    address = ip_address(endpoint[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address, endpoint[1]


def _unseen(hidden: bool) -> str:
    return NOT_PERMITTED if hidden else GONE
