"""The data plane: raw sockets, direct dispatch, one handshake to the upstream, copy and then splice.

Decides nothing and logs nothing: it asks the judge and publishes events.
"""
