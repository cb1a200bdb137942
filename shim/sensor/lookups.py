"""Questions to Tor on their way: each asked once however often it comes, and only so many at a time.

Knows no DNS and opens no socket.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shim.model import Answer, Command, Host, Peer, Request

MAX_LOOKUPS = 512
"""Each is a connection to the upstream, for as long as `upstream.reply_timeout_s` when that is silent."""

MAX_ASKERS = 64
"""Who waits for one answer: A and AAAA ask alike, and stubs ask again while Tor is looking."""

Done = Callable[[Answer | None], None]
Resolve = Callable[[Request, Peer, str, Done], None]
"""Asks the upstream: the request, for whom, the id of the query that it is for, and who gets the answer or None."""

_Key = tuple[str, Command, Host]


class Lookups:
    """Asks through `resolve`. A client's questions are its own: no other shares its circuits, or its answers."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._waiting: dict[_Key, list[Done]] = {}

    def ask(self, request: Request, peer: Peer, query: str, done: Done) -> None:
        """`done` gets Tor's answer; None when there is none to be had, or too many wait already."""
        key = peer.key, request.command, request.host
        waiting = self._waiting.get(key)
        if waiting is None and len(self._waiting) < MAX_LOOKUPS:
            self._waiting[key] = [done]
            self._resolve(request, peer, query, partial(self._answered, key))
        elif waiting is not None and len(waiting) < MAX_ASKERS:
            waiting.append(done)
        else:
            done(None)

    def _answered(self, key: _Key, answer: Answer | None) -> None:
        for done in self._waiting.pop(key, ()):
            done(answer)
