"""A certificate authority for one run: any name's certificate for the sandbox, and the file to trust it by.

Its keys are never written to a disk, and nothing trusts it that was not told to.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from typing import Final

from shim.lab import curve

MAX_NAMES = 500
"""Certificates that are kept; beyond it all names share the first."""

_LIFE: Final = timedelta(days=1)
_LATE: Final = timedelta(hours=1)
"""Before now: for a program with a clock that is late."""

_EC_KEY, _P256, _ECDSA = "2a8648ce3d0201", "2a8648ce3d030107", "2a8648ce3d040302"
_COMMON_NAME, _SERVER = "550403", "2b06010505070301"
_SUBJECT_KEY, _KEY_USAGE, _ALTERNATIVE, _BASIC, _AUTHORITY_KEY, _EXTENDED = "0e", "0f", "11", "13", "23", "25"
_SEQUENCE, _SET, _INTEGER, _BITS, _OCTETS, _OID, _UTF8, _TIME, _BOOLEAN = 48, 49, 2, 3, 4, 6, 12, 23, 1


class Authority:
    """Makes certificates (RFC 5280) and the TLS settings of a server that has one for every name."""

    def __init__(self) -> None:
        self._key, self._leaf_key = curve.new_key(), curve.new_key()
        self._public, self._leaf_public = curve.public_key(self._key), curve.public_key(self._leaf_key)
        self._name = _name("shim sandbox")
        self.pem = _pem("CERTIFICATE", self._certificate(self._name, self._public, self._extensions_of_authority()))
        """What must be trusted, as text."""
        self._contexts: dict[str, ssl.SSLContext] = {}

    @property
    def key_pin(self) -> str:
        """SHA-256 of the public key of every server, as Chromium wants it."""
        return base64.b64encode(hashlib.sha256(_public(self._leaf_public)).digest()).decode()

    def context(self, name: str = "sandbox.invalid") -> ssl.SSLContext:
        """TLS for a server; whichever name a client then asks for, it gets that one's certificate."""
        if name not in self._contexts:
            if len(self._contexts) >= MAX_NAMES:
                return next(iter(self._contexts.values()))
            self._contexts[name] = self._new_context(name)
        return self._contexts[name]

    def _new_context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = self._certificate(_name("sandbox"), self._leaf_public, self._extensions_of(name))
        text = _pem("CERTIFICATE", certificate) + self.pem + _private(self._leaf_key, self._leaf_public)
        # The module reads files only; this one is in memory.
        with os.fdopen(os.memfd_create("certificate"), "wb") as file:
            file.write(text.encode())
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = self._choose
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is not None:
            connection.context = self.context(name.lower())

    def _certificate(self, subject: bytes, public: bytes, extensions: bytes) -> bytes:
        now = datetime.now(UTC)
        body = _tlv(
            _SEQUENCE,
            _tlv(0xA0, _integer(2)),
            _integer(1 + secrets.randbits(120)),
            _tlv(_SEQUENCE, _oid(_ECDSA)),
            self._name,
            _tlv(_SEQUENCE, _time(now - _LATE), _time(now + _LIFE)),
            subject,
            _public(public),
            _tlv(0xA3, extensions),
        )
        r, s = curve.sign(self._key, body)
        signature = _tlv(_SEQUENCE, _integer(r), _integer(s))
        return _tlv(_SEQUENCE, body, _tlv(_SEQUENCE, _oid(_ECDSA)), _tlv(_BITS, b"\0", signature))

    def _extensions_of_authority(self) -> bytes:
        return _tlv(
            _SEQUENCE,
            _extension(_BASIC, _tlv(_SEQUENCE, _tlv(_BOOLEAN, b"\xff")), critical=True),
            _extension(_KEY_USAGE, _tlv(_BITS, b"\x02\x04"), critical=True),  # keyCertSign
            _extension(_SUBJECT_KEY, _tlv(_OCTETS, _identifier(self._public))),
        )

    def _extensions_of(self, name: str) -> bytes:
        return _tlv(
            _SEQUENCE,
            _extension(_BASIC, _tlv(_SEQUENCE), critical=True),
            _extension(_KEY_USAGE, _tlv(_BITS, b"\x07\x80"), critical=True),  # digitalSignature
            _extension(_EXTENDED, _tlv(_SEQUENCE, _oid(_SERVER))),
            _extension(_ALTERNATIVE, _tlv(_SEQUENCE, _tlv(0x82, name.encode("ascii", "replace"))), critical=True),
            _extension(_SUBJECT_KEY, _tlv(_OCTETS, _identifier(self._leaf_public))),
            _extension(_AUTHORITY_KEY, _tlv(_SEQUENCE, _tlv(0x80, _identifier(self._public)))),
        )


def _tlv(tag: int, *parts: bytes) -> bytes:
    """One value in DER (X.690)."""
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def _integer(number: int) -> bytes:
    return _tlv(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _oid(encoded: str) -> bytes:
    return _tlv(_OID, bytes.fromhex(encoded))


def _name(text: str) -> bytes:
    return _tlv(_SEQUENCE, _tlv(_SET, _tlv(_SEQUENCE, _oid(_COMMON_NAME), _tlv(_UTF8, text.encode()))))


def _time(at: datetime) -> bytes:
    return _tlv(_TIME, at.strftime("%y%m%d%H%M%SZ").encode())


def _extension(kind: str, contents: bytes, *, critical: bool = False) -> bytes:
    flag = _tlv(_BOOLEAN, b"\xff") if critical else b""
    return _tlv(_SEQUENCE, _oid("551d" + kind), flag, _tlv(_OCTETS, contents))


def _identifier(public: bytes) -> bytes:
    """RFC 7093 section 2, first method."""
    return hashlib.sha256(public).digest()[:20]


def _public(point: bytes) -> bytes:
    """RFC 5480."""
    return _tlv(_SEQUENCE, _tlv(_SEQUENCE, _oid(_EC_KEY), _oid(_P256)), _tlv(_BITS, b"\0", point))


def _private(key: int, point: bytes) -> str:
    """RFC 5915."""
    curve_of_it = _tlv(0xA0, _oid(_P256))
    parts = _integer(1), _tlv(_OCTETS, key.to_bytes(32, "big")), curve_of_it, _tlv(0xA1, _tlv(_BITS, b"\0", point))
    return _pem("EC PRIVATE KEY", _tlv(_SEQUENCE, *parts))


def _pem(kind: str, der: bytes) -> str:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n"
