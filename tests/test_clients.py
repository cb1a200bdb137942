"""Real programs through the shim: each sees its page or the refusal it should, and the log says what it exposed.

Programs, shim and all run in a namespace without a network, whose hosts file is the local resolver; the way out is
a unix socket to the tests' own upstream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rig.clients import (
    Command,
    Program,
    Task,
    chromium,
    curl,
    curl_tunnel,
    firefox,
    privoxy,
    proxychains,
    requests,
    socat,
    torsocks,
)
from rig.namespace import Namespace
from rig.programs import require_namespaces, require_program
from rig.shim import Line, Shim
from rig.upstream import Upstream

pytestmark = pytest.mark.clients

LISTED, UNLISTED, LITERAL = "page.test", "unlisted.test", "93.184.216.99"
ADDRESS_OF_LISTED = "93.184.216.34"
KINDS = {"address": "address_only", "address_as_text": "address_as_text"}


@dataclass(frozen=True)
class Row:
    """A program and its setting, what it was asked for, and what that must look like from here."""

    label: str
    program: Program
    host: str
    protocol: str
    exposure: str

    def __str__(self) -> str:
        return f"{self.label}-{ {LISTED: 'name', UNLISTED: 'name', LITERAL: 'literal'}[self.host] }"

    @property
    def asked(self) -> str:
        """The destination that the shim must see."""
        return ADDRESS_OF_LISTED if self.host == LISTED and self.exposure == "address" else self.host


ROWS = [
    Row("curl --socks4", curl("--socks4"), LISTED, "socks4", "address"),
    Row("curl --socks4", curl("--socks4"), LITERAL, "socks4", "address"),
    Row("curl --socks4a", curl("--socks4a"), LISTED, "socks4a", "name"),
    Row("curl --socks4a", curl("--socks4a"), LITERAL, "socks4a", "address_as_text"),
    Row("curl --socks5", curl("--socks5"), LISTED, "socks5", "address"),
    Row("curl --socks5", curl("--socks5"), LITERAL, "socks5", "address"),
    Row("curl --socks5-hostname", curl("--socks5-hostname"), LISTED, "socks5", "name"),
    Row("curl --socks5-hostname", curl("--socks5-hostname"), LITERAL, "socks5", "address"),
    Row("curl --proxytunnel", curl_tunnel, LISTED, "http", "name"),
    Row("curl --proxytunnel", curl_tunnel, LITERAL, "http", "address"),
    Row("socat SOCKS4", socat("SOCKS4"), LISTED, "socks4", "address"),
    Row("socat SOCKS4A", socat("SOCKS4A"), LISTED, "socks4a", "name"),
    Row("proxychains4 socks4", proxychains("socks4", proxy_dns=False), LISTED, "socks4", "address"),
    Row("proxychains4 socks5", proxychains("socks5", proxy_dns=False), LISTED, "socks5", "address"),
    Row("proxychains4 socks5 proxy_dns", proxychains("socks5", proxy_dns=True), UNLISTED, "socks5", "name"),
    Row("requests socks4", requests("socks4"), LISTED, "socks4", "address"),
    Row("requests socks4a", requests("socks4a"), LISTED, "socks4a", "name"),
    Row("requests socks5", requests("socks5"), LISTED, "socks5", "address"),
    Row("requests socks5h", requests("socks5h"), LISTED, "socks5", "name"),
    Row("privoxy forward-socks4", privoxy("forward-socks4"), LISTED, "socks4", "address"),
    Row("privoxy forward-socks4a", privoxy("forward-socks4a"), LISTED, "socks4a", "name"),
    Row("privoxy forward-socks5", privoxy("forward-socks5"), LISTED, "socks5", "name"),
    Row("privoxy forward-socks5t", privoxy("forward-socks5t"), LISTED, "socks5", "name"),
    Row("chromium socks4://", chromium("socks4"), LISTED, "socks4", "address"),
    Row("chromium socks5://", chromium("socks5"), UNLISTED, "socks5", "name"),
    Row("chromium socks5://", chromium("socks5"), LITERAL, "socks5", "address_as_text"),
    Row("firefox v5", firefox(5), UNLISTED, "socks5", "name"),
    Row("firefox v5", firefox(5), LITERAL, "socks5", "address_as_text"),
    Row("firefox v5 local DNS", firefox(5, socks5_remote_dns=False), LISTED, "socks5", "address"),
    Row("firefox v5 local DNS", firefox(5, socks5_remote_dns=False), LITERAL, "socks5", "address"),
    Row("firefox v4", firefox(4), LISTED, "socks4", "address"),
    Row("firefox v4 remote DNS", firefox(4, socks_remote_dns=True), UNLISTED, "socks4a", "name"),
]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    require_namespaces()
    with Namespace(tmp_path_factory.mktemp("space"), {LISTED: ADDRESS_OF_LISTED}) as namespace:
        yield namespace


@pytest.fixture(params=["warn", "block"])
def shim(request: pytest.FixtureRequest, upstream: Upstream, space: Namespace) -> Iterator[Shim]:
    """A shim for each test: what the one before has resolved or repeated must not count."""
    argv = ("--mode", request.param, "--http", "127.0.0.1:0")
    with Shim(*argv, upstream=upstream.unix, prefix=space.prefix) as process:
        yield process


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_program_shows_what_it_exposes(
    row: Row, shim: Shim, upstream: Upstream, space: Namespace, tmp_path: Path
) -> None:
    before = len(upstream.asked_for(row.asked))
    refused = row.exposure == "address" and shim.ready["mode"] == "block"
    command = row.program(Task(row.host, shim.socks, shim.http, tmp_path))
    got_page = fetch(command, row.asked, refused, shim, space)
    line = shim.decided(destination=f"{row.asked}:80")
    assert (line["protocol"], line["exposure"]) == (row.protocol, row.exposure)
    assert line["action"] == ("block" if refused else "forward")
    assert_found(shim, line)
    asked = upstream.asked_for(row.asked)[before:]
    assert (bool(asked), got_page) == (not refused, not refused)
    if asked:
        assert asked[0].atyp == (1 if row.exposure == "address" else 3), "forwarded in the form it came in"


def test_torsocks_asks_tor_first_and_is_clean(shim: Shim, upstream: Upstream, space: Namespace, tmp_path: Path) -> None:
    command = torsocks(Task(LISTED, shim.socks, shim.http, tmp_path))
    for program in command.programs:
        require_program(program)
    done = space.run(command.argv, command.env)
    assert f"reached {ADDRESS_OF_LISTED}" in done.stdout, done.stderr
    assert shim.decided(command="RESOLVE")["exposure"] == "name"
    line = shim.decided(command="CONNECT")
    assert (line["exposure"], line["destination"]) == ("resolved_by_tor", f"{ADDRESS_OF_LISTED}:80")
    shim.closed(conn=line["conn"])
    assert not shim.find("leak_found")


def test_an_http_proxy_setting_on_the_socks_port_is_found(shim: Shim, space: Namespace) -> None:
    require_program("curl")
    done = space.run(["curl", "-sS", "-m", "10", "-x", f"http://{shim.socks}", f"http://{LISTED}/"])
    assert done.returncode != 0
    assert shim.wait_for("handshake_failed")["error"] == "not_socks"
    assert shim.wait_for("leak_found")["kind"] == "not_socks"


def fetch(command: Command, asked: str, refused: bool, shim: Shim, space: Namespace) -> bool:
    """Run the program; whether it got the page of the host that was asked for in the end."""
    for program in command.programs:
        require_program(program)
    if command.picture is None:
        return f"reached {asked}" in space.run(command.argv, command.env).stdout
    if refused:
        with space.running(command.argv, command.env):
            shim.ended(f"{asked}:80")
        return False
    space.run(command.argv, command.env)
    return command.picture.read_bytes().startswith(b"\x89PNG")


def assert_found(shim: Shim, line: Line) -> None:
    """A finding for what is exposed, with all that a person needs, and none for a name."""
    if kind := KINDS.get(line["exposure"]):
        finding = shim.wait_for("leak_found", conn=line["conn"])
        assert (finding["kind"], finding["action"], finding["destination"]) == (
            kind,
            line["action"],
            line["destination"],
        )
        assert finding["advice"] and finding["message"]
    else:
        shim.closed(conn=line["conn"])
        assert not shim.find("leak_found", conn=line["conn"])
