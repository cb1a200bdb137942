"""Who is measured: the command that starts each server, how it is spoken to, its name and version.

A chaining peer speaks SOCKS5 to the bench's upstream, as the shim does; a direct one connects to the destination
by itself and so saves a handshake; haproxy parses nothing and only forwards. Never starts a server.
"""

from __future__ import annotations

import random
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import prepare
from prepare import Missing

ROOT = prepare.HERE.parent
NAME = "bench.test"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Peer:
    """One row of the tables. `command` is empty for the run without any relay."""

    name: str
    kind: str  # how it works: "chains", "direct" (connects itself), "forwards" (no parsing), "no relay"
    version: str
    port: int
    command: tuple[str, ...] = ()
    via: str = "socks5"
    host: str = NAME
    only: frozenset[str] = frozenset()  # the tests it takes part in; empty: all


@dataclass(frozen=True)
class Site:
    """Where a run takes place: the upstream's ports, a folder for configurations, the user's options."""

    ports: dict[str, int]
    folder: Path
    python: str | None = None
    variants: dict[str, str] = field(default_factory=dict)  # name -> further arguments of `shim run`

    @property
    def upstream(self) -> int:
        return self.ports["socks"]

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


def free_port() -> int:
    """A free port below the ephemeral range, which the load itself uses up."""
    for _ in range(200):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise Missing("no free port")


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if not found:
        raise Missing(f"{name} is not on PATH")
    return found


# --- the rows ------------------------------------------------------------------------------------------------------


def shim(site: Site, name: str = "shim", extra: str = "", launch: tuple[str, ...] = ()) -> Peer:
    """`shim run` with further arguments; without any, the settings are those that everybody gets who sets nothing."""
    program = ROOT / ".venv" / "bin" / "shim"
    if not program.exists():
        raise Missing(".venv/bin/shim is not installed")
    port = free_port()
    command = ["run", "--socks", f"{LOOPBACK}:{port}", "--upstream", f"{LOOPBACK}:{site.upstream}"]
    version = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    started = launch or (str(program),)
    return Peer(name, "chains", version.stdout.strip() or "unknown", port, (*started, *command, *shlex.split(extra)))


def _direct(site: Site) -> Peer:
    return Peer("direct", "no relay", "", site.upstream)


def _haproxy(site: Site, name: str = "haproxy", splice: bool = True) -> Peer:
    program, port = _program("haproxy"), free_port()
    options = "option splice-request\n  option splice-response" if splice else "no option splice-auto"
    text = f"""global
  nbthread 1
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  {options}
listen relay
  bind {LOOPBACK}:{port}
  server upstream {LOOPBACK}:{site.upstream}
"""
    path = site.write(f"{name}.cfg", text)
    version = prepare.program_version(program, "haproxy", "-v")
    return Peer(name, "forwards", version, port, (program, "-db", "-q", "-f", path))


def _haproxy_copy(site: Site) -> Peer:
    return _haproxy(site, "haproxy-copy", splice=False)


def _microsocks(_: Site) -> Peer:
    program, port = _program("microsocks"), free_port()
    version = prepare.program_version(program, "microsocks")
    return Peer("microsocks", "direct", version, port, (program, "-i", LOOPBACK, "-p", str(port)), host=LOOPBACK)


def _dante(site: Site) -> Peer:
    try:
        program = _program("danted")
    except Missing:
        program = _program("sockd")
    port = free_port()
    pass_all = "from: 127.0.0.0/8 to: 0.0.0.0/0"
    text = f"""logoutput: /dev/null
internal: {LOOPBACK} port = {port}
external: {LOOPBACK}
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ {pass_all} }}
socks pass {{ {pass_all} }}
"""
    path = site.write("dante.conf", text)
    version = prepare.program_version(program, "dante-server", "-v")
    pid_file = str(site.folder / "dante.pid")
    return Peer("dante", "direct", version, port, (program, "-f", path, "-p", pid_file), host=LOOPBACK)


def _three_proxy(site: Site) -> Peer:
    program, port = _program("3proxy"), free_port()
    text = f"""maxconn 20000
fakeresolve
auth iponly
allow *
parent 1000 socks5+ {LOOPBACK} {site.upstream}
socks -p{port} -i{LOOPBACK}
"""
    path = site.write("3proxy.cfg", text)
    return Peer("3proxy", "chains", prepare.program_version(program, "3proxy", "--version"), port, (program, path))


def _sing_box(site: Site) -> Peer:
    program, port = _program("sing-box"), free_port()
    text = f"""{{"log": {{"disabled": true}},
"inbounds": [{{"type": "socks", "listen": "{LOOPBACK}", "listen_port": {port}}}],
"outbounds": [{{"type": "socks", "server": "{LOOPBACK}", "server_port": {site.upstream}, "version": "5"}}]}}
"""
    path = site.write("sing-box.json", text)
    version = prepare.program_version(program, "sing-box", "version")
    return Peer("sing-box", "chains", version, port, (program, "run", "-c", path))


def _pproxy(site: Site) -> Peer:
    # uvloop 0.20 and later give no event loop outside a running one, and pproxy 2.7 asks for it there.
    bin_dir = prepare.environment("pproxy", ("pproxy==2.7.9", "uvloop==0.19.0"), prepare.sys.executable)
    port = free_port()
    uris = ("-l", f"socks5://{LOOPBACK}:{port}", "-r", f"socks5://{LOOPBACK}:{site.upstream}")
    version = prepare.installed_version(bin_dir, "pproxy") + ", uvloop 0.19.0"
    return Peer("pproxy", "chains", version, port, (str(bin_dir / "pproxy"), *uris))


def _asyncio_socks_server(site: Site, name: str = "asyncio-socks-server", which: str = "") -> Peer:
    python = prepare.newest_python(site.python)
    bin_dir = prepare.environment(name, ("asyncio-socks-server" + which,), python)
    version = prepare.installed_version(bin_dir, "asyncio-socks-server")
    port = free_port()
    quiet = () if version.startswith("0.") else ("--log-level", "ERROR")
    command = (str(bin_dir / "asyncio_socks_server"), "--host", LOOPBACK, "--port", str(port), *quiet)
    return Peer(name, "direct", version, port, command, host=LOOPBACK)


def _asyncio_socks_server_0(site: Site) -> Peer:
    """The old series, a protocol per connection: fast, but its checks of a server that speaks first fail."""
    return _asyncio_socks_server(site, "asyncio-socks-server-0.3", "==0.3.0")


ROWS: dict[str, Callable[[Site], Peer]] = {
    "shim": shim,
    "direct": _direct,
    "haproxy": _haproxy,
    "microsocks": _microsocks,
    "dante": _dante,
    "3proxy": _three_proxy,
    "sing-box": _sing_box,
    "pproxy": _pproxy,
    "asyncio-socks-server": _asyncio_socks_server,
    "haproxy-copy": _haproxy_copy,
    "asyncio-socks-server-0.3": _asyncio_socks_server_0,
}
BY_DEFAULT = tuple(ROWS)[:9]
