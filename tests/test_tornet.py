"""The shim before a real Tor network, all on loopback: what it forwards arrives, what it refuses Tor never sees.

Needs tor and a namespace; the network takes 10 to 25 s to come up, once.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from rig.clients import Program, Task, chromium, curl, firefox, torsocks
from rig.control import Control
from rig.programs import require_namespaces, require_program
from rig.shim import Shim
from rig.waiting import PATIENCE_S, until
from rig.wire import (
    AUTH_OK,
    GRANTED4,
    GREETING,
    GREETING_AUTH,
    NO_AUTH,
    REFUSED4,
    RESOLVE,
    WITH_AUTH,
    Client,
    ask,
    auth,
    refused5,
    socks4,
    socks5,
    tunnel5,
)
from test_check import check, report
from tornet.load import GET, PAGE, Load
from tornet.network import SOCKS, SOCKS_EXTENDED
from tornet.services import NAMES
from tornet.site import Site, running

pytestmark = pytest.mark.clients

[(NAME, ADDRESS)] = NAMES.items()
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_program("tor")
    require_namespaces()
    with running(tmp_path_factory.mktemp("tornet")) as site:
        yield site


@pytest.fixture(params=["warn", "block"])
def shim(request: pytest.FixtureRequest, site: Site) -> Iterator[Shim]:
    with site.shim(request.param) as process:
        yield process


@pytest.fixture
def control(site: Site) -> Iterator[Control]:
    with Control(site.network.control, site.network.client.process) as control:
        yield control


@pytest.fixture
def safe(control: Control) -> Iterator[Control]:
    """Tor with SafeSocks 1."""
    control.set(SafeSocks=1)
    yield control
    control.set(SafeSocks=0)


def unix(shim: Shim) -> str:
    """The listener that is reached from outside the namespace."""
    return str(shim.ready["socks"][1])


def unreachable() -> str:
    """An address that no test has asked for, and that nobody has in the namespace."""
    return f"93.184.216.{next(_NUMBERS)}"


def five(where: str, host: str | bytes, command: int = 1) -> bytes:
    """Tor's reply to a SOCKS5 request, up to the bound address; nothing is sent through."""
    with Client(where, PATIENCE_S) as client:
        client.send(GREETING)
        assert client.read(2) == NO_AUTH
        client.send(socks5(host, 0 if command == RESOLVE else 80, command))
        return client.read(10)


class TestPrograms:
    @pytest.mark.parametrize("program", [curl("--socks5-hostname"), curl("--socks4a")], ids=["socks5", "socks4a"])
    def test_curl_gets_a_page_by_name(self, program: Program, shim: Shim, site: Site, tmp_path: Path) -> None:
        assert run(program, NAME, shim, site, tmp_path) == PAGE
        assert_clean(shim, NAME)

    def test_chromium_gets_a_page_by_name(self, shim: Shim, site: Site, tmp_path: Path) -> None:
        assert f"<h1>{NAME}</h1>" in run(chromium("socks5"), NAME, shim, site, tmp_path)
        assert_clean(shim, NAME)

    def test_firefox_gets_a_page_by_name(self, shim: Shim, site: Site, tmp_path: Path) -> None:
        run(firefox(5), NAME, shim, site, tmp_path)
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        assert shim.ended(f"{NAME}:80")["received"] > len(PAGE)
        assert_clean(shim, NAME)

    def test_curl_gets_an_onion_site_by_name(self, shim: Shim, site: Site, tmp_path: Path) -> None:
        onion, program = site.network.onion, curl("--socks5-hostname")
        wanted = f"hello from {onion}\n"
        until(lambda: run(program, onion, shim, site, tmp_path) == wanted, "the onion site")
        assert_clean(shim, onion)

    def test_torsocks_resolves_through_the_exit_and_is_clean(self, shim: Shim, site: Site, tmp_path: Path) -> None:
        assert run(torsocks, NAME, shim, site, tmp_path) == PAGE
        assert shim.decided(command="RESOLVE")["exposure"] == "name"
        line = shim.decided(command="CONNECT")
        assert (line["exposure"], line["destination"]) == ("resolved_by_tor", f"{ADDRESS}:80")
        shim.closed(conn=line["conn"])
        assert not shim.find("leak_found")


class TestResolve:
    def test_an_answer_is_remembered(self, shim: Shim) -> None:
        assert five(unix(shim), NAME.encode(), RESOLVE) == granted(ADDRESS)
        assert five(unix(shim), ADDRESS)[:2] == b"\5\0"
        line = shim.decided(command="CONNECT")
        assert (line["exposure"], line["action"]) == ("resolved_by_tor", "forward")
        shim.closed(conn=line["conn"])
        assert not shim.find("leak_found")

    def test_without_an_answer_the_same_address_is_a_leak(self, shim: Shim) -> None:
        refused = shim.ready["mode"] == "block"
        assert five(unix(shim), ADDRESS)[1] == (2 if refused else 0)
        assert shim.wait_for("leak_found")["kind"] == "address_only"

    def test_a_name_that_the_exit_does_not_find(self, shim: Shim) -> None:
        assert five(unix(shim), b"nobody.example.com", RESOLVE) == refused5(4)


