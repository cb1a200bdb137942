"""Is there a SOCKS5 proxy at this address? Asked with a greeting only: no request ever leaves from here."""

from __future__ import annotations

import asyncio
import contextlib

from shim.address import Address

CANDIDATES = tuple(map(Address.parse, ("unix:/run/tor/socks", "127.0.0.1:9050", "127.0.0.1:9150")))
"""Where `auto` looks, in this order: Debian's socket, Tor's default port, Tor Browser's."""

PROBE_TIMEOUT_S = 1.0
"""Longer than any local Tor needs to choose a method, short enough not to be felt at start."""

_GREETING = b"\x05\x01\x00"
_NO_AUTHENTICATION = b"\x05\x00"


async def answers(address: Address) -> bool:
    """Whether a SOCKS5 proxy without authentication listens there."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await _greet(address)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return False


async def _greet(address: Address) -> bool:
    if address.is_unix:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(_GREETING)
        return await reader.readexactly(len(_NO_AUTHENTICATION)) == _NO_AUTHENTICATION
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
