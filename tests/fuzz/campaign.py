"""All targets for so many seconds, side by side on the cores there are; then what each has reached.

    python -m fuzz.campaign --seconds 120 [--seed 1] [--keep] [NAME ...]

What was found is kept in `.fuzz` and gone on from; `--keep` puts the few inputs that reach it all on the shelf. From
the same beginning a seed gives the same inputs, so that a change is to blame for what breaks.
Exit status: 0 nothing broke; 1 something did, and its input is named; 2 there is no fuzzer.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fuzz.shelf import unpack
from fuzz.targets import NAMES

TESTS = Path(__file__).parents[1]
PLACE = TESTS.parent / ".fuzz"
START_S = 8
"""To import and instrument a target, and to measure its reach afterwards, on a busy machine."""

LEAST_S = 3
SHARES = {"session": 4, "dns": 2, "config": 2}
"""Of the time, where one is not enough."""

FLAGS = ("-timeout=20", "-rss_limit_mb=2048", "-max_len=9000", "-print_final_stats=1")


@dataclass
class Result:
    """What came of a target."""

    name: str
    runs: int
    reach: str
    broken: list[Path]
    log: Path
    failed: bool


def main() -> int:
    """Run, print a line for each target."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="NAME")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    if find_spec("atheris") is None:
        print("fuzz: atheris is not installed; pip could not: see above, or the platform has no wheel", file=sys.stderr)
        return 2
    names = arguments.names or NAMES
    jobs = min(os.cpu_count() or 1, len(names))
    share = (arguments.seconds * jobs - START_S * len(names)) / sum(SHARES.get(name, 1) for name in names)
    with ThreadPoolExecutor(jobs) as pool:
        # The longest first, so that none is left running alone.
        ordered = sorted(names, key=lambda name: -SHARES.get(name, 1))
        seconds = {name: max(LEAST_S, int(share * SHARES.get(name, 1))) for name in names}
        results = list(pool.map(lambda name: fuzz(name, seconds[name], arguments.seed, arguments.keep), ordered))
    return report(results)


def fuzz(name: str, seconds: int, seed: int, keep: bool) -> Result:
    """One target, from what is kept of it."""
    folder, log = PLACE / name, PLACE / f"{name}.log"
    unpack(name, folder)
    before = set(PLACE.glob(f"{name}-*"))
    command = [sys.executable, "-m", "fuzz", name, str(folder), f"-max_total_time={seconds}", f"-seed={seed}", *FLAGS]
    with log.open("wb") as file:
        ended = subprocess.run(
            [*command, f"-artifact_prefix={PLACE}/{name}-"], cwd=TESTS, stdout=file, stderr=file, check=False
        )
    said = log.read_text(errors="replace")
    runs = re.search(r"number_of_executed_units: (\d+)", said) or re.search(r"Done (\d+) runs", said)
    broken = sorted(set(PLACE.glob(f"{name}-*")) - before)
    reach = _reach(name, folder, keep) if not ended.returncode else "not measured"
    return Result(name, int(runs[1]) if runs else 0, reach, broken, log, bool(ended.returncode))


def _reach(name: str, folder: Path, keep: bool) -> str:
    command = [sys.executable, "-m", "fuzz.reach", name, str(folder), *(["--keep"] if keep else [])]
    measured = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    return measured.stdout.strip() if not measured.returncode else measured.stderr.strip()[-300:]


def report(results: list[Result]) -> int:
    """A line for each, and where to look when something broke."""
    for result in sorted(results, key=lambda result: result.name):
        print(f"{result.runs:9} runs  {result.reach}" + ("  BROKEN" if result.failed else ""))
        if result.failed:
            print(f"          {result.name}: {', '.join(map(str, result.broken)) or 'no input'}; see {result.log}")
    failed = sum(result.failed for result in results)
    print(f"fuzz: {len(results) - failed} targets held, {failed} broke")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
