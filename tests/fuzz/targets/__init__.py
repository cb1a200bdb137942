"""What is fuzzed. A target is a module with three names:

`one_input`  takes any bytes and raises when its first docstring line does not hold;
`generate`   makes an input that reaches the inside;
`COVERS`     the modules whose branches it is for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from random import Random
from typing import Protocol, cast

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py")))


class Target(Protocol):
    """One of the modules beside this one."""

    COVERS: tuple[str, ...]

    def one_input(self, data: bytes) -> None: ...

    def generate(self, rng: Random) -> bytes: ...


def target(name: str) -> Target:
    """Import one of `NAMES`."""
    return cast(Target, import_module(f"fuzz.targets.{name}"))
