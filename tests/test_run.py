"""`shim run` from outside: how it starts, what it says first, how it is told to change and to end."""

from __future__ import annotations

import json
import signal
import socket
import stat
from pathlib import Path

import pytest
from rig.asking import address, ask
from rig.shim import Shim, run
from rig.upstream import Behaviour, Upstream
from rig.waiting import until
from rig.wire import GREETING, NO_AUTH, Client, refused5, socks5, tunnel5


class TestReady:
    def test_names_every_listener_with_its_real_port(self, upstream: Upstream, tmp_path: Path) -> None:
        path = tmp_path / "socks"
        socks = ("127.0.0.1:0", "[::1]:0", f"unix:{path}", "127.0.0.1:0")
        with Shim("--http", "127.0.0.1:0", socks=socks, upstream=upstream.address) as shim:
            first, six, unix, second = shim.ready["socks"]
            assert first.startswith("127.0.0.1:") and second.startswith("127.0.0.1:") and first != second
            assert six.startswith("[::1]:") and not six.endswith(":0")
            assert unix == f"unix:{path}"
            assert len(shim.ready["http"]) == 1
            assert shim.ready["dns"] == shim.ready["dashboard"] == []
            assert (shim.ready["upstream"], shim.ready["mode"]) == (upstream.address, "warn")
            for where in shim.ready["socks"]:
                with tunnel5(where, b"echo.test", 80) as client:
                    client.send(b"ping")
                    assert client.read(4) == b"ping", where

    def test_comes_without_an_upstream_too(self, upstream: Upstream) -> None:
        with Shim(upstream="127.0.0.1:1", socks=["127.0.0.1:0"]) as shim:
            assert shim.ready["http"] == []
            assert shim.ready["upstream"] == "127.0.0.1:1"

    def test_a_unix_socket_is_private_and_gone_afterwards(self, upstream: Upstream, tmp_path: Path) -> None:
        path = tmp_path / "socks"
        with Shim(socks=[f"unix:{path}"], upstream=upstream.address) as shim:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with tunnel5(shim.socks, b"echo.test", 80):
                pass
        assert not path.exists()

    def test_a_unix_socket_left_by_a_dead_shim_is_taken_over(self, upstream: Upstream, tmp_path: Path) -> None:
        path = tmp_path / "socks"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        with Shim(socks=[f"unix:{path}"], upstream=upstream.address) as shim, tunnel5(shim.socks, b"echo.test", 80):
            pass

    def test_the_upstream_may_be_a_unix_socket(self, upstream: Upstream) -> None:
        with Shim(upstream=upstream.unix) as shim:
            assert shim.ready["upstream"] == upstream.unix
            with tunnel5(shim.socks, b"banner.test", 80, early=b"early") as client:
                assert client.read(16) == b"220 ready\r\nearly"

    def test_the_mode_is_the_flags_and_the_file_gives_the_rest(self, upstream: Upstream, tmp_path: Path) -> None:
        config = write(tmp_path, f'[policy]\nmode = "block"\n[upstream]\naddress = "{upstream.address}"\n')
        with Shim(config=config) as shim:
            assert (shim.ready["mode"], shim.ready["upstream"]) == ("block", upstream.address)
        with Shim("--mode", "warn", config=config) as shim:
            assert shim.ready["mode"] == "warn"

    def test_several_workers_serve_one_port_under_unique_ids(self, upstream: Upstream) -> None:
        names = [f"echo.w{number}.test" for number in range(16)]
        with Shim("--workers", "2", upstream=upstream.address) as shim:
            for name in names:
                with tunnel5(shim.socks, name.encode(), 80):
                    pass
            assert len({shim.ended(f"{name}:80")["conn"] for name in names}) == len(names)


