"""The far end as a program, `python -m load.far PROCESSES`: a SOCKS5 upstream that echoes, or is rude to a name.

Prints its port. Resolves nothing and connects to nothing; ends with its standard input.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys

import uvloop

METHOD, GRANTED, REFUSED = b"\5\0", b"\5\0\0\1" + bytes(6), b"\5\5\0\1" + bytes(6)
RESET_AFTER = 1000
BACKLOG = 4096
_PIECE = 1 << 16


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, to its end."""
    try:
        host = await _asked(reader)
        writer.write(METHOD)
        if host == b"mute.test":
            await reader.read()
        elif host == b"refused.test":
            writer.write(REFUSED)
        else:
            writer.write(GRANTED)
            await _echo(reader, writer, host)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _asked(reader: asyncio.StreamReader) -> bytes:
    """The name of the pipelined greeting and request; of an address, its bytes."""
    await reader.readexactly((await reader.readexactly(2))[1])
    kind = (await reader.readexactly(4))[3]
    size = (await reader.readexactly(1))[0] if kind == 3 else {1: 4, 4: 16}[kind]
    return (await reader.readexactly(size + 2))[:size]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: bytes) -> None:
    count = 0
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
        count += len(piece)
        if host == b"rude.test" and count >= RESET_AFTER:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return


def _bound(port: int) -> socket.socket:
    """A listener; each process has its own, and the kernel shares out who comes."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # soon full: the shim must hold bytes back
    sock.bind(("127.0.0.1", port))
    return sock


async def _until_told(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(0, over.set)
    server = await asyncio.start_server(serve, sock=sock, backlog=BACKLOG)
    async with server:
        await over.wait()


def main() -> None:
    """All processes read the same standard input: they end together."""
    first = _bound(0)
    port = first.getsockname()[1]
    listeners = [first, *(_bound(port) for _ in range(1, int(sys.argv[1])))]
    mine = next((sock for sock in listeners[1:] if not os.fork()), first)
    for sock in listeners:
        if sock is not mine:
            sock.close()
    if mine is first:
        print(port, flush=True)
    uvloop.run(_until_told(mine))
    os._exit(0)  # whoever is still connected is cut off


if __name__ == "__main__":
    main()
