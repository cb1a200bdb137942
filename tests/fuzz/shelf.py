"""Inputs on the shelf: one file for each target, one input a line, in base64.

`corpus` holds the few that reach every branch ever reached; `crashes` what once broke something, each with a word on
what that was.
"""

from __future__ import annotations

import atexit
import base64
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
CRASHES = HERE / "crashes"


def scratch() -> Path:
    """A folder that is gone when this process is."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def inputs(shelf: Path, name: str) -> list[bytes]:
    """All that is kept for a target."""
    file = shelf / f"{name}.txt"
    lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    return [base64.b64decode(line.partition("#")[0]) for line in lines if not line.startswith("#")]


def keep(name: str, found: Iterable[bytes]) -> None:
    """Make these the corpus of a target."""
    CORPUS.mkdir(exist_ok=True)
    lines = sorted(base64.b64encode(data).decode("ascii") for data in found)
    (CORPUS / f"{name}.txt").write_text("".join(f"{line}\n" for line in sorted(lines, key=len)), encoding="ascii")


def unpack(name: str, folder: Path) -> None:
    """One file an input, as a fuzzer wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(inputs(CORPUS, name) + inputs(CRASHES, name)):
        (folder / f"kept-{number:04d}").write_bytes(data)
