"""A crowd of clients as a program: `python -m load.near SOCKS NET hold COUNT`, or
`… live SECONDS COUNT AT_ONCE SEED [DNS]`; in place of `hold`, `half` for handshakes that stop after their first byte,
in place of `live`, `warm` for such lives only as lead to a finding.

They come from the addresses of 127.NET.0.0/24 in turn. Every byte that comes back is compared. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

GREETING, NO_AUTH = b"\5\1\0", b"\5\0"
GRANTED, REFUSED_LOCAL = b"\5\0\0\1" + bytes(6), b"\5\2\0\1" + bytes(6)
HASTE_S = 0.05
PATIENCE_S = 60.0
NAMES, ADDRESSES = 2000, 4000
"""So many different ones are asked for: caches fill up early, and what grows later is a leak."""

_SOURCES = 64
_NOISE = random.Random(7).randbytes(1 << 20)
Life = Callable[[], Awaitable[None]]


class Client:
    """One connection to the shim."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def reset(self) -> None:
        """Leave with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def leave(self) -> None:
        """Close, whatever is unread."""
        self.writer.close()

    async def ask(self, host: bytes, wanted: bytes = GRANTED) -> None:
        """A request for a name of 'test' or a packed address, and the reply that has to come."""
        kind = b"\3" + bytes([len(host)]) if host.endswith(b".test") else b"\1"
        self.writer.write(GREETING + b"\5\1\0" + kind + host + b"\0\x50")
        got = await self.reader.readexactly(12)
        if got != NO_AUTH + wanted:
            raise ValueError(f"reply {got.hex()} to {host!r}")

    async def echo(self, size: int) -> None:
        """Bytes there and back, unchanged."""
        start = random.randrange(len(_NOISE) - size + 1)
        data = _NOISE[start : start + size]
        self.writer.write(data)
        if await self.reader.readexactly(size) != data:
            raise ValueError("other bytes came back")

    async def end(self) -> None:
        """Say the last word and hear the other's."""
        self.writer.write_eof()
        if await self.reader.read():
            raise ValueError("bytes behind the last ones")
        self.writer.close()


