"""What programs really send, made up at random, and mutants of it.

Plain random bytes hardly ever get past a version byte (99 % do not, measured); these do. Shares no code with the shim:
a mistake in its codecs must not be made here as well.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from random import Random

from rig.wire import GREETING, GREETING_AUTH, auth, http_connect, socks4, socks5

COMMANDS = (1, 1, 1, 1, 0xF0, 0xF1, 2, 3)
OCTETS = (0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0A, 0x0D, 0x20, 0x2D, 0x2E, 0x3A, 0x5B, 0x7F, 0x80, 0xC0, 0xF0, 0xFF)
NAMES = (
    b"a.test",
    b"www.example.com",
    b"EXAMPLE.com.",
    b"localhost",
    b"printer.local",
    b"p53lf57qovyuvwsc6xnrppyply3vtqm7l6pcobkmyqsiofyeznfu5uqd.onion",
    b"wpad.home",
    b"_dmarc.x_y.test",
    b"4.3.2.1.in-addr.arpa",
    b"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
    b"a" * 63 + b".test",
    b".".join([b"a" * 50] * 5),
    b"xn--bcher-kva.test",
    b"\xc3\xa9.test",
    b"",
)
ADDRESSES = ("93.184.216.34", "127.0.0.1", "0.0.0.0", "198.18.0.1", "2001:db8::1", "::1", "::ffff:1.2.3.4", "fe80::1")
TEXTS = (b"93.184.216.34", b"0x7f.1", b"1.2.3.04", b"[2001:db8::1]", b"::ffff:1.2.3.4", b"fe80::1%eth0", b"2130706433")


def field(rng: Random, limit: int = 255) -> bytes:
    """Any bytes, seldom many."""
    return rng.randbytes(rng.choice((0, 1, 4, 8, rng.randint(0, limit))))


def name(rng: Random) -> bytes:
    """A host as text: a name, an address, or nearly one."""
    if rng.random() < 0.8:
        return rng.choice(NAMES + TEXTS)
    return bytes(rng.choice(b"abcxyz019-_.:[]%\\\0") for _ in range(rng.randint(0, 40)))


def port(rng: Random) -> int:
    return rng.choice((80, 443, 0, 25, 23, 65535, rng.randrange(65536)))


def socks_client(rng: Random) -> bytes:
    """All that a SOCKS client sends up to its request, of any version."""
    host = rng.choice(ADDRESSES) if rng.random() < 0.4 else name(rng)
    command = rng.choice(COMMANDS)
    if rng.random() < 0.3:
        target = host if isinstance(host, bytes) or ":" not in host else "93.184.216.34"
        return socks4(target, port(rng), command, field(rng, 520).replace(b"\0", b""))
    request = socks5(host[:255], port(rng), command)
    match rng.randrange(4):
        case 0:
            return GREETING_AUTH + auth(field(rng), field(rng)) + request
        case 1:
            methods = rng.sample((0, 1, 2, 3, 0x80), rng.randint(1, 5))
            secret = auth(field(rng), field(rng)) if 2 in methods else b""
            return bytes((5, len(methods), *methods)) + secret + request
        case 2:
            return GREETING * 2 + request
    return GREETING + request


def socks_upstream(rng: Random) -> bytes:
    """What an upstream says to a handshake: method, perhaps a status, a reply."""
    steps = rng.choice(
        (b"\x05\x00", b"\x05\x00", b"\x05\x02\x01\x00", b"\x05\x02", b"\x05\x02\x01\x01", b"\x05\xff", b"")
    )
    rep = rng.choice((0, 0, 0, 1, 2, 4, 5, 8, 0xF0, 0xF6, rng.randrange(256)))
    bound = bytes((1,)) + rng.randbytes(4)
    match rng.randrange(5):
        case 0:
            bound = bytes((4,)) + rng.randbytes(16)
        case 1:
            host = name(rng)[:255]
            bound = bytes((3, len(host))) + host
        case 2 | 3:
            bound = bytes((1, 0, 0, 0, 0))
    return steps + bytes((5, rep, 0)) + bound + port(rng).to_bytes(2, "big")


def connect_head(rng: Random) -> bytes:
    """The head of an HTTP request to a proxy, a CONNECT most often."""
    host = name(rng).decode("latin-1")
    if rng.random() < 0.1:
        return f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")
    headers = ["User-Agent: x"] * rng.randint(0, 3)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        secret = base64.b64encode(field(rng) + rng.choice((b":", b":", b"")) + field(rng)).decode("ascii")
        headers.append(rng.choice(("Proxy-Authorization: Basic ", "proxy-authorization: basic", "Other: ")) + secret)
    head = http_connect(f"{host}:{rng.choice((443, 80, 0, 65536, ''))}", *headers)
    return head if rng.random() < 0.9 else head.replace(b"\r\n", b"\n")


def labels(rng: Random) -> bytes:
    """A name as DNS writes it."""
    return b"".join(bytes((len(label) & 63,)) + label[:63] for label in name(rng).split(b".") if label) + b"\0"


def dns_query(rng: Random) -> bytes:
    """A query: mostly one question, perhaps an OPT, seldom more."""
    flags = rng.choice((0x0100, 0x0100, 0x0100, 0x0000, 0x0120, 0x8180, 0x2800, rng.randrange(65536)))
    question = labels(rng) + rng.choice((1, 28, 12, 65, 255, 16, rng.randrange(65536))).to_bytes(2, "big")
    question += rng.choice((1, 1, 1, 0x8001, 3, 255)).to_bytes(2, "big")
    records = [_record(rng) for _ in range(rng.choice((0, 0, 1, 1, 2, 17)))]
    questions = rng.choice((1, 1, 1, 1, 0, 2))
    counts = questions, 0, 0, len(records)
    head = rng.randbytes(2) + flags.to_bytes(2, "big") + b"".join(count.to_bytes(2, "big") for count in counts)
    return head + question * questions + b"".join(records) + (field(rng, 20) if rng.random() < 0.1 else b"")


def _record(rng: Random) -> bytes:
    if rng.random() < 0.6:  # OPT, RFC 6891 section 6.1.2
        options = field(rng, 30)
        size = rng.choice((512, 1232, 4096, 0, 65535)).to_bytes(2, "big")
        return b"\0\0\x29" + size + b"\0" + bytes((rng.choice((0, 0, 0, 1)),)) + b"\0\0" + _counted(options, 2)
    owner = rng.choice((b"\xc0\x0c", b"\0", labels(rng), b"\xc0" + rng.randbytes(1)))
    data = rng.choice((rng.randbytes(4), rng.randbytes(16), labels(rng), b"\xc0\x0c", field(rng, 40)))
    return owner + rng.choice((1, 5, 6, 28, 33, 250)).to_bytes(2, "big") + b"\0\1\0\0\0\x3c" + _counted(data, 2)


def _counted(data: bytes, length: int) -> bytes:
    return len(data).to_bytes(length, "big") + data


def client_hello(rng: Random) -> bytes:
    """A ClientHello in one record or many, with SNI more often than not."""
    host = name(rng)
    extensions = [(0x0A0A, b""), (16, b"\0\x03\x02h2"), (0xFE0D, field(rng, 200)), (51, rng.randbytes(1200))]
    extensions = rng.sample(extensions, rng.randint(0, len(extensions)))
    if rng.random() < 0.8:
        extensions.insert(0, (0, _counted(b"\0" + _counted(host, 2), 2)))
    packed = b"".join(kind.to_bytes(2, "big") + _counted(data, 2) for kind, data in extensions)
    session = rng.choice((b"", rng.randbytes(32)))
    body = b"\x03\x03" + rng.randbytes(32) + _counted(session, 1) + _counted(b"\x13\x01\x13\x02", 2) + b"\1\0"
    message = b"\1" + _counted(body + _counted(packed, 2), 3)
    step = rng.choice((len(message), len(message), 1, 100, 513))
    parts = [message[at : at + step] for at in range(0, len(message), step)]
    return b"".join(b"\x16\x03\x01" + _counted(part, 2) for part in parts)


def http_request(rng: Random) -> bytes:
    """The head of a request to a web server, over HTTP/1 or HTTP/2."""
    if rng.random() < 0.1:
        return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(40)
    spaces = rng.choice((b" ", b"", b"\t  ", b" " * rng.randint(0, 4000)))
    host = rng.choice((b"Host:", b"host:", b"HOST:", b"X:")) + spaces + name(rng) + rng.choice((b"", b":80", b"  "))
    lines = [rng.choice((b"GET", b"POST", b"M-SEARCH", b"CONNECT", b"X" * 20)) + b" / HTTP/1.1", b"A: b", host]
    return b"\r\n".join(lines) + rng.choice((b"\r\n\r\n", b"\r\n", b"\n\n", b""))


def packet(rng: Random) -> bytes:
    """A packet that a program might send, from the IP header on."""
    inside, protocol = _segment(rng)
    source, target = rng.choice(((0, 1), (4, 5), (4, 6)))
    one, two = (ipaddress.ip_address(ADDRESSES[index]).packed for index in (source, target))
    if len(one) == 4:
        head = (
            bytes((0x45, 0))
            + (20 + len(inside)).to_bytes(2, "big")
            + b"\0\0"
            + rng.choice((b"\0\0", b"\0\1", b"\x40\0"))
        )
        return head + bytes((64, protocol, 0, 0)) + one + two + inside
    extra = b""
    for kind in rng.sample((0, 43, 44, 60, 135), rng.choice((0, 0, 0, 1, 2, 5))):
        extra = bytes((protocol, 0)) + rng.randbytes(6) + extra
        protocol = kind
    return (
        b"\x60\0\0\0"
        + (len(extra + inside) & 0xFFFF).to_bytes(2, "big")
        + bytes((protocol, 64))
        + one
        + two
        + extra
        + inside
    )


def _segment(rng: Random) -> tuple[bytes, int]:
    """What is in a packet, and its protocol's number."""
    ends = rng.randbytes(2) + rng.choice((53, 443, 853, 5353, 5355, 137, 1900, 123, 3478, port(rng))).to_bytes(2, "big")
    match rng.randrange(4):
        case 0:
            return ends + rng.randbytes(8) + bytes((0x50, rng.choice((2, 0x12, 0x10, 4)))) + bytes(6), 6
        case 1:
            quic, stun = b"\xc0\0\0\0\1" + bytes(20), b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)
            return ends + bytes(4) + rng.choice((quic, stun, dns_query(rng), field(rng, 40))), 17
        case 2:
            return rng.choice((b"\x08\0", b"\x80\0", b"\x03\x03", b"\x85\0")) + bytes(6), rng.choice((1, 58))
    return field(rng, 40), rng.choice((2, 47, 132, 41))


def mutant(rng: Random, data: bytes, octets: Sequence[int] = OCTETS) -> bytes:
    """`data` with up to four bytes changed, removed, doubled or put in; seldom cut."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        # Most of the meaning stands in the first bytes.
        at = rng.randint(0, min(len(changed), rng.choice((16, 64, len(changed)))))
        octet = rng.choice(octets) if rng.random() < 0.7 else rng.randrange(256)
        match rng.randrange(9):
            case 0 | 1 | 2:
                changed[at : at + 1] = bytes((octet,))
            case 3 | 4:
                del changed[at : at + 1]
            case 5:
                changed[at:at] = changed[at : at + rng.randint(1, 8)]
            case 6 | 7:
                changed.insert(at, octet)
            case _:
                del changed[max(at, 1) :]
    return bytes(changed)
