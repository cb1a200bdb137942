"""Assembly: sockets are bound, workers forked, and each runs one service.

Holds no logic of its own.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from socket import socket

import uvloop

from shim.address import Address
from shim.config import Config
from shim.proxy.listener import bind, bound_address
from shim.sensor.sockets import bind_both
from shim.service import Service
from shim.tor.child import TorChild, data_directory
from shim.workers import Workers


class Sockets:
    """The listening sockets of all workers, bound before they fork. ListenError."""

    def __init__(self, config: Config, workers: int) -> None:
        self._socks = _bind_all(config.listen.socks, config, workers)
        self._http = _bind_all(config.listen.http, config, workers)
        self.dns = [bind_both(address) for address in config.listen.dns]
        """One process only: workers do not share what they know."""

    def of(self, index: int) -> tuple[list[socket], list[socket]]:
        """The SOCKS and HTTP sockets of one worker; those of the others are closed in this process."""
        return _mine(self._socks, index), _mine(self._http, index)


def _bind_all(addresses: Sequence[Address], config: Config, workers: int) -> list[list[socket]]:
    """For each address one socket a worker; a unix socket, which cannot be bound twice, serves them all."""
    mode = config.listen.unix_socket_mode
    bound = []
    for address in addresses:
        first = bind(address, mode=mode, shared=workers > 1)
        again = bound_address(first)
        rest = [first if address.is_unix else bind(again, shared=True) for _ in range(1, workers)]
        bound.append([first, *rest])
    return bound


def _mine(sockets: list[list[socket]], index: int) -> list[socket]:
    for group in sockets:
        for other in group:
            if other is not group[index]:
                other.close()
    return [group[index] for group in sockets]


def run(config: Config, *, workers: int = 1, lang: str = "en") -> int:
    """The whole life of `shim run`; the result is the exit status. ListenError before it has begun."""
    _set_resource_limits()
    sockets = Sockets(config, workers)
    child = None
    if not isinstance(config.upstream.address, Address):
        child = TorChild(config.upstream.tor_command, data_directory())
    family = Workers.fork(workers)
    socks, http = sockets.of(family.index)

    async def main() -> int:
        service = Service(config, lang, family, several=workers > 1)
        return await service.run(socks, http, sockets.dns, child)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(main())
    family.wait()
    if child is not None and not family.index:
        child.discard()
    return status


def _set_resource_limits() -> None:
    """As many descriptors as we may have: a tunnel takes two. And no core dumps: they would hold destinations."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
