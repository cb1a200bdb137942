"""One target under atheris: python -m fuzz NAME [FOLDER] [libFuzzer's flags], in tests/. Starts in some seconds.

Every other mutant is made by the target's grammar, the rest by libFuzzer.
"""

from __future__ import annotations

import sys
from random import Random

import atheris

from fuzz.grammar import mutant
from fuzz.targets import target


def main() -> None:
    """Fuzz until told to stop."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["shim"]):
        fuzzed = target(name)

    def mutate(data: bytes, limit: int, seed: int) -> bytes:
        rng = Random(seed)
        chance = rng.random()
        if chance < 0.15 or not data:
            made = fuzzed.generate(rng)
        elif chance < 0.5:
            made = mutant(rng, data)
        else:
            made = atheris.Mutate(data, limit)
        return bytes(made[:limit])

    atheris.Setup(sys.argv, fuzzed.one_input, custom_mutator=mutate)
    atheris.Fuzz()


main()
