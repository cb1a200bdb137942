"""Which branches inputs reach, and the few inputs that reach them all.

    python -m fuzz.reach NAME FOLDER [--keep]

prints what share of the target's modules the inputs in FOLDER reach, lines and branches together; `--keep` puts the
smallest that each reach something new on the shelf.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from coverage import Coverage

from fuzz.shelf import keep
from fuzz.targets import target


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    found = sorted((file.read_bytes() for file in arguments.folder.iterdir()), key=lambda data: (len(data), data))
    reached = Reached(arguments.name)
    kept = [data for data in found if reached.adds(data)]
    if arguments.keep:
        keep(arguments.name, kept)
    print(f"{arguments.name:14}{len(found):6} inputs,{len(kept):4} of them needed:{reached.percent():6.1f} %")


class Reached:
    """What has been reached so far in the modules of a target."""

    def __init__(self, name: str) -> None:
        # A fresh import under measurement: what runs at import counts as reached.
        self._coverage = Coverage(branch=True, source=["shim"], data_file=None, config_file=False)
        self._coverage.start()
        self._target = target(name)
        self._files = [str(import_module(module).__file__) for module in self._target.COVERS]
        self._arcs: set[tuple[str, tuple[int, int]]] = set()
        self._arcs.update(self._new())

    def adds(self, data: bytes) -> bool:
        """Run one input; whether it reached something new."""
        self._target.one_input(data)
        new = set(self._new()) - self._arcs
        self._arcs |= new
        return bool(new)

    def _new(self) -> Iterator[tuple[str, tuple[int, int]]]:
        measured = self._coverage.get_data()
        for file in self._files:
            for arc in measured.arcs(file) or ():
                yield file, arc

    def percent(self) -> float:
        """Statements and branches reached, of all there are, as coverage reports count them."""
        numbers = [self._coverage._analyze(file).numbers for file in self._files]
        return float(sum(numbers[1:], numbers[0]).pc_covered)


if __name__ == "__main__":
    sys.exit(main())
