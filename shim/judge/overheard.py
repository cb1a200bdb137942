"""What first bytes add to the finding of an address: the name behind it, or that it was most likely typed.

A name beside an address makes a local look-up probable, never more: no answer of a resolver was seen. Where it is known
why the address was given, or where the name may stand in for another one (ECH), it makes nothing.
"""

from __future__ import annotations

from shim.events import FirstBytesSeen, LeakFound
from shim.judge.findings import is_vouched_for
from shim.judge.ledger import Ledger
from shim.judge.recent import Recent
from shim.model import Confidence, LeakKind

_ENTRIES = 4096
_WINDOW_S = 600.0
"""A client that says nothing for this long has its first bytes ignored."""

_NAMED_RULE = "L02"
_KINDS = (LeakKind.ADDRESS_ONLY, LeakKind.ADDRESS_AS_TEXT)


class Overheard:
    """Findings of addresses that wait for their connection's first bytes."""

    __slots__ = ("_findings", "_ledger")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._findings: Recent[str, str] = Recent(_ENTRIES, _WINDOW_S)

    def watch(self, found: LeakFound) -> None:
        """This finding's connection is read along."""
        if found.kind in _KINDS and found.conn is not None:
            self._findings.put(found.conn, self._ledger.keep(found), found.at)

    def seen(self, event: FirstBytesSeen) -> tuple[LeakFound, ...]:
        """The finding's next revision."""
        finding = self._findings.get(event.conn, event.at)
        last = None if finding is None else self._ledger.last(finding, event.at)
        if finding is None or last is None:
            return ()
        self._findings.pop(event.conn)
        codes = _codes(event)
        if event.name is None or is_vouched_for(last):
            return self._ledger.raised(finding, event.at, Confidence.POSSIBLE, *codes, name=event.name)
        # An address as text keeps its rule: the same form is what a typed address has.
        rule = _NAMED_RULE if last.kind is LeakKind.ADDRESS_ONLY else None
        sure = Confidence.POSSIBLE if event.encrypted else Confidence.PROBABLE
        return self._ledger.raised(finding, event.at, sure, *codes, rule=rule, name=event.name)


def _codes(event: FirstBytesSeen) -> tuple[str, ...]:
    """Evidence: what was seen, and what weakens it."""
    if event.protocol == "tls":
        what = "tls_sni_is_name" if event.name else "tls_sni_is_address" if event.address else "tls_without_sni"
    else:
        what = "http_host_is_name" if event.name else "http_host_is_address" if event.address else "http_without_host"
    codes = [what]
    if event.encrypted:
        codes.append("ech_extension")  # the name may be an outer one; but browsers send the extension as GREASE, too
    if event.name is None:
        codes.append("typed_literal_likely")
    return tuple(codes)
