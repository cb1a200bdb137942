"""A program of its own, `python -m rig.drive ADDR`: sends every wire input to a SOCKS port and reads to the end.

Judges nothing; what is looked at is what else happens meanwhile.
"""

from __future__ import annotations

import contextlib
import sys

from rig.cases import CASES, Fresh
from rig.wire import Client


def main() -> None:
    """Send all of them, one after the other."""
    for case in CASES:
        with contextlib.suppress(OSError), Client(sys.argv[1], timeout_s=1) as client:
            client.send(b"".join(case.steps(Fresh.new())))
            client.end()
            client.read_all()
    print(len(CASES))


if __name__ == "__main__":
    main()