class Crowd:
    """Lives of clients, and what became of them."""

    def __init__(self, where: str, net: str, dns: str = "") -> None:
        self._where = _address(where)
        self._dns = _address(dns) if dns else None
        self._sources = [f"127.{net}.0.{last}" for last in range(1, _SOURCES + 1)]
        self.came = self.whole = self.bytes = 0
        self.errors: list[str] = []
        self._lives: list[tuple[Life, int]] = [
            (self.small, 60),
            (self.bulk, 3),
            (self.address, 5),
            (self.half_a_handshake, 12),
            (self.reset_inside, 8),
            (self.unread, 4),
            (self.slow_reader, 2),
            (self.local, 2),
            (self.rude, 2),
            (self.refused, 1),
            (self.mute, 1),
        ]
        if dns:
            self._lives += [(self.query, 10), (self.query_by_tcp, 5)]

    def warm(self) -> None:
        """Live such lives only as lead to a finding each: the memories of findings are full soon."""
        self._lives = [life for life in self._lives if life[0] in (self.address, self.query)]

    async def join(self) -> Client:
        """One more client."""
        source = self._sources[self.came % _SOURCES]
        client = Client(*await asyncio.open_connection(*self._where, local_addr=(source, 0)))
        self.came += 1
        return client

    async def live(self, seconds: float, count: int, at_once: int) -> None:
        """So many lives, or so long."""
        until = time.monotonic() + seconds
        lives, weights = zip(*self._lives, strict=True)
        left = iter(range(count))

        async def one_after_another() -> None:
            for _ in left:
                if time.monotonic() > until:
                    return
                await self._one(random.choices(lives, weights)[0])

        await asyncio.gather(*(one_after_another() for _ in range(at_once)))

    async def hold(self, count: int) -> list[Client]:
        """Open tunnels that have carried a few bytes."""
        held = []
        for _ in range(count):
            client = await self.join()
            await client.ask(b"held.test")
            await client.echo(64)
            held.append(client)
        return held

    async def hold_half(self, count: int) -> list[Client]:
        """Handshakes that have begun."""
        held = [await self.join() for _ in range(count)]
        for client in held:
            client.writer.write(GREETING[:1])
        return held

    async def small(self) -> None:
        await self._whole(b"%d.test" % random.randrange(NAMES), random.randrange(1, 4096))

    async def bulk(self) -> None:
        await self._whole(b"bulk.test", 1 << 20)

    async def address(self) -> None:
        await self._whole(bytes((93, 184, *divmod(random.randrange(ADDRESSES), 256))), 100)

    async def half_a_handshake(self) -> None:
        client = await self.join()
        message = GREETING + b"\5\1\0\3\x09half.test\0\x50"
        client.writer.write(message[: random.randrange(len(message))])
        if random.random() < 0.5:
            await asyncio.sleep(random.random() * HASTE_S)
        self._go(client)

    async def reset_inside(self) -> None:
        client = await self.join()
        await client.ask(b"inside.test")
        await client.echo(random.randrange(1, 100_000))
        client.writer.write(_NOISE[: random.randrange(100_000)])
        self._go(client)

    async def unread(self) -> None:
        """Enough to be spliced, so that a pipe holds some of it at the end."""
        client = await self.join()
        await client.ask(b"unread.test")
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.writer.write(_NOISE * 8)
        await asyncio.sleep(random.random() * HASTE_S)
        self._go(client)

    async def slow_reader(self) -> None:
        client = await self.join()
        await client.ask(b"slow.test")
        client.writer.write(_NOISE)
        await asyncio.sleep(random.random())  # the stream stops reading by itself
        if await client.reader.readexactly(len(_NOISE)) != _NOISE:
            raise ValueError("other bytes came back")
        await self._count(client, len(_NOISE))

    async def local(self) -> None:
        client = await self.join()
        await client.ask(bytes((10, 0, 0, 1)), REFUSED_LOCAL)
        client.leave()

    async def refused(self) -> None:
        client = await self.join()
        await client.ask(b"refused.test", b"\5\5\0\1" + bytes(6))
        client.leave()

    async def rude(self) -> None:
        """The far end resets: some of the bytes may have come back, and then an end."""
        client = await self.join()
        await client.ask(b"rude.test")
        client.writer.write(_NOISE[:2000])
        try:
            got = await client.reader.read(-1)
        except OSError:
            got = b""
        if not _NOISE.startswith(got):
            raise ValueError("other bytes came back")
        client.leave()

    async def mute(self) -> None:
        client = await self.join()
        client.writer.write(GREETING + b"\5\1\0\3\x09mute.test\0\x50")
        await client.reader.readexactly(2)
        await asyncio.sleep(random.random() * HASTE_S)
        self._go(client)

    async def query(self) -> None:
        """By UDP, from a socket that waits for its answer or does not."""
        assert self._dns
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(self._dns)
            message = _query()
            await loop.sock_sendall(sock, message)
            if random.random() < 0.8:
                async with asyncio.timeout(PATIENCE_S):
                    # The port may have been that of one who did not wait for his answer, which comes to us.
                    while (reply := await loop.sock_recv(sock, 512))[:2] != message[:2]:
                        pass
                _check(message, reply)

    async def query_by_tcp(self) -> None:
        """Several on one connection, and an end in the middle of one."""
        assert self._dns
        reader, writer = await asyncio.open_connection(*self._dns)
        for _ in range(random.randrange(4)):
            message = _query()
            writer.write(len(message).to_bytes(2, "big") + message)
            _check(message, await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
        writer.write(_query()[: random.randrange(12)])
        self._go(Client(reader, writer))

    async def _whole(self, host: bytes, size: int) -> None:
        client = await self.join()
        await client.ask(host)
        await client.echo(size)
        await self._count(client, size)

    async def _count(self, client: Client, size: int) -> None:
        await client.end()
        self.whole += 1
        self.bytes += size

    def _go(self, client: Client) -> None:
        random.choice((client.reset, client.leave))()

    async def _one(self, life: Life) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await life()
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self.errors.append(f"{life.__name__}: {type(error).__name__}: {error}")


def _address(where: str) -> tuple[str, int]:
    host, _, port = where.rpartition(":")
    return host, int(port)


def _query() -> bytes:
    name = b"%d" % random.randrange(NAMES)
    return random.randbytes(2) + b"\1\0\0\1" + bytes(6) + bytes([len(name)]) + name + b"\4test\0\0\1\0\1"


def _check(message: bytes, reply: bytes) -> None:
    """NXDOMAIN to this very question."""
    if reply[:2] != message[:2] or reply[3] & 15 != 3:
        raise ValueError(f"answer {reply.hex()}")


async def _hold(crowd: Crowd, count: int) -> None:
    held = await crowd.hold(count)
    _print(held=len(held))
    await asyncio.to_thread(sys.stdin.read)
    for client in held:
        await client.echo(64)
        await client.end()
    _print(alive=len(held))


async def _hold_half(crowd: Crowd, count: int) -> None:
    held = await crowd.hold_half(count)
    _print(held=len(held))
    await asyncio.to_thread(sys.stdin.read)
    still = sum(not client.reader.at_eof() for client in held)
    _print(alive=still)


async def _live(crowd: Crowd, seconds: float, count: int, at_once: int) -> None:
    await crowd.live(seconds, count, at_once)
    _print(came=crowd.came, whole=crowd.whole, bytes=crowd.bytes, failed=len(crowd.errors), errors=crowd.errors[:5])


def _print(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main() -> None:
    """As the command line says."""
    where, net, what, *numbers = sys.argv[1:]
    if what == "hold":
        uvloop.run(_hold(Crowd(where, net), int(numbers[0])))
    elif what == "half":
        uvloop.run(_hold_half(Crowd(where, net), int(numbers[0])))
    else:
        seconds, count, at_once, seed, *dns = numbers
        random.seed(int(seed))
        crowd = Crowd(where, net, *dns)
        if what == "warm":
            crowd.warm()
        uvloop.run(_live(crowd, float(seconds), int(count), int(at_once)))


if __name__ == "__main__":
    main()
