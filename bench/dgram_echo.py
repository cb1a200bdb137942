"""The floor under any DNS server on asyncio-dgram: every datagram goes back as a reply, and nothing is read of it.

The TCP listener is there to be seen by whoever waits for the start.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import asyncio_dgram
import uvloop


async def main(port: int) -> None:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    udp.setblocking(False)
    udp.bind(("127.0.0.1", port))
    stream = await asyncio_dgram.from_socket(udp)
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port):
        while True:
            data, peer = await stream.recv()
            await stream.send(data[:2] + b"\x81\x85" + data[4:], peer)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
