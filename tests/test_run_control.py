"""`shim run` beside a real tor and its control port: who goes around the shim is found, and nobody else.

Tor is offline and attaches no stream: it tells of every request, and no client is ever answered.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from rig.control_port import ControlPort, saying
from rig.programs import missing, require_program
from rig.shim import Line, Shim, run
from rig.tor import OLDEST, Tor, version
from rig.upstream import Upstream
from rig.waiting import until
from rig.wire import GREETING, NO_AUTH, Client, ask, socks4, socks5, tunnel5

pytestmark = pytest.mark.oracle

WORD = "s3ntinel"
PASSWORD = 's3ntinel "secret" \\ phrase'
NAME = "www.example.com"


class Place:
    """A tor with each kind of listener."""

    def __init__(self, tor: Tor, folder: Path) -> None:
        self.tor = tor
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []
        listening = {
            kind: re.findall(r'"([^"]*)"', tor.command(f"GETINFO net/listeners/{kind}")[0])
            for kind in ("socks", "httptunnel", "dns", "control")
        }
        self.socks = next(each for each in listening["socks"] if each.startswith("127."))
        self.unix = next(each for each in listening["socks"] if each.startswith("unix:"))
        self.tunnel, self.dns = listening["httptunnel"][0], listening["dns"][0]
        self.control = next(each for each in listening["control"] if each.startswith("127."))

    def curl(self, *words: str) -> int:
        """Run curl until the test ends, for it is never answered; its pid, once Tor has told of its request."""
        return self.start(require_program("curl"), "-sS", "-m", "60", *words)

    def start(self, *command: str) -> int:
        """The same for any program."""
        mark = self.tor.mark()
        quiet = subprocess.DEVNULL
        self.running.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet))
        until(lambda: any(" SOURCE_ADDR=" in line for line in self.tor.events(mark)), "the request")
        return self.running[-1].pid

    def end(self) -> None:
        """End the programs."""
        for process in self.running:
            process.kill()
            process.wait(10)
        self.running.clear()

    @contextmanager
    def shim(
        self, *flags: str, upstream: str = "", control: str = "", reveal: bool = True, more: str = ""
    ) -> Iterator[Shim]:
        """A shim that listens to Tor, and does so already."""
        path = self.folder / "shim.toml"
        path.write_text(
            f'[upstream]\naddress = "{upstream or self.socks}"\ncontrol = "{control or self.control}"\n{more}'
        )
        with Shim("--log-level", "debug", *flags, config=path, reveal=reveal) as shim:
            shim.wait_for("control_connected")
            try:
                yield shim
            finally:
                self.end()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    program = require_program("tor")
    if version(program) < OLDEST:
        missing(f"needs tor {'.'.join(map(str, OLDEST))} or newer")
    folder = tmp_path_factory.mktemp("tor")
    ports = "".join(f"{kind}Port 127.0.0.1:auto\n" for kind in ("HTTPTunnel", "DNS", "Control"))
    lines = f"SocksPort unix:{folder}/socks\n{ports}"
    with Tor(program, folder, lines) as tor:
        yield Place(tor, folder)


@pytest.fixture(autouse=True)
def nobody_is_left(place: Place) -> Iterator[None]:
    yield
    place.end()


@pytest.fixture
def safe(place: Place) -> Iterator[Place]:
    """Tor with SafeSocks 1."""
    place.tor.set(SafeSocks=1)
    yield place
    place.tor.set(SafeSocks=0)


def around(shim: Shim) -> list[Line]:
    return shim.find("leak_found", kind="direct_traffic", revision=1)


def settled(shim: Shim, place: Place) -> None:
    """All that Tor was asked until now has been told, and looked at: a last request around the shim says so."""
    mark = shim.mark()
    place.curl("--socks5-hostname", place.socks, "http://last.example/")
    shim.wait_for("leak_found", mark, destination="last.example:80")


def recognised(shim: Shim, place: Place) -> None:
    """Tor has named a socket of the shim's own: from here on, it knows each of them."""
    place.curl("--socks5-hostname", shim.socks, "http://first.example/")
    settled(shim, place)


