"""An upstream without a network: a SOCKS5 server that answers any name, with pages behind each, by HTTP and HTTPS.

Opens no connection and resolves nothing; who asks for an address gets one that stands for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

from shim.lab.authority import Authority
from shim.lab.pages import Pages
from shim.model import Command

MAX_HEAD = 64 * 1024
IDLE_S = 30.0

_TLS = 0x16  # RFC 8446 section 5.1: a handshake record
_GREETING_ANSWER = b"\x05\x00"
_COMMANDS = {0x01: Command.CONNECT, 0xF0: Command.RESOLVE, 0xF1: Command.RESOLVE_PTR}
_GRANTED = b"\x05\x00\x00"
_REFUSED = b"\x05\x07\x00\x01" + bytes(6)
_NOWHERE = b"\x01" + bytes(6)
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength:[ \t]*(\d{1,9})[ \t]*\r\n")
_RESOLVED = int(IPv4Address("203.0.113.0"))  # RFC 5737: documentation
_POINTER = b"host.example"


class Sandbox:
    """Serves on a unix socket at `path` until closed; a second socket beside it takes the TLS out of what comes."""

    def __init__(self, path: str, pages: Pages, authority: Authority) -> None:
        self._path = path
        self._secure_path = f"{path}.tls"
        self._pages = pages
        self._authority = authority
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._begun = self._trusted = 0

    @property
    def is_untrusted(self) -> bool:
        """Some client began with TLS and did not go on once it had seen our certificate."""
        return self._begun > self._trusted

    async def start(self) -> None:
        """Listen."""
        self._servers = [
            await asyncio.start_unix_server(self._serve, self._path, limit=MAX_HEAD),
            await asyncio.start_unix_server(
                self._serve_secure, self._secure_path, limit=MAX_HEAD, ssl=self._authority.context()
            ),
        ]

    async def close(self) -> None:
        """Close all connections."""
        for server in self._servers:
            server.close()
        for writer in tuple(self._open):
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._kept(writer):
            if not await _shake_hands(reader, writer):
                return
            first = await reader.readexactly(1)
            if first[0] == _TLS:
                await self._relay(first, reader, writer)
            else:
                await _give_pages(first, reader, writer, self._pages)

    async def _serve_secure(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._trusted += 1
        async with self._kept(writer):
            await _give_pages(await reader.readexactly(1), reader, writer, self._pages)

    async def _relay(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """To our own TLS and back."""
        self._begun += 1
        back, forth = await asyncio.open_unix_connection(self._secure_path)
        forth.write(first)
        async with self._kept(forth), asyncio.TaskGroup() as tasks:
            tasks.create_task(_pump(reader, forth))
            tasks.create_task(_pump(back, writer))

    @contextlib.asynccontextmanager
    async def _kept(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        """Known while it is open, closed in the end."""
        self._open.add(writer)
        try:
            async with asyncio.timeout(IDLE_S):
                yield
        except* (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the client has gone, is silent, or speaks what we do not
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All of one direction. When it has ended, so has the other."""
    with contextlib.suppress(OSError):
        while data := await reader.read(MAX_HEAD):
            writer.write(data)
            await writer.drain()
    writer.close()


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


async def _give_pages(first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pages: Pages) -> None:
    """A page for every HTTP request; anything else finds nobody at home."""
    while first.isalpha():
        head = first + await reader.readuntil(b"\r\n\r\n")
        if (length := _LENGTH.search(head)) is not None:
            await reader.readexactly(min(int(length[1]), MAX_HEAD))
        answer = pages.answer(head)
        body = b"" if head.startswith(b"HEAD ") else answer.body
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nCache-Control: no-store\r\n%s"
            b"Content-Length: %d\r\n\r\n" % (answer.kind, answer.headers, len(answer.body)) + body
        )
        await writer.drain()
        first = await reader.readexactly(1)