class TestExitStatus:
    @pytest.mark.parametrize(
        "args",
        [
            ["run", "--mode", "strict"],
            ["run", "--socks", "localhost"],
            ["run", "--socks", "127.0.0.1:70000"],
            ["run", "--socks", "::1:9250"],
            ["run", "--upstream", "example.org:9050"],
            ["run", "--upstream", "127.0.0.1:0"],
            ["run", "--log-level", "trace"],
            ["run", "--no-such-flag"],
            ["run", "--config", "/nonexistent/shim.toml"],
            ["run", "--socks", "0.0.0.0:0"],
            ["no-such-command"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage_is_2_and_says_why(self, args: list[str]) -> None:
        done = run(*args)
        assert done.returncode == 2
        assert done.stderr.strip()
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ('[policy]\nmoode = "warn"\n', "mode"),
            ('[policy]\nmode = "strict"\n', "policy.mode"),
            ("[limits]\nhandshake_timeout_s = -1\n", "limits.handshake_timeout_s"),
            ('[listen]\nsocks = ["192.0.2.1:0"]\n', "allow_remote"),
            ("[listen\n", ":1:"),
        ],
    )
    def test_a_wrong_file_is_2_and_names_file_and_key(self, text: str, named: str, tmp_path: Path) -> None:
        config = write(tmp_path, text)
        done = run("run", "--config", str(config))
        assert done.returncode == 2
        assert named in done.stderr and config.name in done.stderr, done.stderr
        assert "Traceback" not in done.stderr

    def test_an_address_that_is_taken_is_a_fault_and_named(self, upstream: Upstream) -> None:
        with Shim(upstream=upstream.address) as shim:
            done = run("run", "--socks", shim.socks, "--upstream", upstream.address)
        assert done.returncode not in (0, 1, 2, 3), "neither a verdict nor wrong usage"
        assert shim.socks in done.stderr
        assert "Traceback" not in done.stderr

    def test_an_upstream_that_is_a_listener_of_its_own_is_2(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = f"127.0.0.1:{probe.getsockname()[1]}"
        done = run("run", "--socks", free, "--upstream", free)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("flag", ["--dns", "--dashboard"])
    def test_what_is_not_built_yet_is_absent_from_help_or_works(self, flag: str) -> None:
        """No stub: an option that `--help` does not name ends with 2."""
        if flag not in run("run", "--help").stdout:
            done = run("run", flag, "127.0.0.1:0")
            assert done.returncode == 2
            assert flag in done.stderr


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_an_idle_shim_ends_at_once(self, number: signal.Signals, upstream: Upstream, tmp_path: Path) -> None:
        config = write(tmp_path, "[limits]\ndrain_timeout_s = 600\n")
        with Shim(config=config, upstream=upstream.address) as shim:
            shim.signal(number)
            assert shim.wait() == 0

    def test_the_first_lets_a_connection_finish_and_takes_no_new_one(self, upstream: Upstream, tmp_path: Path) -> None:
        config = write(tmp_path, "[limits]\ndrain_timeout_s = 600\n")
        with Shim(config=config, upstream=upstream.address) as shim, tunnel5(shim.socks, b"echo.test", 80) as client:
            shim.signal(signal.SIGTERM)
            assert shim.wait_for("draining")["open"] == 1
            with pytest.raises(OSError):
                Client(shim.socks)
            client.send(b"still here")
            assert client.read(10) == b"still here"
            assert shim.process.poll() is None
            client.end()
            assert client.closed()
            assert shim.wait() == 0
        assert shim.closed()["sent"] == len(b"still here")

    def test_the_deadline_of_draining_ends_what_is_left(self, upstream: Upstream, tmp_path: Path) -> None:
        config = write(tmp_path, "[limits]\ndrain_timeout_s = 0.2\n")
        with Shim(config=config, upstream=upstream.address) as shim, tunnel5(shim.socks, b"echo.test", 80) as client:
            shim.signal(signal.SIGTERM)
            assert client.closed()
            assert shim.wait() == 0

    def test_the_second_ends_at_once(self, upstream: Upstream, tmp_path: Path) -> None:
        config = write(tmp_path, "[limits]\ndrain_timeout_s = 600\n")
        with Shim(config=config, upstream=upstream.address) as shim, tunnel5(shim.socks, b"echo.test", 80) as client:
            shim.signal(signal.SIGTERM)
            shim.wait_for("draining")
            shim.signal(signal.SIGTERM)
            assert client.closed()
            assert shim.wait() == 0

    def test_the_second_ends_those_who_wait_for_a_reply_as_well(self, upstream: Upstream, tmp_path: Path) -> None:
        upstream.behave["mute.test"] = Behaviour(stop_at="reply", hold=True)
        config = write(tmp_path, "[limits]\ndrain_timeout_s = 600\n")
        with (
            Shim(config=config, upstream=upstream.address) as shim,
            Client(shim.socks) as client,
            Client(shim.socks) as idle,
        ):
            client.send(GREETING + socks5(b"mute.test", 80))
            assert client.read(2) == NO_AUTH
            idle.send(GREETING)
            assert idle.read(2) == NO_AUTH
            upstream.wait_for("mute.test")
            shim.signal(signal.SIGTERM)
            shim.wait_for("draining")
            shim.signal(signal.SIGTERM)
            client.read_all()
            assert idle.closed()
            assert shim.wait() == 0
            shim.ended("mute.test:80")


class TestReload:
    def test_a_good_file_takes_effect_and_open_connections_stay(self, upstream: Upstream, tmp_path: Path) -> None:
        config = write(tmp_path, '[policy]\nmode = "warn"\n')
        with Shim(config=config, upstream=upstream.address) as shim, tunnel5(shim.socks, b"echo.test", 80) as before:
            with tunnel5(shim.socks, "93.184.216.34", 80):
                write(tmp_path, '[policy]\nmode = "block"\n')
                shim.signal(signal.SIGHUP)
                assert shim.wait_for("config_reloaded")["needs_restart"] == []
            with Client(shim.socks) as client:
                client.send(GREETING + socks5("93.184.216.34", 80))
                assert client.read(4) == NO_AUTH + b"\5\2"
            before.send(b"x")
            assert before.read(1) == b"x"

    @pytest.mark.parametrize("text", ['[policy]\nmode = "strict"\n', "[policy", "[nonsense]\n"])
    def test_a_bad_file_keeps_the_old_one_and_says_so(self, text: str, upstream: Upstream, tmp_path: Path) -> None:
        config = write(tmp_path, '[policy]\nmode = "block"\n')
        with Shim(config=config, upstream=upstream.address) as shim:
            write(tmp_path, text)
            shim.signal(signal.SIGHUP)
            assert shim.wait_for("config_rejected")["problems"]
            with Client(shim.socks) as client:
                client.send(GREETING + socks5("93.184.216.34", 80))
                assert client.read(4) == NO_AUTH + b"\5\2"

    def test_a_listener_cannot_change_and_the_line_says_so(self, upstream: Upstream, tmp_path: Path) -> None:
        config = write(tmp_path, "[listen]\nhttp = []\n")
        with Shim(config=config, upstream=upstream.address) as shim:
            write(tmp_path, '[listen]\nhttp = ["127.0.0.1:0"]\n')
            shim.signal(signal.SIGHUP)
            assert shim.wait_for("config_reloaded")["needs_restart"] == ["listen.http"]

    def test_a_flag_stays_stronger_than_the_file(self, upstream: Upstream, tmp_path: Path) -> None:
        config = write(tmp_path, "")
        with Shim("--mode", "block", config=config, upstream=upstream.address) as shim:
            write(tmp_path, '[policy]\nmode = "warn"\n')
            shim.signal(signal.SIGHUP)
            shim.wait_for("config_reloaded")
            with Client(shim.socks) as client:
                client.send(GREETING + socks5("93.184.216.34", 80))
                assert client.read(4) == NO_AUTH + b"\5\2"

    def test_without_a_file_nothing_changes(self, upstream: Upstream) -> None:
        with Shim("--mode", "block", upstream=upstream.address) as shim:
            shim.signal(signal.SIGHUP)
            assert shim.wait_for("config_reloaded")["needs_restart"] == []
            with Client(shim.socks) as client:
                client.send(GREETING + socks5("93.184.216.34", 80))
                assert client.read(4) == NO_AUTH + b"\5\2"


@pytest.mark.parametrize(("lang", "ascii_only"), [("en", True), ("ja", False)])
def test_a_finding_speaks_the_language_asked_for(lang: str, ascii_only: bool, upstream: Upstream) -> None:
    with Shim("--lang", lang, upstream=upstream.address) as shim, tunnel5(shim.socks, "93.184.216.34", 80):
        finding = shim.wait_for("leak_found")
    assert (finding["message"].isascii(), finding["advice"].isascii()) == (ascii_only, ascii_only)
    assert finding["kind"] == "address_only", "codes are never translated"


def test_json_lines_are_one_object_each_and_text_lines_are_none(upstream: Upstream) -> None:
    with Shim(upstream=upstream.address, log_format="text", socks=["127.0.0.1:0"]) as shim:
        until(lambda: "127.0.0.1:" in shim.stderr, "the line that names the listener")
        text = shim.stderr
    with pytest.raises(ValueError):
        json.loads(text.splitlines()[0])
    assert "\x1b" not in text, "colour only on a terminal"


def test_a_look_alike_is_shown_as_what_it_is(upstream: Upstream) -> None:
    """As it came on the wire, or not at all: never as the letters that it would be mistaken for."""
    alike = "p\u0430ypal.test"
    with Shim("--dns", "127.0.0.1:0", upstream=upstream.address) as shim:
        with tunnel5(shim.socks, alike.encode("idna"), 80):
            assert shim.decided()["destination"] == "xn--pypal-4ve.test:80"
        with Client(shim.socks) as client:
            client.send(GREETING + socks5(alike.encode(), 80))
            assert client.read_all() == NO_AUTH + refused5(1)
        name = b"".join(bytes([len(label.encode())]) + label.encode() for label in alike.split("."))
        ask(address(shim.ready["dns"][0]), b"\1\2\1\0\0\1" + bytes(6) + name + b"\0\0\1\0\1")
        assert shim.wait_for("dns_query")["qname"] == r"p\208\176ypal.test"
    assert shim.stderr.isascii()


def write(folder: Path, text: str) -> Path:
    """The configuration file of this test, new or changed."""
    path = folder / "shim.toml"
    path.write_text(text)
    return path
