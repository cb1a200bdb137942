"""Any bytes of an upstream: an Answer, a wait, or UpstreamError; the same in any split; buffer bounded.

By hand, not by pytest: pip install -e '.[fuzz]', then (it takes some 20 s to start)
python tests/fuzz/fuzz_socks_client.py -max_total_time=60 [CORPUS]
"""

from __future__ import annotations

import sys

from shim.errors import UpstreamError
from shim.model import Command, Credentials, Protocol, Request
from shim.protocol.socks_client import SocksClient

LIMIT = 4 + 1 + 255 + 1
REQUEST = Request(Protocol.SOCKS5, Command.CONNECT, "example.com", 80)
CREDENTIALS = (None, Credentials(b"user", b"password"))


def one_input(data: bytes) -> None:
    """The first byte says how long the pieces are, the second which kind of handshake it is."""
    if len(data) < 2:
        return
    size, kind, stream = data[0] or len(data), data[1], data[2:]
    assert outcome(stream, size, kind) == outcome(stream, len(stream) or 1, kind)


def outcome(stream: bytes, size: int, kind: int) -> object:
    """What the codec makes of `stream` in pieces of `size` bytes."""
    codec = SocksClient(REQUEST, CREDENTIALS[kind & 1], pipelining=bool(kind & 2))
    sent = codec.data_to_send()
    for at in range(0, len(stream), size):
        try:
            answer = codec.receive_data(stream[at : at + size])
        except UpstreamError as error:
            return error.error, sent + codec.data_to_send()
        sent += codec.data_to_send()
        if answer is not None:
            return answer, sent, codec.trailing_data() + stream[at + size :]
        assert len(codec._buffer) <= LIMIT
    return sent


def main() -> None:
    """Fuzz until told to stop."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
