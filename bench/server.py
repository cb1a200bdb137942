"""A peer that runs: started in a session of its own, waited for, ended with all its children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

from peers import LOOPBACK, Peer
from prepare import Missing

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0


class Server:
    """A started peer, in a session of its own; `stop` ends it with all its children."""

    def __init__(self, peer: Peer, patience: float = 1.0) -> None:
        """`patience` is how many times as long as usual it may take to start and to stop."""
        self.peer = peer
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it and wait till it listens; Missing if it ends or stays deaf."""
        if not self.peer.command:
            return
        self._process = subprocess.Popen(
            self.peer.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + START_TIMEOUT_S * self._patience
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise Missing(f"ended at start with status {self._process.returncode}")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex((LOOPBACK, self.peer.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise Missing(f"did not listen within {START_TIMEOUT_S:.0f} s")

    def alive(self) -> bool:
        return self._process is None or self._process.poll() is None

    def stop(self) -> None:
        if self._process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)  # its own session: none but its children are in it
            except ProcessLookupError:
                break
            try:
                self._process.wait(STOP_TIMEOUT_S * self._patience)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait(STOP_TIMEOUT_S * self._patience)
        self._process = None
