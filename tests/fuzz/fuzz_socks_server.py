"""Any bytes: a Request, a wait, or ProtocolError; the same in any split; buffer bounded.

By hand, not by pytest: pip install -e '.[fuzz]', then (it takes some 20 s to start)
python tests/fuzz/fuzz_socks_server.py -max_total_time=60 [CORPUS]
"""

from __future__ import annotations

import sys

from shim.errors import ProtocolError
from shim.model import Reply
from shim.protocol.socks_server import SocksServer

LIMIT = 8 + 510 + 1 + 255


def one_input(data: bytes) -> None:
    """The first byte says how long the pieces are into which the rest is split."""
    if not data:
        return
    size, stream = data[0] or len(data), data[1:]
    assert outcome(stream, size) == outcome(stream, len(stream) or 1)


def outcome(stream: bytes, size: int) -> object:
    """What the codec makes of `stream` in pieces of `size` bytes."""
    codec, sent = SocksServer(), b""
    for at in range(0, len(stream), size):
        try:
            request = codec.receive_data(stream[at : at + size])
        except ProtocolError as error:
            return error.error, error.reply, error.protocol, sent + codec.data_to_send()
        sent += codec.data_to_send()
        if request is not None:
            return request, sent, codec.refuse(Reply.NOT_ALLOWED), codec.trailing_data() + stream[at + size :]
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
