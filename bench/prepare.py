"""Builds what a run needs: the two C programs, and one virtual environment for each peer that comes from PyPI.

All of it lands in bench/build, which git ignores; nothing is installed into the system or the project's .venv.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
INSTALL_TIMEOUT_S = 180
# asyncio-socks-server 1.x needs a newer Python than the project does; an older one gets 0.3.0.
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12")


class Missing(Exception):
    """A peer or a tool is not to be had here; the text says why."""


def build_programs() -> tuple[Path, Path]:
    """Compile loadgen and upstream where their sources are newer; returns their paths."""
    done = subprocess.run(["make", "-s", "-C", str(HERE)], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Missing(f"the C programs do not build: {done.stderr.strip()}")
    return BUILD / "loadgen", BUILD / "upstream"


def newest_python(wanted: str | None = None) -> str:
    """`wanted`, or the newest Python on PATH or of pyenv that starts, or the one that runs this."""
    by_pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("3.1[2-9].*/bin/python"), reverse=True)
    for name in (wanted,) if wanted else (*NEWER_PYTHONS, *map(str, by_pyenv)):
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", ""], capture_output=True, timeout=20).returncode == 0:
            return path
    if wanted:
        raise Missing(f"{wanted} is no Python that starts")
    return sys.executable


def environment(name: str, packages: tuple[str, ...], python: str) -> Path:
    """The bin folder of bench/build/venv-NAME with `packages`; made once, tried again after a failure."""
    home = BUILD / f"venv-{name}"
    done = home / "installed.txt"
    recipe = "\n".join((python, *packages))
    if done.exists() and done.read_text() == recipe:
        return home / "bin"
    for command in (
        [python, "-m", "venv", "--clear", str(home)],
        [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages],
    ):
        _run(name, command)
    done.write_text(recipe)
    return home / "bin"


def _run(name: str, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Missing(f"{name} did not install within {INSTALL_TIMEOUT_S} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Missing(f"{name} does not install: {last}")


def installed_version(bin_dir: Path, package: str) -> str:
    """The version of `package` in that environment, with the Python under it."""
    code = f"import importlib.metadata as m, platform; print(m.version({package!r}), platform.python_version())"
    out = subprocess.run([str(bin_dir / "python"), "-c", code], capture_output=True, text=True, timeout=20)
    version, _, python = out.stdout.strip().partition(" ")
    return f"{version} (Python {python})"


def program_version(program: str, package: str, *flags: str) -> str:
    """Debian's version of the package the program is from, else the first version it prints for `flags`."""
    query = shutil.which("dpkg-query")
    if query:
        out = subprocess.run([query, "-W", "-f=${Version}", package], capture_output=True, text=True, timeout=20)
        if out.returncode == 0 and out.stdout:
            return out.stdout
    if not flags:
        return "version unknown"
    out = subprocess.run([program, *flags], capture_output=True, text=True, timeout=20)
    found = re.search(r"\d+\.\d+[\w.+-]*", out.stdout + out.stderr)
    return found[0] if found else "version unknown"