class TestIsolation:
    def test_no_two_pairs_of_credentials_share_a_circuit(self, site: Site, control: Control) -> None:
        mark = control.mark()
        with site.shim("warn") as shim:
            for username in (b"alice", b"bob", b"alice", b"bob"):
                steps = (GREETING_AUTH, 2), (auth(username, b"secret"), 2), (socks5(NAME.encode(), 80), 10), (GET, 0)
                got = ask(unix(shim), *steps)
                assert got.startswith(WITH_AUTH + AUTH_OK + b"\5\0") and got.endswith(PAGE.encode())
        circuits = circuits_of(control.events(mark))
        assert circuits.keys() == {"alice", "bob"}
        # Whether a circuit is used again is Tor's own choice (on a busy machine it was not, once); whose it is, is not.
        assert all(len(used) == 2 for used in circuits.values()), circuits
        assert set(circuits["alice"]).isdisjoint(circuits["bob"]), circuits


CASES: dict[str, Callable[[], tuple[bytes, ...]]] = {
    "socks5 name": lambda: (GREETING, socks5(NAME.encode(), 80)),
    "socks5 address": lambda: (GREETING, socks5(unreachable(), 80)),
    "socks5 address as text": lambda: (GREETING, socks5(ADDRESS.encode(), 80)),
    "socks4 address": lambda: (socks4(unreachable(), 80),),
    "socks4a name": lambda: (socks4(NAME.encode(), 80),),
}
REFUSED = {"socks5 address": NO_AUTH + refused5(2), "socks4 address": REFUSED4}


class TestSafeSocks:
    @pytest.mark.parametrize("sentence", CASES)
    def test_tor_agrees_with_the_shim(self, sentence: str, safe: Control, site: Site) -> None:
        """Tor alone, the shim that judges, and the shim that forwards what Tor then judges: the same reply."""
        for where in ("tor", "block", "warn"):
            mark = safe.mark()
            reply = reply_from(where, CASES[sentence](), site)
            asked = any("DANGEROUS_SOCKS" in line for line in safe.events(mark))
            assert asked == (sentence in REFUSED and where != "block"), "in mode block no address reaches Tor"
            assert_reply(sentence, reply)

    def test_tor_stops_judging_an_address_that_failed_once_and_the_shim_does_not(
        self, safe: Control, site: Site
    ) -> None:
        address = unreachable()
        tor = site.network.socks
        assert five(tor, address) == refused5(2), "Tor judges it at first"
        assert five(tor, address.encode())[1] == 4, "as text it is let through, and fails"
        mark = safe.mark()
        assert five(tor, address)[1] == 4, "Tor has taken it to the exit this time"
        assert any(f"NEW 0 {address}:80" in line for line in safe.events(mark))
        assert not any("DANGEROUS_SOCKS" in line for line in safe.events(mark))
        with site.shim("block") as shim:
            mark = safe.mark()
            assert five(unix(shim), address) == refused5(2)
            assert not any(address in line for line in safe.events(mark)), "Tor is not asked"
            assert five(unix(shim), address.encode())[1] == 4, "it fails through the shim as well"
            assert five(unix(shim), address) == refused5(2), "and is judged again"
            until(lambda: len(shim.find("request_decided", action="block")) == 2, "both verdicts of the shim")


class TestOnionErrors:
    @pytest.mark.parametrize(("checksum", "code"), [(True, 0xF0), (False, 0xF6)], ids=["not found", "invalid"])
    def test_extended_codes_arrive(self, checksum: bool, code: int, site: Site) -> None:
        with site.shim("warn", SOCKS_EXTENDED) as shim:
            assert five(unix(shim), onion_nobody_has(checksum)) == refused5(code)


class TestCheck:
    """`shim check` with this Tor as its upstream: the program is in a namespace of its own, the shim outside."""

    def test_a_browser_that_is_driven_gets_its_page(self, site: Site) -> None:
        url = f"http://{NAME}/"
        words = ("--upstream", site.network.socks, "--visit", url, "--", require_program("chromium"))
        status, plain = report(*words, timeout=100)
        assert (status, plain["leaks"], plain["visits"][0]["loaded"]) == (0, [], True)
        assert "upstream" not in {each["code"] for each in plain["not_covered"]}

    @pytest.mark.parametrize(("option", "status"), [("--socks5-hostname", 0), ("--socks5", 1)])
    def test_a_leak_is_found_and_the_page_comes_all_the_same(self, option: str, status: int, site: Site) -> None:
        """The address that the sensor issues is turned back into its name, which Tor then resolves."""
        curl = (require_program("curl"), "-sS", "-m", "30", option, "{socks_host}:{socks_port}")
        done = check("--upstream", site.network.socks, "--", *curl, f"http://{NAME}/")
        assert (done.returncode, done.stderr) == (status, PAGE), done.stdout

    def test_an_onion_site(self, site: Site) -> None:
        onion = site.network.onion
        curl = (require_program("curl"), "-sS", "-m", "30", "-x", "{proxy_url}", f"http://{onion}/")
        wanted = (0, f"hello from {onion}\n")

        def fetched() -> bool:
            done = check("--upstream", site.network.socks, "--", *curl)
            return (done.returncode, done.stderr) == wanted

        until(fetched, "the onion site")


