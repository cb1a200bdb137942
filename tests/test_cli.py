"""The command line: what each command prints, and the exit status it ends with."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from rig.shim import ROOT, environment, program, run

from shim import __version__
from shim.cli import commands, language, start
from shim.cli.helptext import columns, first_sentence, wrapped
from shim.cli.options import SETTINGS, Setting
from shim.config import Config, Log, Sandbox
from shim.config.problems import KEYS
from shim.errors import ListenError
from shim.guardian import Guardian
from shim.health import GREETING, WELCOME
from shim.locale import LANGUAGES, catalogue
from shim.model import DnsMode, Mode


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("COLUMNS", "80")


class FakeApp(types.ModuleType):
    """Stands where `shim.app` would be imported, and keeps what it was called with."""

    def __init__(self, status: int = 0) -> None:
        super().__init__("shim.app")
        self.status = status
        self.calls: list[tuple[Config, int, str]] = []

    def run(self, config: Config, guardian: Guardian, *, workers: int, lang: str) -> int:
        assert guardian.link(0) is None, "it has yet to be told what it is there for"
        self.calls.append((config, workers, lang))
        return self.status


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FakeApp:
    fake = FakeApp()
    monkeypatch.setitem(sys.modules, "shim.app", fake)
    monkeypatch.setattr("shim.app", fake, raising=False)
    return fake


def every_command(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, *path, name)
        else:
            yield (*path, name)


PATHS = list(every_command(commands(catalogue("en"))))


def test_without_flags_the_defaults_run(app: FakeApp) -> None:
    assert start(["run"]) == 0
    ((config, workers, lang),) = app.calls
    assert (config.model_dump(), workers, lang) == (Config().model_dump(), 1, "en")


def test_every_flag_reaches_its_setting(app: FakeApp, tmp_path: Path) -> None:
    file = tmp_path / "shim.toml"
    file.write_text("[listen]\nsocks = ['127.0.0.1:1']\n[limits]\nhandshakes = 7\n")
    words = ["run", "--config", str(file), "--socks", "127.0.0.1:2", "--socks", "unix:/tmp/s", "--http", "[::1]:3"]
    words += ["--upstream", "127.0.0.1:9050", "--mode", "block", "--log-format", "json", "--log-level", "debug"]
    assert start([*words, "--reveal", "--workers", "3", "--lang", "ja"]) == 0
    ((config, workers, lang),) = app.calls
    assert [str(address) for address in config.listen.socks] == ["127.0.0.1:2", "unix:/tmp/s"]
    assert [str(address) for address in config.listen.http] == ["[::1]:3"]
    assert (str(config.upstream.address), config.policy.mode) == ("127.0.0.1:9050", Mode.BLOCK)
    assert config.log == Log(format="json", level="debug", safe_logging=False, lang="ja")
    assert (config.limits.handshakes, workers, lang) == (7, 3, "ja")


def test_the_status_of_the_shim_is_that_of_the_command(app: FakeApp) -> None:
    app.status = 70
    assert start(["run"]) == 70


def test_the_language_of_the_file_counts_and_the_flag_more(app: FakeApp, tmp_path: Path) -> None:
    file = tmp_path / "shim.toml"
    file.write_text("[log]\nlang = 'ja'\n")
    start(["run", "--config", str(file)])
    start(["run", "--config", str(file), "--lang", "en"])
    assert [lang for _, _, lang in app.calls] == ["ja", "en"]


def test_a_bad_configuration_starts_nothing(app: FakeApp, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["run", "--mode", "blok", "--socks", "nowhere", "--upstream", "127.0.0.1:0"]) == 2
    assert app.calls == []
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "--mode: must be one of 'warn', 'block', 'repair', got 'blok' — did you mean 'block'?",
        "--socks: must be HOST:PORT, [V6]:PORT or unix:PATH, got 'nowhere' — the port is missing",
        "--upstream: must be 'auto', HOST:PORT, [V6]:PORT or unix:PATH, got '127.0.0.1:0' — port 0 cannot be "
        "connected to",
    ]


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EADDRINUSE, "shim health"), (errno.EACCES, "CAP_NET_BIND_SERVICE"), (errno.EADDRNOTAVAIL, None)],
)
@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_listener_that_cannot_be_bound_is_no_verdict(
    lang: str,
    number: int,
    hint: str | None,
    app: FakeApp,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither a leak nor wrong usage; and what to do about it is said where that is known."""

    def refused(*_: object, **__: object) -> int:
        raise ListenError("127.0.0.1:53", OSError(number, os.strerror(number)))

    monkeypatch.setattr(app, "run", refused)
    assert start(["run", "--lang", lang]) == 70
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith(f"127.0.0.1:53: {os.strerror(number).lower()}")
    assert [hint in line for line in rest if hint] == ([True] if hint else [])


