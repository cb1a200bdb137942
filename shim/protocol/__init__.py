"""Wire formats without input or output: SOCKS on both sides, HTTP CONNECT, names.

Pure: bytes go in, values and bytes come out; no sockets, no clocks, no policy, no log.
"""

from shim.protocol.codec import ServerCodec

__all__ = ["ServerCodec"]
