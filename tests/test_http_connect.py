"""The HTTP CONNECT codec: each head whole, byte by byte and with bytes behind it."""

from __future__ import annotations

import base64
from ipaddress import IPv4Address, IPv6Address

import pytest
from feeding import Outcome, Refused, check_dead, check_three_ways, feed, split_at, whole
from hypothesis import given
from hypothesis import strategies as st
from socks_grammar import NAMES, PORTS

from shim.errors import LocalUsageError
from shim.model import Answer, Command, Credentials, Host, Protocol, Reply, Request
from shim.protocol import http_connect
from shim.protocol.http_connect import MAX_HEAD, HttpConnectServer

V4 = IPv4Address("1.2.3.4")
V6 = IPv6Address("2001:db8::1")


def asked(host: Host, port: int = 443, creds: Credentials | None = None) -> Request:
    return Request(Protocol.HTTP, Command.CONNECT, host, port, creds)


def connect(target: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join((f"CONNECT {target} HTTP/{version}", *headers, "", "")).encode("latin-1")


def basic(pair: bytes) -> str:
    return f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}"


def padded(size: int) -> bytes:
    """A CONNECT of exactly `size` bytes."""
    return connect("a:1", "X: " + "x" * (size - len(connect("a:1", "X: "))))


REQUESTS: list[tuple[str, bytes, Request]] = [
    ("a name", connect("example.com:443", "Host: example.com:443"), asked("example.com")),
    ("a name keeps its case and last dot", connect("ExAmple.COM.:443"), asked("ExAmple.COM.")),
    ("a dotted quad is an address", connect("1.2.3.4:80"), asked(V4, 80)),
    ("an IPv6 address in brackets", connect("[2001:db8::1]:443"), asked(V6)),
    ("IPv6 in capitals, with a dotted end", connect("[::FFFF:1.2.3.4]:1"), asked(IPv6Address("::ffff:1.2.3.4"), 1)),
    ("what only looks like an address", connect("1.2.3:80"), asked("1.2.3", 80)),
    ("leading zeros make it a name, as in Tor", connect("1.2.3.04:80"), asked("1.2.3.04", 80)),
    ("HTTP/1.0", connect("a:443", version="1.0"), asked("a")),
    ("port 0 is not the parser's business", connect("a:0"), asked("a", 0)),
    ("port 65535", connect("a:65535"), asked("a", 65535)),
    ("a Host that says something else", connect("a:443", "Host: localhost"), asked("a")),
    ("a length, but no body: what follows is the stream", connect("a:443", "Content-Length: 5"), asked("a")),
    ("credentials", connect("a:443", basic(b"user:pw")), asked("a", creds=Credentials(b"user", b"pw"))),
    ("the scheme in any case", connect("a:443", "proxy-AUTHORIZATION: bAsIc  dTpw"),
     asked("a", creds=Credentials(b"u", b"p"))),
    ("a password with colons", connect("a:443", basic(b"u:p:q")), asked("a", creds=Credentials(b"u", b"p:q"))),
    ("empty credentials", connect("a:443", basic(b":")), asked("a", creds=Credentials(b"", b""))),
    ("credentials of 255 bytes each, any bytes", connect("a:443", basic(b"\xff" * 255 + b":" + b"\x00" * 255)),
     asked("a", creds=Credentials(b"\xff" * 255, b"\x00" * 255))),
    ("another scheme is not ours", connect("a:443", "Proxy-Authorization: Bearer abc"), asked("a")),
    ("the destination's own authorization", connect("a:443", "Authorization: Basic dTpw"), asked("a")),
    ("a name of 255 bytes", connect("a" * 255 + ":443"), asked("a" * 255)),
    ("a head as long as it may be", padded(MAX_HEAD), asked("a", 1)),
]  # fmt: skip

