"""The judge: what a request gave away, what is done about it, and what may be said of it.

Pure: no sockets, no clocks, no log.
"""
