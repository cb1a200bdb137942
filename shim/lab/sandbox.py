"""An upstream without a network: a SOCKS5 server that answers any name, with a small page behind each.

Opens no connection and resolves nothing; who asks for an address gets one that stands for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from ipaddress import IPv4Address

from shim.model import Command

PAGE = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>shim sandbox</title>"
    b"<p>This page comes from the shim's sandbox: no network was used."
)
MAX_HEAD = 64 * 1024
IDLE_S = 30.0

_GREETING_ANSWER = b"\x05\x00"
_COMMANDS = {0x01: Command.CONNECT, 0xF0: Command.RESOLVE, 0xF1: Command.RESOLVE_PTR}
_GRANTED = b"\x05\x00\x00"
_REFUSED = b"\x05\x07\x00\x01" + bytes(6)
_NOWHERE = b"\x01" + bytes(6)
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength:[ \t]*(\d{1,9})[ \t]*\r\n")
_RESOLVED = int(IPv4Address("203.0.113.0"))  # RFC 5737: documentation
_POINTER = b"host.example"


class Sandbox:
    """Serves on a unix socket at `path` until closed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_HEAD)

    async def close(self) -> None:
        """Close all connections."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._open):
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            async with asyncio.timeout(IDLE_S):
                if await _shake_hands(reader, writer):
                    await _give_pages(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the client has gone, is silent, or speaks what we do not
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


async def _shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """SOCKS5 from the shim itself, so nothing else needs to be understood. True when a stream follows."""
    _, methods = await reader.readexactly(2)
    if 0x02 in await reader.readexactly(methods):
        writer.write(b"\x05\x02")
        await reader.readexactly((await reader.readexactly(2))[1])
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x01\x00")
    else:
        writer.write(_GREETING_ANSWER)
    _, code, _, kind = await reader.readexactly(4)
    length = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
    host = await reader.readexactly(length + 2)
    match _COMMANDS.get(code):
        case Command.CONNECT:
            writer.write(_GRANTED + _NOWHERE)
            return True
        case Command.RESOLVE:
            number = _RESOLVED + 1 + hashlib.sha256(host[:-2]).digest()[0] % 254
            writer.write(_GRANTED + b"\x01" + number.to_bytes(4, "big") + bytes(2))
        case Command.RESOLVE_PTR:
            writer.write(_GRANTED + b"\x03" + bytes((len(_POINTER),)) + _POINTER + bytes(2))
        case _:
            writer.write(_REFUSED)
    await writer.drain()
    return False


async def _give_pages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same page for every HTTP request; anything else, TLS too, finds nobody at home."""
    while True:
        first = await reader.readexactly(1)
        if not first.isalpha():
            return
        head = first + await reader.readuntil(b"\r\n\r\n")
        if (length := _LENGTH.search(head)) is not None:
            await reader.readexactly(min(int(length[1]), MAX_HEAD))
        body = b"" if head.startswith(b"HEAD ") else PAGE
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
            b"Content-Length: %d\r\n\r\n" % len(PAGE) + body
        )
        await writer.drain()
