"""Credentials of our own for clients that sent none, so that Tor keeps their streams on separate circuits.

Pure. Behind a shim all clients share one source address, so Tor's IsolateClientAddr no longer separates them
(Tor manual, IsolateSOCKSAuth). What a client sent itself is never changed.
"""

from __future__ import annotations

from hashlib import blake2b

from shim.model import Credentials, Isolate, Peer, Request

_USERNAME = b"leakshim"
"""Never a name that begins with `<torS0X>`: those are Tor's own (proposal 351)."""


def isolation(request: Request, peer: Peer, isolate: Isolate, salt: bytes) -> Credentials | None:
    """The credentials that keep streams apart so, None where none are added. `salt` is random, new for each run."""
    if isolate == "none" or request.credentials is not None:
        return None
    group = peer.key if isolate == "client" else str(request.host).lower()
    return Credentials(_USERNAME, blake2b(group.encode(), key=salt, digest_size=16).hexdigest().encode())
