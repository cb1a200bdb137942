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
_TLS_FIRST = bytes((_TLS_HANDSHAKE,))
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_ENCRYPTED_CLIENT_HELLO = 0xFE0D
_HOST_NAME = 0
_RECORD_HEAD = 5
_MESSAGE_HEAD = 4
_MAX_RECORD = 0x4000 + 0x800

_METHOD = re.compile(rb"[A-Z]{3,16} ")
_METHOD_BEGINNING = re.compile(rb"[A-Z]{1,16}")
# Possessive, and stripped of its spaces afterwards: with those in the pattern, 16 KiB of them took it 40 minutes.
_HOST = re.compile(rb"\r\n[Hh][Oo][Ss][Tt]:([^\r\n]*+)\r\n")
# No resolver asks anyone for what ends in a number: it is an address in one of inet_aton(3)'s forms, or a mistake.
_ENDS_IN_NUMBER = re.compile(rb"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")


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

    __slots__ = ("_held", "_left", "_message", "_taken")

    def __init__(self) -> None:
        self._held = b""
        """What could not be understood yet: of TLS, the beginning of a record's head at most."""
        self._taken = 0
        self._message: bytearray | None = None
        """Of TLS: the handshake message so far."""
        self._left = 0
        """Bytes of it that are still to come in this record."""

    def feed(self, data: bytes) -> FirstBytes | None:
        """The answer, once; None while bytes are missing. Total: bytes that mean nothing are `other`."""
        held = self._held + data if self._held else data
        if self._message is not None or held[:1] == _TLS_FIRST:
            found = self._read_tls(held)
        elif held:
            self._held = held
            found = _read_http(held)
        else:
            return None
        self._taken += len(data)
        return OTHER if found is None and self._taken >= MAX_HELD else found

    def _read_tls(self, held: bytes) -> FirstBytes | None:
        """The handshake message may come in any number of records and segments (RFC 8446 section 5.1).

        Each byte is looked at once: 16 KiB in records of one byte, byte by byte, would take 10 s otherwise.
        """
        if self._message is None:
            self._message = bytearray()
        message, at, end = self._message, 0, len(held)
        while at < end:
            if not self._left:
                if end - at < _RECORD_HEAD:
                    break
                self._left = held[at + 3] << 8 | held[at + 4]
                if held[at] != _TLS_HANDSHAKE or held[at + 1] != 3 or not 0 < self._left <= _MAX_RECORD:
                    return OTHER
                at += _RECORD_HEAD
            part = held[at : at + self._left]
            message += part
            at += len(part)
            self._left -= len(part)
            if message and message[0] != _CLIENT_HELLO:
                return OTHER
            if len(message) >= _MESSAGE_HEAD:
                whole = _MESSAGE_HEAD + int.from_bytes(message[1:_MESSAGE_HEAD], "big")
                if len(message) >= whole:
                    return _read_hello(bytes(message[_MESSAGE_HEAD:whole]))
        self._held = held[at:]
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
    end = held.find(b"\r\n\r\n")
    if match := _HOST.search(held, 0, len(held) if end < 0 else end + 2):  # what follows the head is not about it
        host, address = _host(_without_port(match[1].strip(b" \t")))
        return FirstBytes("http", host, address)
    return None if end < 0 else OTHER


def _without_port(value: bytes) -> bytes:
    if value.startswith(b"["):
        return value.partition(b"]")[0] + b"]"
    return value.partition(b":")[0]


def _host(raw: bytes | None) -> tuple[str | None, bool]:
    """A name as text, or that it is an address. Anything that is no host name to Tor is neither."""
    if not raw or not is_valid_hostname(raw):
        return None, False
    if read_address(raw) is not None or _ENDS_IN_NUMBER.fullmatch(raw):
        return None, True
    return raw.decode("ascii").lower().removesuffix("."), False
