"""A sentinel goes through every path and every error: while scrubbing is on, no output of the shim shows it.

Host names, addresses and credentials all carry it; a last test shows that it would be found.
"""

from __future__ import annotations

import base64
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.shim import Shim
from rig.upstream import Behaviour, Upstream
from rig.waiting import until
from rig.wire import (
    BIND,
    GREETING,
    GREETING_AUTH,
    RESOLVE,
    RESOLVE_PTR,
    UDP_ASSOCIATE,
    Client,
    ask,
    auth,
    http_connect,
    socks4,
    socks5,
)

WORD = "s3ntinel"
NAME = f"{WORD}.test".encode()
V4, V6 = "198.51.100.77", "2001:db8:5e17::77"
SECRETS = [
    WORD,
    *(WORD.encode().hex(), base64.b64encode(WORD.encode()).decode()[:10], f"{WORD}:{WORD}".encode().hex()),
    *(V4, bytes(map(int, V4.split("."))).hex(), "5e17"),
]
BASIC = f"Proxy-Authorization: Basic {base64.b64encode(f'{WORD}:{WORD}'.encode()).decode()}"
HOST_HEADER = f"GET /{WORD} HTTP/1.1\r\nHost: {WORD}.test\r\nCookie: {WORD}\r\n\r\n".encode()


