"""Clients that fetch the page of the private network again and again through one SOCKS5 port, and what comes of it.

Judges no outcome.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Self

from rig.wire import GREETING, Client, socks5

from tornet.services import NAMES

[NAME] = NAMES
GET = f"GET / HTTP/1.0\r\nHost: {NAME}\r\nUser-Agent: curl/\r\n\r\n".encode()
PAGE = f"hello from {NAME}\n"
PATIENCE_S = 30.0


class Load:
    """Clients that fetch the page again and again, each with what came of it, until the context ends."""

    def __init__(self, where: str, clients: int = 4) -> None:
        self.seen: Counter[str] = Counter()
        self._where, self._changed, self._over = where, threading.Condition(), threading.Event()
        self._generation = 0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def forget(self) -> None:
        """Count anew, and only what begins from here on."""
        with self._changed:
            self._generation += 1
            self.seen.clear()

    def wait_for(self, outcome: str, times: int) -> None:
        """Until it has come so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.seen[outcome] >= times, PATIENCE_S), dict(self.seen)

    def _run(self) -> None:
        while not self._over.wait(0.02):
            generation = self._generation
            outcome = self._fetch()
            with self._changed:
                if generation == self._generation:
                    self.seen[outcome] += 1
                    self._changed.notify_all()

    def _fetch(self) -> str:
        with Client(self._where, 5) as client:
            try:
                client.send(GREETING)
                client.read(2)
                client.send(socks5(NAME.encode(), 80))
                reply = client.read(10)
                if reply[1:2] != b"\0":
                    return f"refused {reply[1]}" if reply else "closed"
                client.send(GET)
                return "page" if client.read_all().endswith(PAGE.encode()) else "cut"
            except TimeoutError:
                return "still waiting"
            except OSError:
                return "closed"
