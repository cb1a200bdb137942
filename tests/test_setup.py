"""`shim setup` as it is used: printed, written, taken back; and real programs that obey what was written."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rig.clients import Task, firefox
from rig.namespace import Namespace
from rig.programs import require_namespaces, require_program
from rig.shim import Shim
from rig.upstream import Upstream

from shim.address import Address
from shim.cli import start
from shim.locale import LANGUAGES
from shim.setup.edits import NotEditable
from shim.setup.files import read, write
from shim.setup.programs import PROGRAMS, recipe

URL = "socks5h://127.0.0.1:9250"
HOMES = {
    "curl": ".curlrc",
    "git": ".gitconfig",
    "pip": ".config/pip/pip.conf",
    "npm": ".npmrc",
    "proxychains4": ".proxychains/proxychains.conf",
}
BY_HAND = [program for program in PROGRAMS if not recipe(program, Address.parse("127.0.0.1:1")).edits]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in which alone anything may be written."""
    for name in ("XDG_CONFIG_HOME", "CURL_HOME", "ALL_PROXY", "all_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_program_is_told_of_and_nothing_is_written(
    program: str, lang: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(["setup", program, "--socks", "127.0.0.1:4567", "--lang", lang]) == 0
    shown = capsys.readouterr().out
    assert start(["setup", program, "--socks", "127.0.0.1:4567", "--lang", lang, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["program"], told["socks"], told["written"]) == (program, "127.0.0.1:4567", None)
    assert all(piece["text"] in shown for piece in told["pieces"])
    assert all(note in shown for note in told["notes"])
    assert any("4567" in piece["text"] for piece in told["pieces"])
    assert "$" not in "".join(piece["text"] for piece in told["pieces"])
    assert files(home) == {}


def test_chromium_is_never_given_a_scheme_that_fails_or_leaks() -> None:
    texts = "".join(piece.text for piece in recipe("chromium", Address.parse("127.0.0.1:9250")).pieces)
    assert "socks5://127.0.0.1:9250" in texts
    assert not any(wrong in texts for wrong in ("socks5h", "socks4", "socks="))


def test_the_policies_are_json() -> None:
    pieces = [piece for name in ("firefox", "chromium") for piece in recipe(name, Address.parse("[::1]:1")).pieces]
    policies = [json.loads(piece.text) for piece in pieces if piece.where.endswith(".json")]
    assert [policies[0]["policies"]["Proxy"]["SOCKSProxy"], policies[1]["ProxyServer"]] == [
        "[::1]:1",
        "socks5://[::1]:1",
    ]


@pytest.mark.parametrize("program", HOMES)
def test_writing_keeps_a_backup_and_the_mode_and_can_be_undone(
    program: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / HOMES[program]
    file.parent.mkdir(parents=True, exist_ok=True)
    before = b"# mine \xff\n"
    file.write_bytes(before)
    file.chmod(0o640)
    assert start(["setup", program, "--write", "--format", "json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    backup = Path(written["backup"])
    assert (written["file"], written["changed"]) == (str(file), True)
    assert (backup.read_bytes(), backup.parent) == (before, file.parent)
    assert before in file.read_bytes()
    assert b"9250" in file.read_bytes()
    assert [path.stat().st_mode & 0o777 for path in (file, backup)] == [0o640, 0o640]
    after = files(home)
    assert start(["setup", program, "--write", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"]["changed"] is False
    assert files(home) == after
    subprocess.run(shlex.split(written["undo"]), check=True)
    assert files(home) == {HOMES[program]: before}


@pytest.mark.parametrize("program", HOMES)
def test_a_new_file_is_private_and_can_be_undone(program: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["setup", program, "--write"]) == 0
    shown = capsys.readouterr().out
    assert list(files(home)) == [HOMES[program]]
    assert (home / HOMES[program]).stat().st_mode & 0o777 == 0o600
    undo = f"rm {home / HOMES[program]}"
    assert shown.rstrip().endswith(undo)
    subprocess.run(shlex.split(undo), check=True)
    assert files(home) == {}


def test_the_difference_shows_only_what_changes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / ".npmrc").write_text("//registry/:_authToken=secret\nproxy=http://h:1\n")
    assert start(["setup", "npm", "--write"]) == 0
    shown = capsys.readouterr().out
    assert "-proxy=http://h:1\n" in shown
    assert f"+proxy={URL}\n" in shown
    assert "secret" not in shown


@pytest.mark.parametrize(("existing", "expected"), [((), ".curlrc"), ((".config/curlrc",), ".config/curlrc")])
def test_the_file_is_the_one_that_curl_reads(home: Path, existing: tuple[str, ...], expected: str) -> None:
    (home / ".config").mkdir()
    for name in existing:
        (home / name).touch()
    assert start(["setup", "curl", "--write"]) == 0
    assert "socks5h" in (home / expected).read_text()


def test_the_settings_folder_is_that_of_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    assert start(["setup", "pip", "--write"]) == 0
    assert list(files(home)) == ["elsewhere/pip/pip.conf"]


def test_a_symbolic_link_is_not_followed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "real").write_text("silent\n")
    (home / ".curlrc").symlink_to("real")
    assert start(["setup", "curl", "--write"]) == 2
    assert "symbolic link" in capsys.readouterr().err
    assert ((home / "real").read_text(), (home / ".curlrc").is_symlink()) == ("silent\n", True)
    assert start(["setup", "curl", "--write", "--file", str(home / "real")]) == 0
    assert "socks5h" in (home / "real").read_text()


def test_what_is_no_text_is_left_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(home / ".curlrc")
    assert start(["setup", "curl", "--write"]) == 2
    (home / ".npmrc").write_bytes(b"\0")
    assert start(["setup", "npm", "--write"]) == 2
    (home / ".gitconfig").write_text("[http] proxy = x\n")
    assert start(["setup", "git", "--write"]) == 2
    assert capsys.readouterr().err.count("was left as it is") == 3
    assert sorted(path.name for path in home.iterdir()) == [".curlrc", ".gitconfig", ".npmrc"]


@pytest.mark.parametrize("program", BY_HAND)
def test_what_is_not_edited_says_so(program: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["setup", program, "--write"]) == 2
    assert "by hand" in capsys.readouterr().err
    assert files(home) == {}


@pytest.mark.parametrize(
    "words",
    [
        ["lynx"],
        ["curl", "--socks", "unix:/tmp/s"],
        ["curl", "--socks", "127.0.0.1:0"],
        ["curl", "--socks", "0.0.0.0:9250"],
        ["curl", "--socks", "[::]:9250"],
        ["curl", "--socks", "name:1"],
        ["curl", "--file", "x"],
        ["firefox", "--write"],
        ["torsocks", "--write"],
        ["curl", "--write", "--profile", "."],
        ["firefox", "--write", "--profile", ".", "--file", "x"],
        ["firefox", "--write", "--profile", "no-such-folder"],
    ],
)
def test_wrong_usage_writes_nothing(words: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["setup", *words]) == 2
    assert capsys.readouterr().err
    assert files(home) == {}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    require_namespaces()
    with Namespace(tmp_path_factory.mktemp("space"), {}) as namespace:
        yield namespace


@pytest.fixture
def shim(upstream: Upstream, space: Namespace) -> Iterator[Shim]:
    with Shim("--mode", "block", upstream=upstream.unix, prefix=space.prefix) as process:
        yield process


REAL = {
    "curl": ("curl", ["curl", "-sS", "-m", "10", "http://unlisted.test/"], "socks5://127.0.0.1:1\n"),
    "git": ("git", ["git", "ls-remote", "http://unlisted.test/"], "[http]\n\tproxy = socks5://127.0.0.1:1\n"),
    "proxychains4": (
        "proxychains4",
        ["proxychains4", "curl", "-sS", "-m", "10", "http://unlisted.test/"],
        "[ProxyList]\nsocks4 127.0.0.1 1\n",
    ),
    "torsocks": ("torsocks", ["torsocks", "curl", "-sS", "-m", "10", "http://unlisted.test/"], "TorPort 1\n"),
}


@pytest.mark.clients
@pytest.mark.parametrize("program", REAL)
def test_a_program_obeys_what_was_written(program: str, shim: Shim, space: Namespace, home: Path) -> None:
    name, argv, before = REAL[program]
    require_program(name)
    require_program("curl")
    file = home / HOMES.get(program, "torsocks.conf")
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"proxy = {before}" if program == "curl" else before)
    assert start(["setup", program, "--socks", shim.socks, "--write", "--file", str(file)]) == 0
    space.run(argv, {"HOME": str(home), "GIT_TERMINAL_PROMPT": "0", "TORSOCKS_CONF_FILE": str(file)})
    if program == "torsocks":
        assert shim.decided(command="RESOLVE")["exposure"] == "name"
    else:
        line = shim.decided(destination="unlisted.test:80")
        assert (line["protocol"], line["exposure"], line["action"]) == ("socks5", "name", "forward")
    assert not shim.find("leak_found")


@pytest.mark.clients
def test_firefox_obeys_what_was_written(shim: Shim, space: Namespace, home: Path, tmp_path: Path) -> None:
    require_program("firefox-esr")
    command = firefox(4)(Task("unlisted.test", "127.0.0.1:1", "", tmp_path))  # a wrong version and a wrong port
    assert start(["setup", "firefox", "--socks", shim.socks, "--write", "--profile", str(tmp_path / "firefox")]) == 0
    with space.running(command.argv, command.env):
        line = shim.wait_for("request_decided", destination="unlisted.test:80", timeout_s=30)
    assert (line["protocol"], line["exposure"]) == ("socks5", "name")
    assert not shim.find("leak_found")


def test_a_file_that_changes_meanwhile_is_left_alone(home: Path) -> None:
    path = home / ".curlrc"
    path.write_text("silent\n")
    content = read(path)
    path.write_text("verbose\n")
    with pytest.raises(NotEditable):
        write(path, content, "proxy = x\n", datetime.now(UTC))
    assert path.read_text() == "verbose\n"
    assert not [name for name in files(home) if name.startswith(".curlrc.shim") and not name.endswith(".bak")]