# The status of the answer, or None for no answer at all.
REFUSALS: list[tuple[str, bytes, str, int | None, str | None]] = [
    ("SOCKS5", b"\x05\x01\x00", "not_http", None, "socks"),
    ("SOCKS4", b"\x04\x01\x00\x50", "not_http", None, "socks"),
    ("TLS", b"\x16\x03\x01", "not_http", None, "tls"),
    ("something else", b"\x00", "not_http", None, "unknown"),
    ("a method in small letters", b"connect a:443 HTTP/1.1\r\n\r\n", "not_http", None, "unknown"),
    ("a page through the proxy", b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_allowed", 405, None),
    ("a form through the proxy", b"POST http://a/ HTTP/1.1\r\nContent-Length: 3\r\n\r\n", "method_not_allowed", 405,
     None),
    ("a page of this very port", b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "method_not_allowed", None, None),
    ("the same with a harmless Host", b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n", "method_not_allowed", None, None),
    ("a form to this very port", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", "method_not_allowed", None, None),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n\r\n", "method_not_allowed", None, None),
    ("a WebSocket", b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "method_not_allowed", None,
     None),
    ("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\n", "method_not_allowed", None, None),
    ("no method at all", b"HELLO a:443 HTTP/1.1\r\n\r\n", "malformed_head", None, None),
    ("a malformed page", b"GET / HTTP/1.1\r\nbad header\r\n\r\n", "malformed_head", None, None),
    ("a malformed CONNECT", connect("a:443", "bad header"), "malformed_head", 400, None),
    ("a header name with a space", connect("a:443", "X : y"), "malformed_head", 400, None),
    ("a folded header", connect("a:443", "X: y", " z"), "malformed_head", 400, None),
    ("bare line feeds", b"CONNECT a:443 HTTP/1.1\n\n", "malformed_head", 400, None),
    ("a NUL in the target", connect("a\x00:443"), "malformed_head", 400, None),
    ("a target that is not ASCII", connect("b\xfcro:443"), "malformed_head", 400, None),
    ("HTTP/2.0", connect("a:443", version="2.0"), "malformed_head", 400, None),
    ("HTTP/0.9", b"CONNECT a:443\r\n\r\n", "malformed_head", 400, None),
    ("a length and chunks", connect("a:443", "Transfer-Encoding: chunked", "Content-Length: 5"), "malformed_head", 400,
     None),
    ("no port", connect("a"), "malformed_target", 400, None),
    ("an empty port", connect("a:"), "malformed_target", 400, None),
    ("a port too high", connect("a:65536"), "malformed_target", 400, None),
    ("a port too long", connect("a:000080"), "malformed_target", 400, None),
    ("a port of letters", connect("a:http"), "malformed_target", 400, None),
    ("IPv6 without brackets", connect("::1:443"), "malformed_target", 400, None),
    ("the absolute form", connect("http://a:443/"), "malformed_target", 400, None),
    ("a path", connect("/"), "malformed_target", 400, None),
    ("no host", connect(":443"), "malformed_name", 400, None),
    ("a malformed name", connect("-a:443"), "malformed_name", 400, None),
    ("userinfo", connect("u@a:443"), "malformed_name", 400, None),
    ("an IPv6 zone", connect("[fe80::1%25lo]:443"), "malformed_name", 400, None),
    ("a name in brackets", connect("[a]:443"), "malformed_name", 400, None),
    ("IPv4 in brackets", connect("[1.2.3.4]:443"), "malformed_name", 400, None),
    ("a name of 256 bytes", connect("a" * 256 + ":443"), "malformed_name", 400, None),
    ("credentials that are no base64", connect("a:443", "Proxy-Authorization: Basic a?b="), "malformed_auth", 400,
     None),
    ("base64 cut short", connect("a:443", "Proxy-Authorization: Basic dXNlcjpwd"), "malformed_auth", 400, None),
    ("credentials without a colon", connect("a:443", basic(b"user")), "malformed_auth", 400, None),
    ("credentials that are not ASCII", connect("a:443", "Proxy-Authorization: Basic \xfc"), "malformed_auth", 400,
     None),
    ("credentials twice", connect("a:443", basic(b"u:p"), basic(b"u:p")), "malformed_auth", 400, None),
    ("a username of 256 bytes", connect("a:443", basic(b"u" * 256 + b":")), "malformed_auth", 400, None),
    ("a password of 256 bytes", connect("a:443", basic(b":" + b"p" * 256)), "malformed_auth", 400, None),
    ("a head too long by one byte", padded(MAX_HEAD + 1), "head_too_long", 431, None),
    ("a head without end", padded(MAX_HEAD + 4)[:-4], "head_too_long", 431, None),
    ("a page's head without end", b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD, "head_too_long", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "head", "request_"), REQUESTS, ids=[vector[0] for vector in REQUESTS])
def test_request(sentence: str, head: bytes, request_: Request) -> None:
    check_three_ways(HttpConnectServer, head, Outcome(request_))


@pytest.mark.parametrize(
    ("sentence", "head", "error", "status", "protocol"), REFUSALS, ids=[vector[0] for vector in REFUSALS]
)
def test_refusal(sentence: str, head: bytes, error: str, status: int | None, protocol: str | None) -> None:
    codec = HttpConnectServer()
    refused = feed(codec, whole(head)).result
    check_dead(codec)
    assert isinstance(refused, Refused)
    assert (refused.error, refused.protocol) == (error, protocol)
    assert status_of(refused.reply) == status
    check_three_ways(HttpConnectServer, head, Outcome(refused))


def status_of(answer: bytes) -> int | None:
    """The status of a whole answer that closes the connection; None if nothing is answered."""
    if not answer:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    version, status, *_ = head.split(b" ")
    assert version == b"HTTP/1.1"
    assert b"Connection: close" in head.split(b"\r\n")
    assert b"Content-Length: %d" % len(body) in head.split(b"\r\n")
    return int(status)


def test_every_code_of_the_docstring_is_tested_and_no_other() -> None:
    documented = {line.split()[0] for line in (http_connect.__doc__ or "").splitlines() if line.startswith("    ")}
    assert documented == {vector[2] for vector in REFUSALS}


def test_the_405_says_what_is_allowed() -> None:
    refused = feed(HttpConnectServer(), [b"GET http://sentinel.example/ HTTP/1.1\r\n\r\n"]).result
    assert isinstance(refused, Refused)
    assert b"\r\nAllow: CONNECT\r\n" in refused.reply
    assert b"CONNECT only" in refused.reply


def waiting() -> HttpConnectServer:
    codec = HttpConnectServer()
    assert codec.receive_data(connect("sentinel.example:443")) is not None
    return codec


def test_success() -> None:
    codec = waiting()
    assert codec.data_to_send() == b""
    assert codec.reply(Answer(0, V4, 1)) == b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize(
    ("rep", "status"),
    [
        (1, 502),
        (2, 403),
        (3, 503),
        (4, 503),
        (5, 502),
        (6, 504),
        (7, 502),
        (8, 502),
        (0xF0, 502),
        (0xF7, 502),
        (99, 502),
    ],
)
def test_failures_get_the_nearest_status_and_keep_the_code(rep: int, status: int) -> None:
    answer = waiting().reply(Answer(rep, V4, 1))
    assert status_of(answer) == status
    assert answer.endswith(b"%02X\n" % rep)
    assert b"sentinel" not in answer


@pytest.mark.parametrize(("rep", "status"), [(Reply.NOT_ALLOWED, 403), (Reply.GENERAL_FAILURE, 502)])
def test_refuse(rep: Reply, status: int) -> None:
    assert status_of(waiting().refuse(rep)) == status


def test_a_request_is_answered_once_and_nothing_comes_after_it() -> None:
    codec = waiting()
    codec.refuse(Reply.NOT_ALLOWED)
    for wrong in (lambda: codec.refuse(Reply.NOT_ALLOWED), lambda: codec.receive_data(b"x")):
        with pytest.raises(LocalUsageError):
            wrong()


def test_there_is_no_reply_and_nothing_behind_before_a_request() -> None:
    codec = HttpConnectServer()
    assert codec.receive_data(b"") is None
    assert codec.receive_data(b"CONNECT") is None
    for wrong in (lambda: codec.refuse(Reply.NOT_ALLOWED), codec.trailing_data):
        with pytest.raises(LocalUsageError):
            wrong()


cut_lists = st.lists(st.integers(0, 400), max_size=6)


def check_invariant(data: bytes, cuts: list[int]) -> None:
    """Any bytes: a Request, a wait, or ProtocolError; the same however they are split; buffer bounded."""
    codec = HttpConnectServer()
    outcome = feed(codec, split_at(data, cuts))
    assert outcome == feed(HttpConnectServer(), whole(data))
    if outcome.result is None:
        assert len(codec._buffer) < MAX_HEAD
    elif isinstance(outcome.result, Refused):
        check_dead(codec)
    else:
        assert data.endswith(outcome.trailing)


@given(NAMES | st.ip_addresses(v=6), PORTS, st.binary(max_size=255), st.binary(max_size=255), cut_lists)
def test_a_legal_head_gives_its_request(
    host: str | IPv6Address, port: int, username: bytes, password: bytes, cuts: list[int]
) -> None:
    username = username.replace(b":", b"")
    authority = f"[{host}]:{port}" if isinstance(host, IPv6Address) else f"{host}:{port}"
    head = connect(authority, f"Host: {authority}", basic(username + b":" + password))
    expected = asked(host, port, Credentials(username, password))
    assert feed(HttpConnectServer(), split_at(head, cuts)).result == expected


FRAGMENTS = [b"CONNECT ", b"GET ", b"a:443", b"[::1]:1", b"http://a/", b"/", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n",
             b"Host: a\r\n", b"Proxy-Authorization: Basic ", b"dTpw", b"Content-Length: 3\r\n", b"\r\n\r\n", b"\x00",
             b"Transfer-Encoding: chunked\r\n", b": ", b" ", b"\xff", b"x" * 500]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=30), cut_lists)
def test_any_fragments(parts: list[bytes], cuts: list[int]) -> None:
    check_invariant(b"".join(parts), cuts)


@given(st.sampled_from([b"", b"CONNECT a:443 HTTP/1.1\r\n"]), st.integers(0, 80), st.binary(max_size=4), cut_lists)
def test_a_mutated_head(behind: bytes, at: int, octets: bytes, cuts: list[int]) -> None:
    head = bytearray(connect("example.com:443", basic(b"u:p")))
    head[at : at + len(octets)] = octets
    check_invariant(bytes(head) + behind, cuts)