class TestWho:
    def test_curl_past_the_shim_is_found_with_its_program(self, place: Place) -> None:
        with place.shim() as shim:
            pid = place.curl("--socks5-hostname", place.socks, f"http://{NAME}/")
            found = shim.wait_for("leak_found", kind="direct_traffic")
        assert found["process"]["pid"] == pid
        assert (found["process"]["name"], found["rule"], found["stream"]) == ("curl", "L25", "t1")
        assert found["destination"] == f"{NAME}:80"
        assert found["message"].startswith(f"curl (pid {pid}, SOCKS5, port 80) reached Tor without the shim")

    def test_curl_through_the_shim_is_not(self, place: Place) -> None:
        with place.shim("--http", "127.0.0.1:0") as shim:
            for words in (("--socks5-hostname", shim.socks), ("--socks4a", shim.socks), ("-p", "-x", shim.http)):
                place.curl(*words, f"http://{NAME}/")
            place.curl("--socks5", shim.socks, "http://192.0.2.7/")
            place.curl("--socks5", shim.socks, "http://[2001:db8::1]/")
            settled(shim, place)
            assert len(shim.find("request_decided")) == 5
            (last,) = around(shim)
        assert (last["destination"], last["confidence"]) == ("last.example:80", "confirmed")

    @pytest.mark.parametrize("way", ["socks4", "tunnel", "dns"])
    def test_every_way_into_tor(self, way: str, place: Place) -> None:
        with place.shim() as shim:
            if way == "dns":
                host, _, port = place.dns.rpartition(":")
                program = place.start(require_program("dig"), "+tries=1", "+time=30", f"@{host}", "-p", port, NAME)
            elif way == "tunnel":
                program = place.curl("-p", "-x", f"http://{place.tunnel}", f"http://{NAME}/")
            else:
                program = place.curl("--socks4a", place.socks, f"http://{NAME}/")
            found = shim.wait_for("leak_found", kind="direct_traffic")
        assert found["process"]["pid"] == program
        assert found["protocol"] == {"socks4": "socks4", "tunnel": "http", "dns": "dns"}[way]

    def test_what_tor_calls_dangerous_is_found_as_that_too(self, place: Place) -> None:
        with place.shim() as shim:
            pid = place.curl("--socks5", place.socks, "http://192.0.2.21/")
            found = shim.wait_for("leak_found", kind="address_only")
            assert len(around(shim)) == 1
        assert found["process"]["pid"] == pid
        assert (found["rule"], found["confidence"]) == ("L03", "possible")
        assert found["evidence"][:2] == ["around_shim", "tor_dangerous_socks"]
        assert "socks5h://" in found["advice"]

    def test_without_attribution_it_is_found_without_its_program(self, place: Place) -> None:
        with place.shim(more="[log]\nattribution = false\n") as shim:
            place.curl("--socks5-hostname", place.socks, f"http://{NAME}/")
            found = shim.wait_for("leak_found", kind="direct_traffic")
        assert (found["process"], found["process_reason"]) == (None, "off")


class TestSafeSocks:
    def test_an_address_that_the_shim_passed_on_is_not_taken_for_anothers(self, safe: Place) -> None:
        with safe.shim() as shim:
            assert ask(shim.socks, (GREETING, 2), (socks5("192.0.2.31", 80), 10)).startswith(NO_AUTH + b"\5\2")
            assert ask(shim.socks, (socks4("192.0.2.32", 80), 8)).startswith(b"\0\x5b")
            settled(shim, safe)
            assert [found["destination"] for found in around(shim)] == ["last.example:80"]

    def test_one_that_went_around_is_found_though_tor_names_nobody(self, safe: Place) -> None:
        with safe.shim() as shim:
            ask(safe.socks, (GREETING, 2), (socks5("192.0.2.33", 80), 10))
            found = shim.wait_for("leak_found", kind="direct_traffic")
            shim.wait_for("leak_found", kind="address_only", action="block")
        assert (found["destination"], found["action"]) == ("192.0.2.33:80", "block")
        assert (found["process"], found["process_reason"]) == (None, "not_told")
        assert found["confidence"] == "probable"


class TestManyAtOnce:
    def test_they_are_never_mixed(self, place: Place) -> None:
        """Ours and others' at the same moment, for the same destination: each direct one is found, and no other."""
        request = socks5(NAME.encode(), 80)
        with place.shim() as shim, ExitStack() as clients:
            recognised(shim, place)
            direct: set[str] = set()
            for number in range(300):
                where = shim.socks if number % 2 else place.socks
                client = clients.enter_context(Client(where, 10))
                client.send(GREETING)
                client.read(2)
                client.send(request)
                if not number % 2:
                    direct.add("{}:{}".format(*client.sock.getsockname()))
            settled(shim, place)
            told = shim.find("tor_asked", destination=f"{NAME}:80")
            assert len(told) == 150 and {line["source"] for line in told} == direct
            found = [line for line in around(shim) if line["destination"] == f"{NAME}:80"]
            assert len(found) == 150 and {line["stream"] for line in found} == {line["stream"] for line in told}
            named = {line["process"]["name"] for line in found if line["process"]}
            assert named <= {Path(sys.executable).resolve().name, "python", "python3", "pytest"}, named


class TestUnixSocket:
    def test_there_only_what_was_asked_for_tells_them_apart(self, place: Place) -> None:
        path = place.unix.removeprefix("unix:")
        with place.shim(upstream=place.unix) as shim:
            place.curl("--socks5-hostname", shim.socks, f"http://{NAME}/")
            place.curl("-x", f"socks5h://localhost{path}", f"http://{NAME}/")
            place.curl("-x", f"socks5h://localhost{path}", "http://other.example/")
            found = shim.wait_for("leak_found", kind="direct_traffic")
            assert len(around(shim)) == 1, "what the shim itself has asked for is not found"
        assert (found["destination"], found["confidence"]) == ("other.example:80", "probable")
        assert (found["process"], found["process_reason"]) == (None, "not_told")

    def test_who_uses_it_while_the_shim_uses_tcp_is_found(self, place: Place) -> None:
        path = place.unix.removeprefix("unix:")
        with place.shim() as shim:
            recognised(shim, place)
            place.curl("-x", f"socks5h://localhost{path}", f"http://{NAME}/")
            found = shim.wait_for("leak_found", process_reason="not_told")
        assert found["confidence"] == "confirmed"


