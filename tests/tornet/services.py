"""The world behind the exit: resolvers that know the same names, and the pages behind them.

A resolver keeps a list of what it was asked, what a leak tells, and writes it nowhere.
"""

from __future__ import annotations

import http.server
import socket
import threading

from dnslib import QTYPE, RCODE, RR, A, DNSRecord

NAMES = {"www.example.com": "198.51.100.7"}

_PAGE = """<!doctype html><meta charset="utf-8"><title>{host}</title>
<style>body{{font:18px/1.6 "DejaVu Sans",sans-serif;margin:3em;color:#222}}h1{{color:#5c2d91}}
code{{background:#eee;padding:.1em .3em}}</style>
<h1>{host}</h1><p>A page of the demonstration. It was asked for as <code>{host}</code>.
"""


class Resolver:
    """A DNS server for NAMES on one address; anything else does not exist."""

    def __init__(self, address: str) -> None:
        self.asked: list[str] = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((address, 53))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            data, client = self._sock.recvfrom(4096)
            self._sock.sendto(self._answer(DNSRecord.parse(data)), client)

    def _answer(self, query: DNSRecord) -> bytes:
        name = str(query.q.qname).rstrip(".").lower()  # an exit spells names in random case
        self.asked.append(f"{QTYPE[query.q.qtype]:<5} {name}")
        reply = query.reply()
        if name not in NAMES:
            reply.header.rcode = RCODE.NXDOMAIN
        elif query.q.qtype == QTYPE.A:
            reply.add_answer(RR(query.q.qname, rdata=A(NAMES[name]), ttl=60))
        return bytes(reply.pack())


class _Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/"
        plain = self.headers["User-Agent"].startswith("curl/")
        host = self.headers["Host"]
        body = f"hello from {host}\n" if plain else _PAGE.format(host=host)
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body.encode() if found else b"")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def serve_pages() -> None:
    """Answer HTTP on port 80 of every address, as long as this process lives."""
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 80), _Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
