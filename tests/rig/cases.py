"""Wire inputs for the comparison with tor: a sentence, and what a client sends step by step.

Says nothing of what should come of them: tor says that, and the few known differences stand beside the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import count

from rig.wire import (
    BIND,
    CONNECT,
    GREETING,
    GREETING_AUTH,
    RESOLVE,
    RESOLVE_PTR,
    UDP_ASSOCIATE,
    auth,
    socks4,
    socks5,
)

Steps = tuple[bytes, ...]

_NUMBERS = count(1)
_V4, _V6 = int(IPv4Address("93.184.0.0")), int(IPv6Address("2001:db8::"))


@dataclass(frozen=True)
class Fresh:
    """An address nobody has asked for before: after one failed attempt tor stops judging an address."""

    v4: str
    v6: str
    mapped: str
    name: bytes

    @classmethod
    def new(cls) -> Fresh:
        """The next one."""
        number = next(_NUMBERS)
        v4 = str(IPv4Address(_V4 + number))
        return cls(v4, str(IPv6Address(_V6 + number)), f"::ffff:{v4}", f"n{number}.test".encode())


@dataclass(frozen=True)
class Case:
    """One input; tor answers each step before the next is sent."""

    sentence: str
    steps: Callable[[Fresh], Steps]


def _five(sentence: str, request: Callable[[Fresh], bytes]) -> Case:
    return Case(f"socks5 {sentence}", lambda fresh: (GREETING, request(fresh)))


def _four(sentence: str, request: Callable[[Fresh], bytes]) -> Case:
    return Case(sentence, lambda fresh: (request(fresh),))


def _auth(sentence: str, username: bytes, password: bytes) -> Case:
    return Case(f"auth {sentence}", lambda fresh: (GREETING_AUTH, auth(username, password), socks5(fresh.name, 80)))


def _names(sentence: str, name: bytes) -> tuple[Case, Case]:
    return _five(f"name {sentence}", lambda _: socks5(name, 80)), _four(
        f"socks4a name {sentence}", lambda _: socks4(name, 80)
    )


SOCKS4 = (
    _four("socks4 address", lambda f: socks4(f.v4, 80)),
    _four("socks4 address with a user id", lambda f: socks4(f.v4, 443, user=b"someone")),
    _four("socks4 address with a user id of 400 bytes", lambda f: socks4(f.v4, 80, user=b"u" * 400)),
    _four("socks4 address with a user id of 2000 bytes", lambda f: socks4(f.v4, 80, user=b"u" * 2000)),
    _four("socks4 address with early data", lambda f: socks4(f.v4, 80) + b"GET / HTTP/1.0\r\n\r\n"),
    _four("socks4 RESOLVE of an address", lambda f: socks4(f.v4, 80, RESOLVE)),
    _four("socks4 RESOLVE_PTR of an address", lambda f: socks4(f.v4, 80, RESOLVE_PTR)),
    _four("socks4 BIND of an address", lambda f: socks4(f.v4, 80, BIND)),
    _four("socks4 unknown command", lambda f: socks4(f.v4, 80, 9)),
    _four("socks4 port 0", lambda f: socks4(f.v4, 0)),
    _four("socks4 address 0.0.0.0", lambda f: socks4("0.0.0.0", 80)),
    _four("socks4 address 0.0.1.0 is no 4a mark", lambda f: socks4("0.0.1.0", 80)),
    _four("socks4 loopback address", lambda f: socks4("127.0.0.1", 80)),
    _four("socks4 private address", lambda f: socks4("10.1.2.3", 80)),
    _four("socks4a name", lambda f: socks4(f.name, 80)),
    _four("socks4a name with a user id", lambda f: socks4(f.name, 443, user=b"someone")),
    _four("socks4a name behind the mark 0.0.0.255", lambda f: b"\4\1\0\x50\0\0\0\xff\0" + f.name + b"\0"),
    _four("socks4a name with 300 bytes of early data", lambda f: socks4(f.name, 80) + b"x" * 300),
    _four("socks4a RESOLVE of a name", lambda f: socks4(f.name, 0, RESOLVE)),
    _four("socks4a BIND of a name", lambda f: socks4(f.name, 80, BIND)),
    _four("socks4a port 0", lambda f: socks4(f.name, 0)),
    _four("socks4a address as text", lambda f: socks4(f.v4.encode(), 80)),
    _four("socks4a IPv6 address as text", lambda f: socks4(f.v6.encode(), 80)),
)

SOCKS5 = (
    _five("name", lambda f: socks5(f.name, 80)),
    _five("name with early data", lambda f: socks5(f.name, 80) + b"GET / HTTP/1.0\r\n\r\n"),
    _five("IPv4 address", lambda f: socks5(f.v4, 80)),
    _five("IPv6 address", lambda f: socks5(f.v6, 80)),
    _five("IPv4-mapped IPv6 address", lambda f: socks5(f.mapped, 80)),
    _five("IPv4 address as text", lambda f: socks5(f.v4.encode(), 80)),
    _five("IPv6 address as text", lambda f: socks5(f.v6.encode(), 80)),
    _five("IPv6 address as text in brackets", lambda f: socks5(b"[" + f.v6.encode() + b"]", 80)),
    _five("IPv4 address as text in brackets", lambda f: socks5(b"[" + f.v4.encode() + b"]", 80)),
    _five("IPv4 address as one decimal number", lambda f: socks5(str(int(IPv4Address(f.v4))).encode(), 80)),
    _five("name, port 0", lambda f: socks5(f.name, 0)),
    _five("address, port 0", lambda f: socks5(f.v4, 0)),
    _five("loopback address", lambda f: socks5("127.0.0.1", 80)),
    _five("IPv6 loopback address", lambda f: socks5("::1", 80)),
    _five("link-local address", lambda f: socks5("fe80::1", 80)),
    _five("private address as text", lambda f: socks5(b"192.168.1.1", 80)),
    _five("name localhost", lambda f: socks5(b"localhost", 80)),
    _five("RESOLVE of a name", lambda f: socks5(f.name, 0, RESOLVE)),
    _five("RESOLVE of an IPv4 address", lambda f: socks5(f.v4, 0, RESOLVE)),
    _five("RESOLVE of an IPv6 address", lambda f: socks5(f.v6, 0, RESOLVE)),
    _five("RESOLVE of an address as text", lambda f: socks5(f.v4.encode(), 0, RESOLVE)),
    _five("RESOLVE_PTR of an IPv4 address", lambda f: socks5(f.v4, 0, RESOLVE_PTR)),
    _five("RESOLVE_PTR of an IPv6 address", lambda f: socks5(f.v6, 0, RESOLVE_PTR)),
    _five("RESOLVE_PTR of an address as text", lambda f: socks5(f.v4.encode(), 0, RESOLVE_PTR)),
    _five("RESOLVE_PTR of a name", lambda f: socks5(f.name, 0, RESOLVE_PTR)),
    _five("BIND", lambda f: socks5(f.v4, 80, BIND)),
    _five("BIND of a name", lambda f: socks5(f.name, 80, BIND)),
    _five("UDP ASSOCIATE", lambda f: socks5("0.0.0.0", 0, UDP_ASSOCIATE)),
    _five("unknown command 09", lambda f: socks5(f.name, 80, 9)),
    _five("unknown command 00", lambda f: socks5(f.v4, 80, 0)),
    _five("reserved byte not 0", lambda f: b"\5\1\1" + socks5(f.name, 80)[3:]),
    _five("unknown address type 02", lambda f: b"\5\1\0\2" + socks5(f.name, 80)[4:]),
    _five("unknown address type 00", lambda f: b"\5\1\0\0" + socks5(f.name, 80)[4:]),
    _five("request of version 4 behind a greeting of 5", lambda f: socks4(f.name, 80)),
    _five("embedded NUL in a name", lambda f: socks5(f.name + b"\0.other.test", 80)),
)

NAMES = (
    *_names("of 255 bytes", b"a" * 250 + b".test"),
    *_names("empty", b""),
    *_names("with a space", b"two words.test"),
    *_names("with an escape byte", b"a\x1b[31m.test"),
    *_names("not ASCII", "ü.test".encode()),
    *_names("with a leading hyphen", b"-a.test"),
    *_names("with a leading underscore", b"_dmarc.test"),
    *_names("with an inner underscore", b"a_b.test"),
    *_names("with an empty label", b"a..test"),
    *_names("with a leading dot", b".test"),
    *_names("with a trailing dot", b"a.test."),
    *_names("with two trailing dots", b"a.test.."),
    *_names("of one label", b"intranet"),
    *_names("with a label of 64 bytes", b"a" * 64 + b".test"),
    *_names("in upper case", b"UPPER.Test"),
    *_names("with a colon and a port", b"a.test:80"),
    *_names("with a slash", b"a.test/"),
    *_names("with a plus sign", b"a+b.test"),
    *_names("that is a wrong onion address", b"nothing.onion"),
    *_names("with .exit", b"a.test.somewhere.exit"),
    *_names("only a dot", b"."),
    *_names("that is digits and dots but no address", b"1.2.3.4.5"),
    *_names("empty brackets", b"[]"),
    *_names("in brackets", b"[a.test]"),
    *_names("IPv6 text with a zone", b"fe80::1%eth0"),
    _four("socks4a name of 256 bytes", lambda _: socks4(b"a" * 251 + b".test", 80)),
)

AUTH = (
    _auth("ordinary", b"user", b"password"),
    _auth("empty username", b"", b"password"),
    _auth("empty password", b"user", b""),
    _auth("both empty", b"", b""),
    _auth("both of 255 bytes", b"u" * 255, b"p" * 255),
    _auth("any bytes", bytes(range(256))[:255], bytes(range(255, 0, -1))),
    _auth("proposal 351, isolation only", b"<torS0X>0", b"isolated"),
    _auth("proposal 351, nothing behind the mark", b"<torS0X>", b"x"),
    _auth("proposal 351, object id", b"<torS0X>1", b"x"),
    _auth("proposal 351, more behind the 0", b"<torS0X>0abc", b"x"),
    Case("auth for an address", lambda f: (GREETING_AUTH, auth(b"u", b"p"), socks5(f.v4, 80))),
    Case("auth for a malformed name", lambda f: (GREETING_AUTH, auth(b"u", b"p"), socks5(b"a b", 80))),
    Case("auth with a wrong version", lambda f: (GREETING_AUTH, b"\5" + auth(b"u", b"p")[1:])),
    Case("both methods offered", lambda f: (b"\5\2\0\2", auth(b"u", b"p"), socks5(f.name, 80))),
    Case("no auth and GSSAPI offered", lambda f: (b"\5\2\1\0", socks5(f.name, 80))),
    Case("the same method many times", lambda f: (b"\5\xff" + bytes(255), socks5(f.name, 80))),
    Case("only GSSAPI offered", lambda f: (b"\5\1\1",)),
    Case("no methods offered", lambda f: (b"\5\0",)),
    Case("auth that nobody asked for", lambda f: (GREETING, auth(b"u", b"p"), socks5(f.name, 80))),
    Case("auth before any greeting", lambda f: (auth(b"u", b"p"),)),
    Case("greeting sent twice", lambda f: (GREETING, GREETING, socks5(f.name, 80))),
)

FOREIGN = (
    Case("HTTP request", lambda f: (b"GET http://" + f.name + b"/ HTTP/1.1\r\n\r\n",)),
    Case("HTTP CONNECT", lambda f: (b"CONNECT " + f.name + b":443 HTTP/1.1\r\n\r\n",)),
    Case("TLS hello", lambda f: (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",)),
    Case("SSH banner", lambda f: (b"SSH-2.0-OpenSSH_9.2\r\n",)),
    Case("version 6", lambda f: (b"\6\1\0",)),
    Case("version 0", lambda f: (b"\0\0\0\0",)),
)

CASES = (*SOCKS4, *SOCKS5, *NAMES, *AUTH, *FOREIGN)
assert CONNECT == 1 and len({case.sentence for case in CASES}) == len(CASES)
