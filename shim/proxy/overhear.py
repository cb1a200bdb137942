"""Reads a client's first bytes along as they pass, for the name that its request did not tell. Delays nothing."""

from __future__ import annotations

import time

from shim.events import FirstBytesSeen
from shim.protocol.first_bytes import OTHER, FirstBytesReader
from shim.proxy.plane import Plane


class Overhearing:
    """One connection's first bytes, until they have said what they say."""

    __slots__ = ("_conn", "_plane", "_reader")

    def __init__(self, plane: Plane, conn: str) -> None:
        self._plane = plane
        self._conn = conn
        self._reader = FirstBytesReader()

    def hear(self, data: bytes) -> bool:
        """Take what passes. True when there is no more to learn: then forget this object."""
        found = self._reader.feed(data)
        if found is None:
            return False
        if found is not OTHER:
            self._plane.publish(
                FirstBytesSeen(time.time(), self._conn, found.protocol, found.name, found.address, found.encrypted)
            )
        return True