def hello() -> bytes:
    """A TLS ClientHello that names the sentinel in its SNI."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=NAME.decode())
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def five(host: str | bytes, port: int = 443, command: int = 1, after: bytes = b"") -> bytes:
    return GREETING + socks5(host, port, command) + after


SOCKS_INPUTS = {
    "name": five(NAME),
    "4a name": socks4(NAME, 80, user=WORD.encode()),
    "long user id": socks4(NAME, 80, user=WORD.encode() * 60),
    "credentials": GREETING_AUTH + auth(WORD.encode(), WORD.encode()) + socks5(NAME, 80),
    "refused credentials": GREETING_AUTH + auth(b"<torS0X>" + WORD.encode(), WORD.encode()) + socks5(NAME, 80),
    "broken credentials": GREETING_AUTH + b"\7" + WORD.encode(),
    "address": five(V4),
    "address, 4": socks4(V4, 80, user=WORD.encode()),
    "address 6": five(V6),
    "address as text": five(V4.encode()),
    "address as a number": five(str(int.from_bytes(bytes(map(int, V4.split("."))))).encode()),
    "address, then SNI": five(V4, after=hello()),
    "address, then Host": five(V4, 80, after=HOST_HEADER),
    "name, then Host": five(NAME, 80, after=HOST_HEADER),
    "plaintext port": five(NAME, 23),
    "onion": five(WORD.encode() + b".onion"),
    "local": five(WORD.encode() + b".local"),
    "localhost": five(WORD.encode() + b".localhost"),
    "resolve": five(NAME, 0, RESOLVE),
    "resolve an address": five(V4, 0, RESOLVE),
    "reverse": five(V4, 0, RESOLVE_PTR),
    "reverse of a name": five(NAME, 0, RESOLVE_PTR),
    "bind": five(NAME, 80, BIND),
    "udp": five(NAME, 80, UDP_ASSOCIATE),
    "unknown command": five(NAME, 80, 9),
    "4a unknown command": socks4(NAME, 80, 9),
    "space": five(WORD.encode() + b" x.test"),
    "escape": five(b"\x1b[31m" + NAME),
    "newline": five(b"\n" + NAME),
    "not UTF-8": five(b"\xff\xfe" + NAME),
    "NUL": five(NAME + b"\0" + NAME),
    "4a malformed": socks4(b"-" + NAME, 80),
    "too long": socks4(WORD.encode() * 40, 80),
    "unknown atyp": GREETING + b"\5\1\0\7" + NAME,
    "unknown method": b"\5\x08" + WORD.encode(),
    "half": GREETING + socks5(NAME, 80)[:-4],
    "http": HOST_HEADER,
    "http proxy": f"GET http://{WORD}.test/ HTTP/1.1\r\nHost: {WORD}.test\r\n\r\n".encode(),
    "tls": hello(),
    "garbage": WORD.encode() * 100,
    "refused": five(b"no." + NAME),
    "upstream says garbage": five(b"garbage." + NAME),
    "upstream says nothing": five(b"nothing." + NAME),
}
HTTP_INPUTS = {
    "connect": http_connect(f"{WORD}.test:443"),
    "credentials": http_connect(f"{WORD}.test:443", BASIC),
    "broken credentials": http_connect(f"{WORD}.test:443", f"Proxy-Authorization: {WORD}"),
    "address": http_connect(f"{V4}:443"),
    "address 6": http_connect(f"[{V6}]:443"),
    "local": http_connect(f"{WORD}.local:443"),
    "bad port": http_connect(f"{WORD}.test:{WORD}"),
    "no port": http_connect(f"{WORD}.test"),
    "get": HOST_HEADER,
    "user info": http_connect(f"{WORD}@{WORD}.test:443"),
    "malformed": f"CONNECT {WORD} x y z\r\n{WORD}\r\n\r\n".encode(),
    "huge": http_connect(f"{WORD}.test:443", *(f"X-{WORD}: {WORD}" for _ in range(2000))),
    "socks": five(NAME),
    "refused": http_connect(f"no.{WORD}.test:443"),
}


@pytest.fixture(scope="module")
def spiteful() -> Iterator[Upstream]:
    """An upstream that repeats the sentinel in its own mistakes."""
    with Upstream() as server:
        server.behave[f"no.{WORD}.test"] = Behaviour(reply=4)
        server.behave[f"garbage.{WORD}.test"] = Behaviour(stop_at="reply", say=WORD.encode() * 40)
        server.behave[f"nothing.{WORD}.test"] = Behaviour(stop_at="reply")
        yield server


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize(
    ("mode", "level"),
    [("warn", "debug"), ("warn", "info"), ("warn", "warning"), ("block", "debug"), ("repair", "debug")],
)
def test_nothing_shows_the_sentinel(mode: str, log_format: str, level: str, spiteful: Upstream, tmp_path: Path) -> None:
    with started(mode, level, log_format, spiteful, tmp_path) as shim:
        send_everything(shim, tmp_path)
    said = shim.stderr.lower()
    assert said.strip(), "it has said something"
    assert [secret for secret in SECRETS if secret.lower() in said] == []


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nor_with_the_upstream_away(log_format: str, tmp_path: Path) -> None:
    with Upstream() as gone:
        pass
    with started("warn", "debug", log_format, gone, tmp_path) as shim:
        send_everything(shim, tmp_path)
    assert [secret for secret in SECRETS if secret.lower() in shim.stderr.lower()] == []


def test_it_would_be_found(spiteful: Upstream, tmp_path: Path) -> None:
    """With --reveal the destinations do show, and of the credentials still nothing."""
    with started("warn", "debug", "json", spiteful, tmp_path, reveal=True) as shim:
        send_everything(shim, tmp_path)
        shim.decided(destination=f"{WORD}.test:80")
        shim.decided(destination=f"{V4}:443")
    basic = base64.b64encode(f"{WORD}:{WORD}".encode()).decode()
    assert basic not in shim.stderr
    assert f"{WORD}:{WORD}" not in shim.stderr


def started(mode: str, level: str, log_format: str, upstream: Upstream, folder: Path, reveal: bool = False) -> Shim:
    """A shim on unix sockets: their paths are known even where no `ready` line can be read."""
    config = folder / "shim.toml"
    config.write_text("[limits]\nhandshake_timeout_s = 0.5\n")
    return Shim(
        *("--mode", mode, "--log-level", level, "--http", f"unix:{folder}/http"),
        socks=[f"unix:{folder}/socks"],
        config=config,
        log_format=log_format,
        upstream=upstream.address,
        reveal=reveal,
    )


def wait_for_sockets(folder: Path) -> None:
    until(lambda: all((folder / name).exists() for name in ("socks", "http")), "its sockets")


def send_everything(shim: Shim, folder: Path) -> None:
    """Each input, whole and cut short, then to the end of what comes back."""
    wait_for_sockets(folder)
    for name, inputs in (("socks", SOCKS_INPUTS), ("http", HTTP_INPUTS)):
        where = f"unix:{folder}/{name}"
        for data in inputs.values():
            with Client(where) as client:
                client.send(data[:-1])
            with Client(where) as client:
                client.send(data)
                client.end()
                client.read_all()
    assert ask(f"unix:{folder}/socks", (b"\6", 0)) == b""


TITLED = """
import socket, sys
with open("/proc/self/comm", "w") as title:
    title.write(sys.argv[2])
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(bytes.fromhex("050100 05010001 5db8d822 0050"))
while client.recv(100):
    pass
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="titles are read from /proc")
@pytest.mark.parametrize("title", [WORD, f"{WORD}.test", f"npm view {WORD}", f"x {WORD}"])
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nor_what_a_program_calls_itself(title: str, log_format: str, spiteful: Upstream, tmp_path: Path) -> None:
    """npm has the package that it fetches in its name, others may have a destination."""
    with started("block", "debug", log_format, spiteful, tmp_path) as shim:
        wait_for_sockets(tmp_path)
        subprocess.run([sys.executable, "-c", TITLED, str(tmp_path / "socks"), title], timeout=20, check=True)
        shim.stop()
    assert WORD not in shim.stderr
    assert ("npm" if title.startswith("npm") else "python") in shim.stderr
