"""What a client's first bytes say of where it wants to go: SNI of a TLS ClientHello, Host of an HTTP/1 request.

Reads along; holds at most 16 KiB until it has its answer, changes nothing and delays nothing. A name found here is
evidence, not proof: the client may name another host than the one it looked up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from shim.protocol.hostname import is_valid_hostname, read_address

MAX_HELD = 16 * 1024
"""A ClientHello with post-quantum key shares is 2 KiB; a request's head seldom reaches 8."""

_TLS_HANDSHAKE = 0x16
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_ENCRYPTED_CLIENT_HELLO = 0xFE0D
_HOST_NAME = 0
_RECORD_HEAD = 5
_MESSAGE_HEAD = 4
_MAX_RECORD = 0x4000 + 0x800

_METHOD = re.compile(rb"[A-Z]{3,16} ")
_METHOD_BEGINNING = re.compile(rb"[A-Z]{1,16}")
_HOST = re.compile(rb"\r\n[Hh][Oo][Ss][Tt]:[ \t]*([^\r\n]*?)[ \t]*\r\n")


@dataclass(frozen=True, slots=True)
class FirstBytes:
    """`name` is a host name in lower case; None when there is none, or an address in its place (`address`).

    `encrypted` tells that the ClientHello has an encrypted_client_hello extension. Its SNI may then be an outer name;
    but browsers also send a meaningless one (GREASE), so it proves nothing.
    """

    protocol: Literal["tls", "http", "other"]
    name: str | None = None
    address: bool = False
    encrypted: bool = False


OTHER = FirstBytes("other")


class FirstBytesReader:
    """Feed it what the client sends, until it answers."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> FirstBytes | None:
        """The answer, once; None while bytes are missing. Total: bytes that mean nothing are `other`."""
        held = self._held = self._held + data if self._held else data
        if not held:
            return None
        found = _read_tls(held) if held[0] == _TLS_HANDSHAKE else _read_http(held)
        return OTHER if found is None and len(held) >= MAX_HELD else found


def _read_tls(held: bytes) -> FirstBytes | None:
    """The handshake message may come in any number of records and segments (RFC 8446 section 5.1)."""
    message = bytearray()
    at = 0
    while len(held) >= at + _RECORD_HEAD:
        length = held[at + 3] << 8 | held[at + 4]
        if held[at] != _TLS_HANDSHAKE or held[at + 1] != 3 or not 0 < length <= _MAX_RECORD:
            return OTHER
        message += held[at + _RECORD_HEAD : at + _RECORD_HEAD + length]
        at += _RECORD_HEAD + length
        if message[0] != _CLIENT_HELLO if message else False:
            return OTHER
        if len(message) >= _MESSAGE_HEAD:
            end = _MESSAGE_HEAD + int.from_bytes(message[1:_MESSAGE_HEAD], "big")
            if len(message) >= end:
                return _read_hello(bytes(message[_MESSAGE_HEAD:end]))
    return None


def _read_hello(hello: bytes) -> FirstBytes:
    """RFC 8446 section 4.1.2, RFC 6066 section 3."""
    name: bytes | None = None
    encrypted = False
    try:
        at = 2 + 32  # legacy_version, random
        at += 1 + hello[at]  # legacy_session_id
        at += 2 + (hello[at] << 8 | hello[at + 1])  # cipher_suites
        at += 1 + hello[at]  # legacy_compression_methods
        end = at + 2 + (hello[at] << 8 | hello[at + 1]) if at < len(hello) else at
        at += 2
        while at + 4 <= end:
            kind, length = hello[at] << 8 | hello[at + 1], hello[at + 2] << 8 | hello[at + 3]
            if kind == _SERVER_NAME:
                name = _read_server_name(hello[at + 4 : at + 4 + length])
            elif kind == _ENCRYPTED_CLIENT_HELLO:
                encrypted = True
            at += 4 + length
    except IndexError:
        return OTHER
    host, address = _host(name)
    return FirstBytes("tls", host, address, encrypted)


def _read_server_name(body: bytes) -> bytes | None:
    if len(body) < 5 or body[2] != _HOST_NAME:
        return None
    return body[5 : 5 + (body[3] << 8 | body[4])]


def _read_http(held: bytes) -> FirstBytes | None:
    """RFC 9112 section 3.2. A head without Host (HTTP/1.0) says nothing."""
    if not _METHOD.match(held):
        return None if len(held) <= 16 and _METHOD_BEGINNING.fullmatch(held) else OTHER
    if match := _HOST.search(held):
        host, address = _host(_without_port(match[1]))
        return FirstBytes("http", host, address)
    return OTHER if b"\r\n\r\n" in held else None


def _without_port(value: bytes) -> bytes:
    if value.startswith(b"["):
        return value.partition(b"]")[0] + b"]"
    return value.partition(b":")[0]


def _host(raw: bytes | None) -> tuple[str | None, bool]:
    """A name as text, or that it is an address. Anything that is no host name to Tor is neither."""
    if not raw or not is_valid_hostname(raw):
        return None, False
    if read_address(raw) is not None:
        return None, True
    return raw.decode("ascii").lower().removesuffix("."), False
