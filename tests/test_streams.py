"""The standard streams, closed, full, broken or narrow: never a verdict that was none, never somebody else's socket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rig.shim import ROOT, environment, program, run

COMMANDS = [["--help"], ["run", "--help"], ["config", "show"], ["setup", "curl"], ["doctor"]]


def redirected(how: str, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """One command with its streams as the shell's words say."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {how}', "sh", *program(), *args],
        cwd=ROOT,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_result_that_could_not_be_written_is_no_verdict(words: list[str]) -> None:
    done = redirected(">/dev/full", *words)
    expected = "the result cannot be written to standard output: no space left on device\n"
    assert (done.returncode, done.stderr) == (70, expected)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_reader_that_has_gone_makes_no_leak(words: list[str]) -> None:
    """Click ends with 1 for a broken pipe, and so does a command that has found a leak."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        done = subprocess.run(
            [*program(), *words],
            cwd=ROOT,
            env=environment(),
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert (done.returncode, done.stderr) == (70, "")


@pytest.mark.parametrize("how", [">&-", "<&- >&- 2>&-", "<&-", "2>&-"])
def test_streams_that_the_caller_has_closed(how: str, tmp_path: Path) -> None:
    """What is opened next would get the number of a closed stream, and be written to."""
    code = "import os, shim.cli.streams as s; s.open_all(); r = os.open('found', os.O_RDWR | os.O_CREAT); print('said')"
    done = subprocess.run(
        ["sh", "-c", f'"$@" {how}', "sh", sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "found").read_bytes() == b""
    assert done.stdout == (b"" if ">&-" in how.replace("2>&-", "") else b"said\n")
    assert redirected(how, "health", "127.0.0.1:1").returncode == 1
    assert redirected(how, "run", "--mode", "blok").returncode == 2


def test_a_terminal_that_lacks_the_letters() -> None:
    done = redirected("", "--lang", "ja", "--help", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert done.stdout.startswith(r"\u4f7f\u3044\u65b9: shim [OPTIONS] COMMAND")


def test_completion_ends_as_the_shell_expects() -> None:
    done = redirected("", _SHIM_COMPLETE="bash_complete", COMP_WORDS="shim repl", COMP_CWORD="1")
    assert (done.returncode, done.stdout) == (0, "plain,replay\n")
    assert run("--version").returncode == 0
