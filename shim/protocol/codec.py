"""The one face of everything that parses a client's request, so that a session need not know which protocol it is.

Says what a codec does; parses nothing itself.
"""

from __future__ import annotations

from typing import Protocol

from shim.model import Answer, Reply, Request


class ServerCodec(Protocol):
    """One client's handshake, seen from the server. Bytes in, bytes out: it owns no socket and no clock."""

    def receive_data(self, data: bytes) -> Request | None:
        """Take bytes as they came. The request, once, when it is complete; None while bytes are missing.

        ProtocolError when the client breaks the protocol, and then the handshake is over: send what `data_to_send`
        still holds, then the error's `reply`. LocalUsageError after a request or an error.
        """

    def data_to_send(self) -> bytes:
        """Take the replies of the handshake's steps, in order. Legal at any time, after an error too."""

    def reply(self, answer: Answer) -> bytes:
        """The final reply in the client's own protocol. LocalUsageError unless a request waits for it."""

    def refuse(self, rep: Reply) -> bytes:
        """The final reply for a request that is not sent upstream. LocalUsageError unless a request waits for it."""

    def offers(self) -> str:
        """What of the handshake differs between programs that ask for the same; empty where nothing does. Before the
        final reply.
        """

    def trailing_data(self) -> bytes:
        """What the client sent behind its request. LocalUsageError while there is none yet."""
