"""shim: a local, leak-detecting SOCKS4/4a/5 proxy that stands between an application and Tor."""

__version__ = "0.1.0"
