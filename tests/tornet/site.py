"""All that one test file needs of a private Tor network: its namespace, what the exit reaches, and the network.

Reaches nothing outside its namespace; everything in it ends with the context.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.namespace import Namespace
from rig.shim import Shim
from rig.wire import GREETING, Client, socks5

from tornet.network import SOCKS, TorNetwork
from tornet.services import NAMES

TESTS = Path(__file__).resolve().parents[1]
END_S = 10.0
TRIES = 20


@dataclass(frozen=True)
class Site:
    """The network and the namespace it is in."""

    space: Namespace
    network: TorNetwork
    folder: Path

    def shim(self, mode: str, upstream: str = SOCKS, config: Path | None = None) -> Shim:
        """A shim in the namespace; its second SOCKS listener is reached from here."""
        listeners = ("127.0.0.1:0", f"unix:{self.folder}/shim-{mode}-{upstream.rpartition(':')[2]}")
        flags = ("--mode", mode, "--http", "127.0.0.1:0")
        return Shim(*flags, socks=listeners, upstream=upstream, config=config, prefix=self.space.prefix)


@contextmanager
def running(folder: Path) -> Iterator[Site]:
    """A site that is ready for use, until the end of the context."""
    for name in ("space", "tor"):
        (folder / name).mkdir()
    with (
        Namespace(folder / "space", {}) as space,
        _world(space),
        TorNetwork(folder / "tor", space.prefix) as network,
    ):
        _settle(network.socks)
        yield Site(space, network, folder)


def _settle(socks: str) -> None:
    """Wait until a stream is granted: the first ones can fail, and then Tor no longer judges their addresses."""
    for _ in range(TRIES):
        with Client(socks, END_S) as client:
            client.send(GREETING)
            client.read(2)
            client.send(socks5(next(iter(NAMES)).encode(), 80))
            if client.read(2) == b"\5\0":
                return
        time.sleep(0.5)
    raise AssertionError("no stream was granted")


@contextmanager
def _world(space: Namespace) -> Iterator[None]:
    argv = [*space.prefix, sys.executable, "-m", "tornet.world"]
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == b"ready\n", "the pages could not be served"
            yield
            process.communicate(timeout=END_S)
        finally:
            process.kill()
