"""What an application gave away before it asked: the exposure of one request.

Says nothing of what is to be done about it.
"""

from __future__ import annotations

from shim.judge.hosts import address_from_text, is_local_address, is_local_name
from shim.model import Command, Exposure, Knowledge, Request, Standing

# By names of their own: an attribute of an enumeration costs 0.1 us (CPython 3.11), and every request is classified.
_CONNECT, _RESOLVE, _NAME = Command.CONNECT, Command.RESOLVE, Exposure.NAME

_BY_STANDING = {
    Standing.ISSUED: Exposure.ISSUED,
    Standing.STALE: Exposure.ISSUED,
    Standing.RESOLVED_BY_TOR: Exposure.RESOLVED_BY_TOR,
}


def classify(request: Request, knowledge: Knowledge) -> Exposure:
    """The exposure of `request`, given what is known of its address. Total: every request has one.

    Local comes first, then what is known of an address, then its form. RESOLVE opens no connection, so no address is
    local to it: a name such as printer.local is, because asking for it tells the exit a name of this network.
    """
    command = request.command
    if command is not _CONNECT and command is not _RESOLVE:
        return Exposure.NOT_APPLICABLE
    host = request.host
    if not isinstance(host, str):
        address, form = host, Exposure.ADDRESS
    else:
        literal = address_from_text(host)
        if literal is None:
            return Exposure.LOCAL if is_local_name(host) else _NAME
        address, form = literal, Exposure.ADDRESS_AS_TEXT
    if command is _CONNECT and is_local_address(address):
        return Exposure.LOCAL
    return _BY_STANDING.get(knowledge.standing, form)
