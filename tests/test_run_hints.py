"""`shim run` that looks up nobody: what real programs offer in the handshake still tells what they resemble."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.programs import require_program
from rig.shim import Shim
from rig.upstream import Upstream

URL = "http://93.184.216.34/"
JAVA = """
import java.net.*;
public class Ask {
    public static void main(String[] to) throws Exception {
        Proxy proxy = new Proxy(Proxy.Type.SOCKS, new InetSocketAddress("127.0.0.1", Integer.parseInt(to[0])));
        new Socket(proxy).connect(new InetSocketAddress("93.184.216.34", 80), 5000);
    }
}
"""


@pytest.fixture(scope="module")
def unseeing(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim]:
    config = tmp_path_factory.mktemp("hints") / "shim.toml"
    config.write_text("[log]\nattribution = false\n")
    with Shim(config=config, upstream=upstream.address) as shim:
        yield shim


def asked(program: str, folder: Path, shim: Shim) -> list[str]:
    """The command that gives an address to the proxy."""
    address = shim.ready["socks"][0]
    port = address.rpartition(":")[2]
    (folder / "Ask.java").write_text(JAVA)
    return {
        "curl": ["curl", "-sS", "-m", "5", "--socks5", address, URL],
        "git": ["git", "-c", f"http.proxy=socks5://{address}", "ls-remote", URL],
        "java": ["java", str(folder / "Ask.java"), port],
        "java, SOCKS4": ["java", "-DsocksProxyVersion=4", str(folder / "Ask.java"), port],
        "socat": ["socat", "-t1", "/dev/null", f"SOCKS4:127.0.0.1:93.184.216.34:80,socksport={port}"],
        "nc": ["nc", "-X", "5", "-x", address, "-w", "1", "93.184.216.34", "80"],
    }[program]


@pytest.mark.parametrize(
    ("program", "offers", "hint"),
    [
        ("curl", "00 01", "like_libcurl"),
        ("git", "00 01", "like_libcurl"),
        ("java", "00 02 empty", "like_java"),
        ("java, SOCKS4", "userid", "like_java_or_socat"),
        ("socat", "userid", "like_java_or_socat"),
        ("nc", "00", None),
    ],
)
def test_what_it_resembles(program: str, offers: str, hint: str | None, unseeing: Shim, tmp_path: Path) -> None:
    command = asked(program, tmp_path, unseeing)
    require_program(command[0])
    mark = unseeing.mark()
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, timeout=30, check=False, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}, **quiet)  # type: ignore[call-overload]
    line = unseeing.wait_for("request_decided", mark)
    assert line["offers"] == offers
    found = unseeing.wait_for("leak_found", mark, conn=line["conn"])
    assert (found["process"], found["process_reason"], found["confidence"]) == (None, "off", "possible")
    assert [code for code in found["evidence"] if code.startswith("like_")] == ([hint] if hint else [])
    assert found["advice"].startswith("if this is ") is (hint is not None)


def test_a_name_comes_without_what_was_offered(unseeing: Shim) -> None:
    """What is safe leaves no trace of the program."""
    require_program("curl")
    mark = unseeing.mark()
    proxy = unseeing.ready["socks"][0]
    subprocess.run(["curl", "-sS", "-m", "5", "--socks5-hostname", proxy, "http://a.test/"], check=False)
    assert "offers" not in unseeing.wait_for("request_decided", mark)
