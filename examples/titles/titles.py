"""Prints the titles of web pages, fetched through a SOCKS5 proxy: an example of an application that must not leak.

`python -m titles http://www.example.org/` with the proxy in ALL_PROXY.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import socket
from urllib.parse import urlsplit


def connect(proxy: str, host: str, port: int, *, ipv4: bool) -> socket.socket:
    """A connection through the proxy (RFC 1928). The host goes to it as a name, unless `ipv4`."""
    where = urlsplit(proxy)
    sock = socket.create_connection((where.hostname, where.port or 1080), 30)
    if ipv4:
        # Well meant, for sites with a broken IPv6. But it asks the resolver of this machine for the name, and whoever
        # sees its queries learns which site is about to be visited: this is the leak that the tests catch.
        kind, address = b"\x01", socket.inet_aton(socket.gethostbyname(host))
    else:
        kind, address = b"\x03", bytes((len(host),)) + host.encode("idna")
    sock.sendall(b"\x05\x01\x00" + b"\x05\x01\x00" + kind + address + port.to_bytes(2, "big"))
    reply = b""
    while len(reply) < 12:
        data = sock.recv(12 - len(reply))
        if not data:
            break
        reply += data
    if reply[:4] != b"\x05\x00\x05\x00":
        raise OSError("the proxy refused")
    return sock


def title(proxy: str, url: str, *, ipv4: bool = False) -> str:
    """The title of one page."""
    page = urlsplit(url)
    assert page.hostname
    connection = http.client.HTTPConnection(page.hostname, page.port or 80)
    connection.sock = connect(proxy, page.hostname, connection.port, ipv4=ipv4)
    connection.request("GET", page.path or "/")
    text = connection.getresponse().read().decode("utf-8", "replace")
    connection.close()
    found = re.search(r"<title>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
    return found[1].strip() if found else ""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ipv4", action="store_true", help="use IPv4 only")
    parser.add_argument("urls", nargs="+")
    arguments = parser.parse_args()
    for url in arguments.urls:
        print(title(os.environ["ALL_PROXY"], url, ipv4=arguments.ipv4))


if __name__ == "__main__":
    main()
