"""Assembly: sockets are bound, workers forked, and each runs one service.

Holds no logic of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from socket import socket

import uvloop

from shim.address import Address
from shim.config import Config
from shim.errors import SandboxError
from shim.guardian import Duties, Guardian, Leftover
from shim.parts import Parts
from shim.proxy.listener import bind, bound_address
from shim.sandbox import PARTS, Needs, confine, limit_resources, offered, restrict
from shim.sensor.sockets import bind_both
from shim.service import Service
from shim.tor.child import TorChild, data_directory
from shim.tor.discover import CANDIDATES
from shim.witness.desk import can_look
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

    def leftovers(self) -> Iterator[Leftover]:
        """The files of unix sockets: to be removed at the end."""
        for group in (*self._socks, *self._http):
            address = bound_address(group[0])
            if address.is_unix:
                with contextlib.suppress(OSError):
                    yield Leftover.of(address.path)


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


def run(config: Config, guardian: Guardian, *, workers: int = 1, lang: str = "en") -> int:
    """The whole life of `shim run`; the result is the exit status. ListenError, SandboxError before it has begun."""
    if config.sandbox.mode == "require":
        _require(part for part, had in offered().items() if had)
    limit_resources()
    sockets = Sockets(config, workers)
    child = None
    if not isinstance(config.upstream.address, Address):
        child = TorChild(config.upstream.tor_command, data_directory())
    guardian.brief(_duties(config, child, sockets))
    needs = _needs(config)
    in_force = () if config.sandbox.mode == "off" else confine(needs)
    family = Workers.fork(workers)
    socks, http = sockets.of(family.index)
    link = guardian.link(family.index)
    witness = link.hire() if link is not None and config.log.attribution else None
    if config.sandbox.mode != "off":
        in_force += restrict(needs)
    if config.sandbox.mode == "require":
        _require(part.partition(":")[0] for part in in_force)

    async def main() -> int:
        parts = Parts(config, lang, family, link, witness)
        service = Service(config, parts, family, link=link, sandbox=in_force)
        return await service.run(socks, http, sockets.dns, child)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(main())
    family.wait()
    if link is not None:
        link.shut()
        if not family.index:
            guardian.wait()
    return status


def _duties(config: Config, child: TorChild | None, sockets: Sockets) -> Duties:
    """What is to be done outside of the sandbox."""
    return Duties(
        tor=None if child is None else child.words,
        leftovers=tuple(sockets.leftovers()),
        looking=config.log.attribution and can_look(),
        confined=config.sandbox.mode != "off",
    )


def _needs(config: Config) -> Needs:
    """What the configuration goes on needing, once everything is bound."""
    upstream = config.upstream
    towards = [upstream.address] if isinstance(upstream.address, Address) else list(CANDIDATES)
    towards += [upstream.control] if upstream.control is not None else []
    files = [config.source, Path(upstream.control_password_file) if upstream.control_password_file else None]
    return Needs(
        ports=frozenset(address.port for address in towards if not address.is_unix),
        reading=tuple(file for file in files if file is not None),
        connecting=tuple(Path(address.path) for address in towards if address.is_unix),
        writing=(Path(config.dns.state).parent,) if config.dns.state else (),
        any_file=upstream.control is not None,
        own_tor=not isinstance(upstream.address, Address),
        listens=bool(config.listen.dns),
    )


def _require(had: Iterator[str]) -> None:
    parts = set(had)
    missing = [part for part in PARTS if part not in parts]
    if missing:
        raise SandboxError(missing)
