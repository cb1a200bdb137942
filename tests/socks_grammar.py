"""Hypothesis strategies: whole SOCKS conversations of a client with the request they ask for, and mutants of them.

Plain random bytes hardly ever get past the version byte; these do.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import strategies as st

from shim.model import Command, Credentials, Host, Protocol, Request
from shim.protocol import wire

PORTS = st.integers(0, 65535)
FIELDS = st.binary(max_size=255)
CREDENTIALS = st.none() | st.builds(Credentials, FIELDS, FIELDS)
NAMES = st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True), min_size=1, max_size=3).map(".".join)
TEXT_ADDRESSES = st.ip_addresses().map(str)
HOSTS: st.SearchStrategy[Host] = st.one_of(st.ip_addresses(), NAMES, TEXT_ADDRESSES)
UPSTREAM_COMMANDS = st.sampled_from([Command.CONNECT, Command.RESOLVE, Command.RESOLVE_PTR])


@st.composite
def socks5_requests(draw: st.DrawFn, commands: st.SearchStrategy[Command] = UPSTREAM_COMMANDS) -> Request:
    """A legal SOCKS5 request with any credentials."""
    command = draw(commands)
    hosts = st.ip_addresses() | TEXT_ADDRESSES if command is Command.RESOLVE_PTR else HOSTS
    return Request(Protocol.SOCKS5, command, draw(hosts), draw(PORTS), draw(CREDENTIALS))


@st.composite
def socks4_requests(draw: st.DrawFn) -> Request:
    """A legal SOCKS4 or SOCKS4a request with any USERID."""
    command = draw(st.sampled_from(list(wire.COMMANDS_4.values())))
    port = draw(st.integers(0 if command is Command.RESOLVE else 1, 65535))
    userid = draw(st.binary(max_size=wire.MAX_USERID).map(lambda raw: raw.replace(b"\x00", b"")))
    credentials = Credentials(userid[:255], userid[255:]) if userid else None
    if draw(st.booleans()):
        return Request(Protocol.SOCKS4A, command, draw(NAMES | TEXT_ADDRESSES), port, credentials)
    address = IPv4Address(draw(st.integers(256, 2**32 - 1)))
    return Request(Protocol.SOCKS4, command, address, port, credentials)


def encode(request: Request, last_octet: int = 1) -> bytes:
    """The bytes of a client that asks for `request`."""
    credentials = request.credentials
    if request.protocol is Protocol.SOCKS5:
        start = wire.GREETING_NONE
        if credentials is not None:
            start = wire.GREETING_USER_PASS + wire.encode_auth(credentials.username, credentials.password)
        return start + wire.encode_request(request.command, request.host, request.port)
    code = {command: code for code, command in wire.COMMANDS_4.items()}[request.command]
    head = bytes((4, code)) + request.port.to_bytes(2, "big")
    userid = b"" if credentials is None else credentials.username + credentials.password
    if isinstance(request.host, IPv4Address):
        return head + request.host.packed + userid + b"\x00"
    return head + bytes((0, 0, 0, last_octet)) + userid + b"\x00" + str(request.host).encode("ascii") + b"\x00"


def conversations() -> st.SearchStrategy[tuple[bytes, Request]]:
    """All that a client sends, and what it asks for."""
    requests = socks5_requests(st.sampled_from(Command)) | socks4_requests()
    return st.builds(lambda request, last: (encode(request, last), request), requests, st.integers(1, 255))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A conversation with up to four bytes changed, removed, doubled or put in, perhaps cut, perhaps longer."""
    data = bytearray(draw(conversations())[0])
    interesting = st.sampled_from([0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x2D, 0x2E, 0x5B, 0x7F, 0xF0, 0xF1, 0xFF])
    for _ in range(draw(st.integers(0, 4))):
        # Most of the meaning stands in the first bytes.
        at = draw(st.integers(0, min(len(data), 16)) | st.integers(0, len(data)))
        octet = draw(interesting | st.integers(0, 255))
        match draw(st.sampled_from(["change", "remove", "double", "insert", "cut"])):
            case "change":
                data[at : at + 1] = bytes((octet,))
            case "remove":
                del data[at : at + 1]
            case "double":
                data[at:at] = data[at : at + 3]
            case "insert":
                data.insert(at, octet)
            case _:
                del data[max(at, 1) :]
    return bytes(data) + draw(st.binary(max_size=20))
