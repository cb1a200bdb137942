"""`shim check` and programs that a preloaded library, or a look at the program alone, would miss.

Everything runs in namespaces of their own: no packet leaves this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rig.programs import missing, require_namespaces, require_program
from test_check import RAW_QUERY, STATIC, URL, check, packets, python, report

from shim.lab.isolation import probe


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if (refused := probe()) is not None:
        missing(f"needs namespaces: {refused}")


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program without a dynamic linker: no library can be put before its own."""
    folder = tmp_path_factory.mktemp("static")
    source, program = folder / "raw.c", folder / "raw"
    source.write_text(STATIC, encoding="ascii")
    built = subprocess.run([require_program("gcc"), "-static", "-o", program, source], capture_output=True, check=False)
    if built.returncode:
        missing("needs a static libc")
    return str(program)


@pytest.mark.parametrize("wrapper", ["torsocks", "proxychains4"])
def test_what_a_wrapper_does_not_catch_is_caught(wrapper: str, static: str, tmp_path: Path) -> None:
    conf = tmp_path / "chain.conf"
    conf.write_text("strict_chain\nquiet_mode\nproxy_dns\n[ProxyList]\nsocks5 127.0.0.1 9250\n")
    options = ["-f", str(conf)] if wrapper == "proxychains4" else []
    status, plain = report("--", require_program(wrapper), *options, static)
    assert (status, packets(plain)) == (1, {("dns", "8.8.4.4:53")})


RESOLVER = f"""
import os, socket
name = f"\\0asked-{{os.getpid()}}"
listener = socket.socket(socket.AF_UNIX)
listener.bind(name)
listener.listen()
if not os.fork():
    asker, _ = listener.accept()
    asker.recv(100)
    {RAW_QUERY.strip().replace(chr(10), chr(10) + "    ")}
    asker.sendall(b"192.0.2.1")
    asker.recv(100)
    os._exit(0)
asker = socket.socket(socket.AF_UNIX)
asker.connect(name)
asker.sendall(b"secret.example")
print("resolver:", os.getpid(), asker.recv(100))
"""


def test_a_query_by_way_of_an_abstract_socket_is_caught() -> None:
    """Its own helper's query is seen where it leaves; a helper outside is out of reach, and the report says both."""
    status, plain = report(*python(RESOLVER))
    assert (status, packets(plain)) == (1, {("dns", "8.8.8.8:53")})
    assert plain["leaks"][0]["name"] == "secret.example"
    covered = {each["code"] for each in plain["covered"]}
    assert {"abstract_sockets", "children"} <= covered
    assert "path_sockets" in {each["code"] for each in plain["not_covered"]}


def elsewhere(change: str) -> tuple[str, ...]:
    """Words before a command: the same machine, where something has been changed for this command alone."""
    require_namespaces()
    return ("unshare", "-rm", "sh", "-c", f'{change} && exec "$0" "$@"')


def test_the_resolvers_of_the_machine_are_out_of_reach() -> None:
    """Here nscd, which would ask in the program's place, from outside: its socket is not there."""
    prefix = elsewhere("mount -t tmpfs none /run && mkdir /run/nscd && touch /run/nscd/socket")
    code = "import os; print(os.listdir('/run/nscd'))"
    status, plain = report(*python(code), prefix=prefix)
    assert (status, plain["isolation"]["hidden"][:1]) == (3, ["/run/nscd"])
    assert "helpers" in {each["code"] for each in plain["covered"]}
    assert check(*python(code), prefix=prefix).stderr == "[]\n"


@pytest.mark.parametrize("code", [RAW_QUERY, "import socket; socket.socket().connect_ex(('8.8.8.8', 53))"])
def test_without_a_tun_device_packets_are_seen_all_the_same(code: str) -> None:
    status, plain = report(*python(code), prefix=elsewhere("mount -t tmpfs none /dev/net"))
    assert plain["isolation"]["trap"] == "veth"
    assert (status, packets(plain)) == (1, {("dns", "8.8.8.8:53")})


GROUP = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('224.0.0.251', 5353))
s.sendto(bytes(12), ('224.0.0.251', 5353))
time.sleep(2)
"""


def test_who_is_bound_to_a_group_is_named() -> None:
    """As Chromium is, for multicast DNS."""
    status, plain = report(*python(GROUP))
    assert (status, packets(plain)) == (1, {("mdns", "224.0.0.251:5353")})
    assert plain["leaks"][0]["process"]["name"].startswith("python")


CONNECT = """
import socket, sys
s = socket.create_connection(("127.0.0.1", 9250))
host = b"www.example.org"
s.sendall(b"\\5\\1\\0" + b"\\5\\1\\0\\3" + bytes((len(host),)) + host + b"\\0P")
sys.exit(s.recv(2) != b"\\5\\0")
"""
WELL_BEHAVED = (
    ("curl", "-sS", "--fail", "-o", "/dev/null", "-x", "{proxy_url}"),
    ("curl", "-sS", "--fail", "-o", "/dev/null", "--socks4a", "{socks_host}:{socks_port}"),
    ("curl", "-sS", "--fail", "-o", "/dev/null", "-p", "-x", "{http_proxy_url}"),
    (sys.executable, "-c", CONNECT),
)
RUNS = int(os.environ.get("SHIM_CHECK_RUNS", "20"))
"""Of each turn of CI; 100 by hand: SHIM_CHECK_RUNS=100."""


def test_who_behaves_well_is_never_accused() -> None:
    require_program("curl")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(lambda number: check("--", *WELL_BEHAVED[number % len(WELL_BEHAVED)], URL), range(RUNS))
        for done in runs:
            assert done.returncode == 0, done.stdout + done.stderr