class TestReconciliation:
    def test_who_goes_around_the_shim_is_found_and_who_goes_through_it_is_not(self, site: Site, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text(f'[upstream]\ncontrol = "unix:{site.network.control}"\n')
        client = require_program("curl"), "-sS", "-m", "30", "--socks5-hostname"
        with site.shim("warn", config=config) as shim:
            shim.wait_for("control_connected")
            assert site.space.run([*client, shim.socks, f"http://{NAME}/"], timeout_s=PATIENCE_S).stdout == PAGE
            assert site.space.run([*client, SOCKS, f"http://{NAME}/"], timeout_s=PATIENCE_S).stdout == PAGE
            found = shim.wait_for("leak_found", kind="direct_traffic")
            assert (found["destination"], found["confidence"]) == (f"{NAME}:80", "confirmed")
            assert found["process"]["name"] == "curl"
            assert len(shim.find("leak_found", revision=1)) == 1


class TestRestart:
    def test_tor_killed_under_load_fails_closed_and_recovers(self, site: Site) -> None:
        with site.shim("warn") as shim, Load(unix(shim)) as load:
            with tunnel5(unix(shim), NAME.encode(), 80) as idle:
                load.wait_for("page", 10)
                site.network.client.kill()
                assert idle.closed()
            load.forget()
            try:
                load.wait_for("refused 1", 20)
                assert load.seen.keys() == {"refused 1"}, "nothing else while Tor is away"
                assert five(unix(shim), ADDRESS) == refused5(1), "though this machine reaches the address itself"
                shim.wait_for("upstream_failed", error="connection_refused")
            finally:
                site.network.client.start()
            load.wait_for("page", 10)
        assert shim.find("connection_closed", reason="upstream_failed")


def run(program: Program, host: str, shim: Shim, site: Site, folder: Path) -> str:
    """What the program prints of the page."""
    command = program(Task(host, shim.socks, shim.http, folder))
    for name in command.programs:
        require_program(name)
    return site.space.run(command.argv, command.env, timeout_s=PATIENCE_S).stdout


def assert_clean(shim: Shim, name: str) -> None:
    """Asked for by name, forwarded, and nothing found."""
    line = shim.decided(destination=f"{name}:80")
    assert (line["exposure"], line["action"]) == ("name", "forward")
    shim.closed(conn=line["conn"])
    assert not shim.find("leak_found", conn=line["conn"])


def granted(host: str) -> bytes:
    """The reply to RESOLVE."""
    return b"\5\0" + socks5(host, 0)[2:]


def reply_from(where: str, steps: tuple[bytes, ...], site: Site) -> bytes:
    """All that comes back, up to the reply to the request; `where` is tor itself or a mode of the shim."""
    if where == "tor":
        return converse(site.network.socks, steps)
    with site.shim(where) as shim:
        return converse(unix(shim), steps)


def converse(where: str, steps: tuple[bytes, ...]) -> bytes:
    with Client(where, PATIENCE_S) as client:
        got = b""
        for step, length in zip(steps, (2, 10) if len(steps) == 2 else (8,), strict=True):
            client.send(step)
            got += client.read(length)
        return got


def assert_reply(sentence: str, reply: bytes) -> None:
    if sentence in REFUSED:
        assert reply == REFUSED[sentence]
    else:
        assert reply[:4] == NO_AUTH + b"\5\0" or reply[:2] == GRANTED4


def circuits_of(events: list[str]) -> dict[str, list[str]]:
    """The circuits on which each user name's streams succeeded."""
    users: dict[str, str] = {}
    circuits: dict[str, list[str]] = {}
    for words in (line.split() for line in events if line.startswith("650 STREAM ")):
        stream, status, circuit = words[2:5]
        named = [word.partition("=")[2].strip('"') for word in words if word.startswith("SOCKS_USERNAME=")]
        if status == "NEW" and named:
            users[stream] = named[0]
        elif status == "SUCCEEDED" and stream in users:
            circuits.setdefault(users[stream], []).append(circuit)
    return circuits


def onion_nobody_has(checksum: bool) -> bytes:
    """A version 3 address (rend-spec-v3, section 6) of the ed25519 base point, with its checksum or a wrong one."""
    key = b"\x58" + b"\x66" * 31
    digest = hashlib.sha3_256(b".onion checksum" + key + b"\3").digest()[:2]
    whole = key + (digest if checksum else bytes(2)) + b"\3"
    return base64.b32encode(whole).lower() + b".onion"
