"""What a log says only at level debug, taken from its findings where it was written at another.

Who a request came from, and what its first bytes said: without these a finding would be told without its program, and
once instead of twice. Judges nothing, and takes no verdict from a finding.
"""

from __future__ import annotations

from collections.abc import Callable

from shim.events import (
    Event,
    FirstBytesSeen,
    HandshakeFailed,
    LeakFound,
    ProcessIdentified,
    ProcessSought,
    RequestDecided,
)
from shim.judge.findings import NOT_SOCKS_ERROR, shows
from shim.replay.lines import Keys, id_of, is_scrubbed, process_of, text_or_none, time_of

_ENTRIES = 4096
"""As many look-ups as may be under way at once; a finding stands at most 250 ms behind what shows it."""

_ENCRYPTED = "ech_extension"
_IS_NAME, _IS_ADDRESS = "_is_name", "_is_address"
_FIRST_BYTES = {
    f"{protocol}_{what}{how}": protocol
    for protocol, what in (("tls", "sni"), ("http", "host"))
    for how in (_IS_NAME, _IS_ADDRESS)
} | {"tls_without_sni": "tls", "http_without_host": "http"}
"""Evidence, and of which protocol's first bytes it is."""

Findings = tuple[LeakFound, ...]


class Untold:
    """Stands before the fold of one run, and adds what its log has left out."""

    def __init__(self, feed: Callable[[Event], Findings]) -> None:
        self._feed = feed
        self._sought: set[str] = set()
        self._waiting: dict[str, float] = {}

    def feed(self, event: Event) -> Findings:
        """What this event of the log adds; a finding without a look-up waits for its own line, which says whose it is.

        In a log of level debug `process_sought` stands before the request.
        """
        if isinstance(event, ProcessSought):
            self._sought.add(event.subject)
        elif isinstance(event, ProcessIdentified):
            self._sought.discard(event.subject)
        elif isinstance(event, RequestDecided | HandshakeFailed) and event.conn not in self._sought and _shows(event):
            return (*self._wait(event.conn, event.at), *self._feed(event))
        return self._feed(event)

    def told(self, keys: Keys) -> Findings:
        """A finding as the log has it. What cannot be read in it is as if it were not there."""
        try:
            return self._told(keys)
        except (KeyError, TypeError, ValueError):
            return ()

    def rest(self) -> Findings:
        """All that the log has no finding of, once the run is over."""
        return tuple(found for conn in list(self._waiting) for found in self._nobody(conn))

    def _wait(self, conn: str, at: float) -> Findings:
        found: Findings = ()
        if conn in self._waiting:  # no log of ours has it twice; whatever it is, nothing is lost
            found = self._nobody(conn)
        elif len(self._waiting) >= _ENTRIES:
            found = self._nobody(next(iter(self._waiting)))
        self._waiting[conn] = at
        return (*found, *self._feed(ProcessSought(at, conn)))

    def _nobody(self, conn: str) -> Findings:
        return self._feed(ProcessIdentified(self._waiting.pop(conn), conn, None, "off"))

    def _told(self, keys: Keys) -> Findings:
        if "query" in keys or is_scrubbed(keys):  # its program is that of the query; names that are gone say nothing
            return ()
        conn, at = id_of(keys, "conn"), time_of(keys)
        owner = ProcessIdentified(at, conn, process_of(keys), text_or_none(keys, "process_reason"))
        overheard = None if keys["revision"] == 1 else _first_bytes(conn, at, keys)
        found: Findings = ()
        if conn in self._waiting:
            del self._waiting[conn]
            found = self._feed(owner)
        return found if overheard is None else (*found, *self._feed(overheard))


def _first_bytes(conn: str, at: float, keys: Keys) -> FirstBytesSeen | None:
    code = next((code for code in keys["evidence"] if code in _FIRST_BYTES), None)
    if code is None:
        return None
    name = text_or_none(keys, "name") if code.endswith(_IS_NAME) else None
    address, encrypted = code.endswith(_IS_ADDRESS), _ENCRYPTED in keys["evidence"]
    return FirstBytesSeen(at, conn, _FIRST_BYTES[code], name, address, encrypted)


def _shows(event: RequestDecided | HandshakeFailed) -> bool:
    """Whether there is a finding to wait for."""
    if isinstance(event, HandshakeFailed):
        return event.error == NOT_SOCKS_ERROR
    verdict = event.verdict
    return verdict.plaintext or shows(event.request, verdict.exposure, verdict.decision)
