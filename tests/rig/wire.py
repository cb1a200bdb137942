"""SOCKS messages as bytes, and a plain blocking client to send them with.

Shares no code with the shim: a mistake in its codecs must not be made here as well.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from ipaddress import IPv4Address, ip_address
from typing import Self

CONNECT, BIND, UDP_ASSOCIATE, RESOLVE, RESOLVE_PTR = 1, 2, 3, 0xF0, 0xF1
GREETING = b"\x05\x01\x00"
GREETING_AUTH = b"\x05\x01\x02"
NO_AUTH, WITH_AUTH, AUTH_OK = b"\x05\x00", b"\x05\x02", b"\x01\x00"
GRANTED4, REFUSED4 = b"\x00\x5a", b"\x00\x5b" + bytes(6)
TIMEOUT_S = 30.0


def refused5(reply: int) -> bytes:
    """A failure reply of RFC 1928 section 6 with the empty IPv4 address, as Tor sends it."""
    return bytes((5, reply, 0, 1)) + bytes(6)


def auth(username: bytes, password: bytes) -> bytes:
    """The message of RFC 1929."""
    return b"\x01" + bytes([len(username)]) + username + bytes([len(password)]) + password


def address(host: str | bytes) -> bytes:
    """ATYP and DST.ADDR: bytes are a name, text is an IP address."""
    if isinstance(host, bytes):
        return b"\x03" + bytes([len(host)]) + host
    packed = ip_address(host)
    return (b"\x01" if isinstance(packed, IPv4Address) else b"\x04") + packed.packed


def socks5(host: str | bytes, port: int, command: int = CONNECT) -> bytes:
    """The request of RFC 1928 section 4: bytes are sent as a name, text as an IP address."""
    return bytes((5, command, 0)) + address(host) + port.to_bytes(2, "big")


def socks4(host: str | bytes, port: int, command: int = CONNECT, user: bytes = b"") -> bytes:
    """A SOCKS4 request for an IP address (text), or a SOCKS4a request for a name (bytes)."""
    if isinstance(host, bytes):
        return bytes((4, command)) + port.to_bytes(2, "big") + b"\0\0\0\1" + user + b"\0" + host + b"\0"
    return bytes((4, command)) + port.to_bytes(2, "big") + IPv4Address(host).packed + user + b"\0"


def http_connect(target: str, *headers: str) -> bytes:
    """The head of an HTTP CONNECT request."""
    return "\r\n".join((f"CONNECT {target} HTTP/1.1", f"Host: {target}", *headers, "", "")).encode("latin-1")


class Client:
    """One client connection to `HOST:PORT`, `[V6]:PORT` or `unix:PATH`."""

    def __init__(self, where: str, timeout_s: float = TIMEOUT_S) -> None:
        if where.startswith("unix:"):
            self.sock = socket.socket(socket.AF_UNIX)
            target: object = where[5:]
        else:
            host, _, port = where.rpartition(":")
            self.sock = socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
            target = (host.strip("[]"), int(port))
        self.sock.settimeout(timeout_s)
        try:
            self.sock.connect(target)
        except OSError:
            self.sock.close()
            raise
        if not where.startswith("unix:"):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def read(self, count: int) -> bytes:
        """`count` bytes, or fewer if the other side ends before."""
        got = b""
        while len(got) < count:
            try:
                piece = self.sock.recv(count - len(got))
            except ConnectionResetError:
                break
            if not piece:
                break
            got += piece
        return got

    def read_all(self) -> bytes:
        """Everything until the other side ends; a reset ends it as well."""
        pieces = []
        with contextlib.suppress(ConnectionResetError):
            while piece := self.sock.recv(1 << 16):
                pieces.append(piece)
        return b"".join(pieces)

    def end(self) -> None:
        """No more from us; the other direction stays open."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave at once, with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def closed(self) -> bool:
        """True once the other side has ended, cleanly or by a reset, without another byte."""
        return self.read(1) == b""


def ask(where: str, *steps: tuple[bytes, int]) -> bytes:
    """Send each step and read its so many bytes, then everything to the end. Returns all that was read."""
    with Client(where) as client:
        got = b""
        for data, count in steps:
            client.send(data)
            got += client.read(count)
        return got + client.read_all()


def tunnel5(where: str, host: str | bytes, port: int, early: bytes = b"") -> Client:
    """A granted SOCKS5 CONNECT, with `early` sent right behind the request."""
    client = Client(where)
    client.send(GREETING)
    assert client.read(2) == NO_AUTH
    client.send(socks5(host, port) + early)
    head = client.read(4)
    assert head[:2] == b"\x05\x00", head.hex()
    client.read({1: 6, 4: 18}[head[3]])
    return client