@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting.constant is None])
def test_bytes_that_are_no_text_are_wrong_usage(
    setting: Setting, app: FakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python passes them on as half surrogates."""
    value = "unix:/run/\udcff" if not setting.choices else "\udcff"
    assert start(["run", f"{setting.option}={value}"]) == 2
    assert app.calls == []
    assert capsys.readouterr().err.startswith(f"{setting.option}: must be ")


@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting.constant is None])
def test_an_option_given_empty_is_not_one_left_out(
    setting: Setting, app: FakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    """As from an unset variable: `--mode "$MODE"` must not run in the default's."""
    assert start(["run", f"{setting.option}="]) == 2
    assert app.calls == []
    assert capsys.readouterr().err.startswith(f"{setting.option}: must be ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--dns", "unix:/run/dns"], "--dns"),
        (["run", "--dns-mode", "forward"], "--dns-mode"),
        (["run", "--dns", "127.0.0.1:5453", "--workers", "2"], "--workers"),
        (["run", "--dashboard", "127.0.0.1:9251"], "--dashboard"),
        (["run", "--workers", "0"], "--workers"),
        (["run", "--workers", "x"], "--workers"),
        (["run", "--lang", "fr"], "--lang"),
        (["run", "surplus"], "surplus"),
        (["run", "--socks"], "--socks"),
        (["run", "--config", "/nonexistent/shim.toml"], "/nonexistent/shim.toml"),
        (["check"], "COMMAND"),
        (["surveys"], "surveys"),
        (["config", "check"], "FILE"),
        (["config", "mend"], "mend"),
        (["health", "x:1"], "IP address"),
        (["health", "--lang", "fr"], "--lang"),
        ([], "Usage"),
        (["config"], "Usage"),
        (["--frob"], "--frob"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_itself(
    words: list[str], told: str, app: FakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(words) == 2
    assert app.calls == []
    out, err = capsys.readouterr()
    assert told in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize("lang", LANGUAGES)
def test_config_check(lang: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "shim.toml"
    file.write_text("[policy]\nmode = 'block'\n")
    assert start(["config", "check", str(file), "--lang", lang]) == 0
    assert capsys.readouterr().out == f"{file}: {'OK' if lang == 'en' else '問題ありません'}\n"
    file.write_text("[policy]\nmod = 'block'\n")
    assert start(["config", "check", str(file), f"--lang={lang}"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"{file}:2: policy.mod: ")


def test_config_show_prints_a_file_that_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["config", "show", "--mode", "block", "--socks", "127.0.0.1:7", "--reveal"]) == 0
    shown = capsys.readouterr().out
    assert 'mode = "block"' in shown
    assert "safe_logging = false" in shown
    file = tmp_path / "shim.toml"
    file.write_text(shown)
    assert start(["config", "show", "--config", str(file)]) == 0
    assert capsys.readouterr().out == shown


def test_config_show_of_a_bad_file_shows_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["config", "show", "--config", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["--version"]) == 0
    assert capsys.readouterr().out == f"shim {__version__}\n"


def test_a_fault_is_neither_a_leak_nor_wrong_usage(
    app: FakeApp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> int:
        raise RuntimeError("secret-host.example")

    monkeypatch.setattr(app, "run", broken)
    assert start(["run"]) == 70
    err = capsys.readouterr().err
    assert err.endswith("RuntimeError\n")
    assert "in broken" in err
    assert "secret-host.example" not in err.replace('raise RuntimeError("secret-host.example")', "")


def test_an_interrupt_before_the_shim_runs_is_not_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shim.config.load", interrupted)
    assert start(["run"]) == 130


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_help_fits_the_terminal(path: tuple[str, ...], lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start([*path, "--help", "--lang", lang]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"{catalogue(lang).text('cli.help.usage')}{' '.join(('shim', *path))} ")
    assert (lang == "en") == ("Options" in out)
    assert all(columns(line) <= 80 for line in out.splitlines())
    assert catalogue(lang).text("cli.option.help") in out


def test_help_names_what_exists_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    start(["--help"])
    commands_shown = capsys.readouterr().out.partition("Commands:")[2].split("\n")
    names = ["check", "config", "doctor", "health", "replay", "run", "setup", "survey"]
    assert [line.split()[0] for line in commands_shown if line.startswith("  ") and line[2] != " "] == names


@pytest.mark.parametrize(
    ("words", "lang"),
    [
        (["run", "--lang", "ja"], "ja"),
        (["run", "--lang=ja"], "ja"),
        (["--lang", "ja", "run"], "ja"),
        (["run", "--lang"], "en"),
        (["run", "--lang", "fr"], "en"),
        (["run", "--", "--lang", "ja"], "en"),
        ([], "en"),
    ],
)
def test_the_language_is_known_before_the_commands_are(words: list[str], lang: str) -> None:
    assert language(words) == lang


def test_the_language_of_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LC_ALL", "ja_JP.UTF-8")
    assert start(["health", "127.0.0.1:1"]) == 1
    assert "応答しません" in capsys.readouterr().err


def test_the_choices_are_those_of_the_configuration() -> None:
    allowed: dict[str, Any] = {
        "policy.mode": tuple(Mode),
        "dns.mode": tuple(DnsMode),
        "log.format": get_args(Log.model_fields["format"].annotation),
        "log.level": get_args(Log.model_fields["level"].annotation),
        "log.lang": tuple(lang for lang in get_args(Log.model_fields["lang"].annotation) if lang != "auto"),
        "sandbox.mode": get_args(Sandbox.model_fields["mode"].annotation),
    }
    assert {setting.key: setting.choices for setting in SETTINGS if setting.choices} == allowed
    assert {setting.key for setting in SETTINGS} <= set(KEYS)


@pytest.fixture
def greeter() -> Iterator[str]:
    """A server that says WELCOME to one GREETING, and then waits for the end of the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.settimeout(10)
                if client.recv(len(GREETING), socket.MSG_WAITALL) == GREETING:
                    client.sendall(WELCOME[:1])
                    client.sendall(WELCOME[1:])
                assert client.recv(1) == b""

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(10)
        assert not thread.is_alive()


def test_health_of_a_listener_that_answers(greeter: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["health", greeter]) == 0
    assert capsys.readouterr().out == f"{greeter} answers\n"


def test_health_where_nobody_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    for address in (free, f"unix:{tmp_path}/none", "[::1]:0"):
        assert start(["health", address]) == 1
        assert capsys.readouterr().err == f"{address} does not answer\n"


def test_help_and_health_import_nothing_heavy() -> None:
    heavy = ("pydantic", "uvloop", "asyncio", "structlog", "rich")
    code = (
        "import sys; from shim.cli import start; start(['health', '127.0.0.1:1']); start(['run', '--help']); "
        f"print('heavy:', [name for name in {heavy} if name in sys.modules])"
    )
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "127.0.0.1:1 does not answer\n")
    assert done.stdout.endswith("heavy: []\n")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_the_installed_program(tmp_path: Path) -> None:
    """The real entry point, its streams and its exit status."""
    assert program()
    good = run("--version")
    assert (good.returncode, good.stdout, good.stderr) == (0, f"shim {__version__}\n", "")
    bad = run("config", "check", str(tmp_path))
    assert (bad.returncode, bad.stdout, bad.stderr) == (2, "", f"{tmp_path}: cannot be read: Is a directory\n")


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("one  two\nthree", 80, ["one two three"]),
        ("incomprehensibility", 5, ["incomprehensibility"]),
        ("日本語の文", 6, ["日本語", "の文"]),
        ("日本語。文", 6, ["日本", "語。文"]),
        ("日本（語）文", 6, ["日本", "（語）", "文"]),
        ("Tor の文", 5, ["Tor", "の文"]),
        ("", 5, [""]),
    ],
)
def test_lines_break_by_columns(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width) == lines


@pytest.mark.parametrize(
    ("text", "first"),
    [("One. Two.", "One."), ("一。二。", "一。"), ("127.0.0.1 is one. Two.", "127.0.0.1 is one."), ("None", "None")],
)
def test_the_first_sentence(text: str, first: str) -> None:
    assert first_sentence(text) == first