class TestTheControlPort:
    def test_the_password_lets_in_and_shows_nowhere(self, place: Place) -> None:
        hashed = subprocess.run(
            [require_program("tor"), "--quiet", "--hash-password", PASSWORD], capture_output=True, text=True, check=True
        )
        (place.folder / "password").write_text(PASSWORD + "\n")
        (place.folder / "wrong").write_text(PASSWORD + "wrong\n")
        place.tor.command(f'SETCONF HashedControlPassword="{hashed.stdout.strip()}"')
        try:
            setting = f'control_password_file = "{place.folder}/password"\n'
            with place.shim(more=setting) as shim:
                place.curl("--socks5-hostname", place.socks, f"http://{NAME}/")
                shim.wait_for("leak_found", kind="direct_traffic")
            shown = run("config", "show", "--config", str(place.folder / "shim.toml"))
            assert f"{place.folder}/password" in shown.stdout
            assert not [text for text in (shim.stderr, shown.stdout) if "s3ntinel" in text or "phrase" in text]
            (place.folder / "password").write_text(PASSWORD + "wrong\n")
            with Shim("--log-level", "debug", config=place.folder / "shim.toml") as shim:
                shim.wait_for("control_failed", error="wrong_password")
            assert "s3ntinel" not in shim.stderr
        finally:
            place.tor.command("RESETCONF HashedControlPassword")

    def test_the_cookie_lets_in(self, place: Place) -> None:
        place.tor.set(CookieAuthentication=1)
        try:
            with place.shim() as shim:
                place.curl("--socks5-hostname", place.socks, f"http://{NAME}/")
                shim.wait_for("leak_found", kind="direct_traffic")
        finally:
            place.tor.set(CookieAuthentication=0)

    @pytest.mark.parametrize("log_format", ["json", "text"])
    def test_nothing_of_what_tor_tells_shows(self, log_format: str, place: Place) -> None:
        path = place.folder / "scrubbed.toml"
        path.write_text(f'[upstream]\naddress = "{place.socks}"\ncontrol = "{place.control}"\n')
        with Shim("--log-level", "debug", config=path, log_format=log_format, reveal=False) as shim:
            until(lambda: place.control in shim.stderr, "the control port")
            for port, host in enumerate((f"{WORD}.example", f"{WORD}-2.example", "192.0.2.41"), 4711):
                place.curl("-U", f"{WORD}:{WORD}", "--socks5", place.socks, f"http://192.0.2.41:{port + 9}/")
                place.curl("-U", f"{WORD}:{WORD}", "--socks5-hostname", place.socks, f"http://{host}:{port}/")
            until(lambda: "4713" in shim.stderr, "the last finding")
        assert WORD not in shim.stderr and "192.0.2.41" not in shim.stderr

    def test_it_is_off_by_default(self, place: Place) -> None:
        with Shim("--log-level", "debug", upstream=place.socks) as shim:
            place.curl("--socks5-hostname", place.socks, f"http://{NAME}/")
        assert not shim.find("control_connected") and not around(shim)

    @pytest.mark.parametrize("broken", ["refused", "garbage", "silent"])
    def test_a_broken_one_keeps_nobody_waiting(self, broken: str, upstream: Upstream, tmp_path: Path) -> None:
        speak = saying(b"HTTP/1.0 501 no\r\n" * 100, times=100) if broken == "garbage" else saying(b"")
        with ControlPort(speak) as port:
            number = port.port
            if broken == "refused":
                port.__exit__()
            path = tmp_path / "shim.toml"
            path.write_text(f'[upstream]\naddress = "{upstream.address}"\ncontrol = "127.0.0.1:{number}"\n')
            with Shim(config=path) as shim:
                for _ in range(50):
                    with tunnel5(shim.socks, b"page.test", 80):
                        pass
                if broken == "silent":  # it has ten seconds
                    until(lambda: port.connected == 1, "the shim at its control port")
                    assert not shim.find("control_failed")
                else:
                    shim.wait_for("control_failed")
            assert len(shim.find("request_decided")) == 50

    def test_a_live_run_and_its_replay_say_the_same(self, place: Place, tmp_path: Path) -> None:
        with place.shim() as shim:
            place.curl("--socks5", place.socks, "http://192.0.2.51/")
            place.curl("--socks5", shim.socks, "http://192.0.2.52/")
            settled(shim, place)
        log = tmp_path / "log"
        log.write_text("".join(shim.raw))
        again = run("replay", "--format", "json", str(log))
        lines = [text for text, line in zip(shim.raw, shim.lines, strict=True) if line["event"] == "leak_found"]
        assert len(lines) == 4
        assert again.stdout.splitlines(keepends=True) == lines
        assert again.returncode == 1
