"""Any bytes: a Request, a wait, or ProtocolError; the same in any split; buffer bounded.

By hand, not by pytest: pip install -e '.[fuzz]', then (it takes some 20 s to start)
python tests/fuzz/fuzz_http_connect.py -max_len=9000 -max_total_time=60 [CORPUS]
"""

from __future__ import annotations

import sys

from shim.errors import ProtocolError
from shim.model import Reply
from shim.protocol.http_connect import MAX_HEAD, HttpConnectServer

# Random bytes alone would hardly find a method, nor what is behind one, nor the end of a head.
BEGINNINGS = (b"", b"CONNECT ", b"CONNECT a:443 HTTP/1.1\r\n", b"CONNECT a:443 HTTP/1.1\r\nProxy-Authorization: Basic ")
ENDINGS = (b"", b"\r\n\r\n", b" HTTP/1.1\r\n\r\n")


def one_input(data: bytes) -> None:
    """The first byte says how long the pieces are, the second how the stream begins and ends."""
    if len(data) < 2:
        return
    end, beginning = divmod(data[1], len(BEGINNINGS))
    stream = BEGINNINGS[beginning] + data[2:] + ENDINGS[end % len(ENDINGS)]
    size = data[0] or len(stream) or 1
    assert outcome(stream, size) == outcome(stream, len(stream) or 1)


def outcome(stream: bytes, size: int) -> object:
    """What the codec makes of `stream` in pieces of `size` bytes."""
    codec = HttpConnectServer()
    for at in range(0, len(stream), size):
        try:
            request = codec.receive_data(stream[at : at + size])
        except ProtocolError as error:
            return error.error, error.reply, error.protocol
        if request is not None:
            return request, codec.refuse(Reply.NOT_ALLOWED), codec.trailing_data() + stream[at + size :]
        assert len(codec._buffer) < MAX_HEAD
    return None


def main() -> None:
    """Fuzz until told to stop."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
