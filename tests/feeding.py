"""Feeds a server codec bytes in any split and notes all that came of it: what the codec tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from shim.errors import LocalUsageError, ProtocolError
from shim.model import Reply, Request
from shim.protocol import ServerCodec

TRAILING = b"\x16\x03\x01\x05\x01\x00\x00\xffGET / HTTP/1.1\r\n\r\n"
"""Bytes behind a request that look like the beginning of every protocol there is."""


@dataclass(frozen=True)
class Refused:
    """A ProtocolError: its code, what the client is owed, and what the protocol was taken for."""

    error: str
    reply: bytes = b""
    protocol: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a codec made of a client's bytes. `result` is None while it waits for more."""

    result: Request | Refused | None
    sent: bytes = b""
    trailing: bytes = b""


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def split_at(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data` in pieces; cuts beyond its end are ignored, and an empty piece is a piece."""
    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def feed(codec: ServerCodec, pieces: list[bytes]) -> Outcome:
    """Feed `pieces` until something comes of it; what is left then counts as sent behind it."""
    sent = b""
    for i, piece in enumerate(pieces):
        try:
            request = codec.receive_data(piece)
        except ProtocolError as error:
            sent += codec.data_to_send()
            return Outcome(Refused(error.error, error.reply, error.protocol), sent)
        sent += codec.data_to_send()
        if request is not None:
            return Outcome(request, sent, codec.trailing_data() + b"".join(pieces[i + 1 :]))
    return Outcome(None, sent)


def check_three_ways(make: Callable[[], ServerCodec], data: bytes, expected: Outcome) -> None:
    """The same outcome whole, byte by byte and with bytes behind it; a request never before its last byte."""
    assert feed(make(), whole(data)) == expected
    assert feed(make(), bytewise(data)) == expected
    if isinstance(expected.result, Request):
        assert feed(make(), whole(data[:-1])).result is None
        behind = Outcome(expected.result, expected.sent, TRAILING)
        assert feed(make(), whole(data + TRAILING)) == behind
        assert feed(make(), bytewise(data + TRAILING)) == behind
    elif isinstance(expected.result, Refused):
        assert feed(make(), whole(data + TRAILING)) == expected


def check_dead(codec: ServerCodec) -> None:
    """After an error a codec does nothing any more and keeps no bytes."""
    with pytest.raises(LocalUsageError):
        codec.receive_data(b"\x05")
    with pytest.raises(LocalUsageError):
        codec.refuse(Reply.NOT_ALLOWED)
    assert codec.trailing_data() == b""
