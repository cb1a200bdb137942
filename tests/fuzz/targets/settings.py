"""Any settings file: the doctor reads it, and what `shim setup` puts into it is there once, however often it is put."""

from __future__ import annotations

import configparser
from collections.abc import Callable, Iterator
from random import Random

from fuzz.tape import Tape
from shim.address import Address
from shim.doctor import proxy_settings, settings_files, torrc
from shim.doctor.question import question, read_reply
from shim.setup.edits import NotEditable
from shim.setup.programs import PROGRAMS, recipe

COVERS = (
    "shim.doctor.proxy_settings",
    "shim.doctor.question",
    "shim.doctor.settings_files",
    "shim.doctor.torrc",
    "shim.setup.edits",
)

SOCKS = Address("127.0.0.1", 9250)
EDITS = {name: edits for name in PROGRAMS if (edits := recipe(name, SOCKS).edits) is not None}
ASKED = question(1, "a.test", 1)
READERS: tuple[Callable[[str], object], ...] = (
    *(lambda text, read=read: list(read(text)) for read in proxy_settings.READERS.values()),
    lambda text: list(proxy_settings.mozilla(text, text[::-1], text[:8])),
    lambda text: list(proxy_settings.environment({"ALL_PROXY": text})),
    lambda text: list(torrc.look("torrc", text, torrc.version(text))),
    settings_files.resolv_conf,
    settings_files.hosts_sources,
    lambda text: settings_files.resolved_conf([text, text]),
)


def one_input(data: bytes) -> None:
    """A byte for the edit, the rest is the file."""
    tape = Tape(data)
    program = tape.choose(tuple(EDITS))
    raw = tape.rest()
    text = raw.decode("utf-8", "surrogateescape")
    for read in READERS:
        read(text)
    read_reply(ASKED, ASKED[:2] + raw)
    try:
        once = EDITS[program].apply(text)
    except NotEditable as error:
        assert error.reason.startswith("setup.not_editable.")
        return
    assert EDITS[program].apply(once) == once
    if program == "pip":
        _check_pip(text, once)


def generate(rng: Random) -> bytes:
    lines = [rng.choice(LINES) for _ in range(rng.randint(0, 12))]
    text = rng.choice(("\n", "\n", "\r\n")).join(lines) + rng.choice(("", "\n"))
    return rng.randbytes(1) + text.encode("utf-8", "surrogateescape")


def _check_pip(before: str, after: str) -> None:
    """By the parser that pip reads it with: the proxy is ours, and nothing else has changed."""
    known = _read(before)
    if known is not None:
        now = _read(after)
        assert now is not None
        assert now["global"].pop("proxy") == recipe("pip", SOCKS).edits.steps[0].line.partition(" = ")[2]  # type: ignore[union-attr]
        known.setdefault("global", {}).pop("proxy", None)
        assert now == known


def _read(text: str) -> dict[str, dict[str, str | None]] | None:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    if parser.defaults():
        return None  # they stand in each section as well
    return {name: dict(parser[name]) for name in parser.sections()}


def _said() -> Iterator[str]:
    for name in PROGRAMS:
        for piece in recipe(name, SOCKS).pieces:
            yield from piece.text.splitlines()


LINES = (
    *_said(),
    "[section]",
    "[http] # x",
    "[ProxyList]",
    "socks5 127.0.0.1 9050",
    "proxy = socks4://user:secret@127.0.0.1:9050",
    "--socks5-hostname \\",
    "\tproxy = x",
    'Acquire::http::Proxy "socks5h://127.0.0.1:9050"; // x',
    "ProxyCommand nc -X 4 -x 127.0.0.1:9050 %h %p",
    'user_pref("network.proxy.type", 1);',
    'user_pref("network.proxy.socks", "127.0.0.1");',
    'user_pref("network.proxy.socks_remote_dns", ' + " " * 30 + ");",
    '{"ProxyMode": "fixed_servers", "ProxyServer": "socks5://127.0.0.1:9050"}',
    "[" * 50,
    "nameserver 127.0.0.1",
    "search a.test b.test",
    "hosts: files [NOTFOUND=return] dns",
    "[Resolve]",
    "DNS=127.0.0.1",
    "SafeSocks 1",
    "ORPort 9001",
    "Tor 0.4.8.1",
    "// shim setup: begin",
    "// shim setup: end",
    "/* x",
    "# x",
    "",
)
