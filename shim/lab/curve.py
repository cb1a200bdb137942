"""ECDSA over P-256 with SHA-256 (FIPS 186-5), for keys that live as long as one run and that nobody else trusts.

Does not run in constant time, so that it must sign nothing that matters to anybody else.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

_P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G: Final = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    1,
)
_NOWHERE: Final = (1, 1, 0)

Point = tuple[int, int, int]
"""In Jacobian coordinates: x over z squared, y over z cubed."""


def new_key() -> int:
    """A private key."""
    return 1 + secrets.randbelow(ORDER - 1)


def public_key(key: int) -> bytes:
    """Its public key, as SEC 1 section 2.3.3 writes a point in full."""
    x, y = _affine(_times(key, _G))
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def sign(key: int, message: bytes) -> tuple[int, int]:
    """The two numbers of a signature."""
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    while True:
        nonce = new_key()
        r = _affine(_times(nonce, _G))[0] % ORDER
        s = pow(nonce, -1, ORDER) * (digest + r * key) % ORDER
        if r and s:
            return r, s


def _times(number: int, point: Point) -> Point:
    product = _NOWHERE
    for bit in f"{number:b}":
        product = _twice(product)
        if bit == "1":
            product = _sum(product, point)
    return product


def _twice(point: Point) -> Point:
    x, y, z = point
    if not z:
        return _NOWHERE
    square = y * y % _P
    s = 4 * x * square % _P
    m = 3 * (x - z * z) * (x + z * z) % _P
    x2 = (m * m - 2 * s) % _P
    return x2, (m * (s - x2) - 8 * square * square) % _P, 2 * y * z % _P


def _sum(one: Point, other: Point) -> Point:
    """Of two different points."""
    (x1, y1, z1), (x2, y2, z2) = one, other
    if not z1:
        return other
    u1, u2 = x1 * z2 * z2 % _P, x2 * z1 * z1 % _P
    s1, s2 = y1 * z2**3 % _P, y2 * z1**3 % _P
    if u1 == u2:
        return _twice(one) if s1 == s2 else _NOWHERE
    h, r = (u2 - u1) % _P, (s2 - s1) % _P
    h2, h3 = h * h % _P, h**3 % _P
    x3 = (r * r - h3 - 2 * u1 * h2) % _P
    return x3, (r * (u1 * h2 - x3) - s1 * h3) % _P, h * z1 * z2 % _P


def _affine(point: Point) -> tuple[int, int]:
    x, y, z = point
    inverse = pow(z, -1, _P)
    return x * inverse**2 % _P, y * inverse**3 % _P
