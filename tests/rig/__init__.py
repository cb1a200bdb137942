"""What the black-box tests stand on: a SOCKS5 upstream, the shim and tor as child processes, an empty network.

Holds no assertion about the shim but the ones that are true of every run.
"""
