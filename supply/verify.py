"""What is installed against the locks: each release the locked one, each file the one that came with it.

    python -m supply.verify

Exit status: 0 all is as it should be; 1 something is not. Asks no registry, so it knows no vulnerabilities: a file that
was changed and a release that was exchanged are all it can see. A file's hash is compared with the one that its wheel's
RECORD gives; that the wheel was the locked one is what `pip install --require-hashes` has seen to.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from supply.locks import PROJECT, canonical, read

LOCKS = ("base.lock", "dev.lock", "build.lock", "fuzz.lock")
TOOLS = {"pip"}
"""What comes with Python itself."""


def main() -> int:
    """Say what is wrong."""
    installed = list(distributions())
    wrong = list(problems(installed))
    for problem in wrong:
        print(problem)
    files = sum(1 for each in installed for _ in _recorded(each))
    print(f"audit: {len(installed)} distributions, {files} files, {len(wrong)} problems")
    return 1 if wrong else 0


def problems(installed: list[Distribution]) -> Iterator[str]:
    """A line for each release that no lock knows, and for each file that is not its own."""
    locked = {(canonical(pin.name), pin.version) for lock in LOCKS for pin in read(lock)}
    for each in installed:
        name = canonical(each.name)
        if name == PROJECT:
            continue
        if name not in TOOLS and (name, each.version) not in locked:
            yield f"{each.name} {each.version}: not in the locks"
        yield from changed(each)


def changed(distribution: Distribution) -> Iterator[str]:
    """Files that are gone or are not what RECORD says of them."""
    for path, told in _recorded(distribution):
        method, _, digest = told.partition("=")
        try:
            data = Path(str(distribution.locate_file(path))).read_bytes()
        except OSError:
            yield f"{distribution.name}: {path} is gone"
            continue
        if base64.urlsafe_b64encode(hashlib.new(method, data).digest()).decode("ascii").rstrip("=") != digest:
            yield f"{distribution.name}: {path} was changed"


def _recorded(distribution: Distribution) -> Iterator[tuple[str, str]]:
    """Files with their hashes; RECORD itself and what was compiled here have none.

    Read here, because since Python 3.12 `Distribution.files` leaves out what is gone.
    """
    for path, told, _ in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        if told:
            yield path, told


if __name__ == "__main__":
    sys.exit(main())
