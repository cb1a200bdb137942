"""`shim run` that counts itself: on SIGUSR1 it adds a line to $SHIM_COUNTS, with its pid and what is alive inside.

Changes nothing else of the shim. The file is opened before the sandbox is entered, in which none can be made.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections import Counter

from shim.cli import main

COUNTED = (
    "Session",
    "Tunnel",
    "Direction",
    "UpstreamLeg",
    "Hearing",
    "Ticket",
    "Pipe",
    "Overhearing",
    "_Connection",
    "Asked",
)


def count(*_: object) -> None:
    """Objects by the name of their class, tasks that are not done, and the quota's counts."""
    gc.unfreeze()  # what there was at the start, or it is not among the objects
    garbage = gc.collect()
    objects = gc.get_objects()
    kinds = Counter(type(each).__name__ for each in objects)
    tasks = [each for each in objects if isinstance(each, asyncio.Task) and not each.done()]
    quotas = [each for each in objects if type(each).__name__ == "Quota"]
    found: dict[str, int] = {name: kinds[name] for name in COUNTED}
    found |= {"task": len(tasks), "garbage": garbage, "open": sum(quota.open for quota in quotas)}
    found |= {"blocks": sys.getallocatedblocks()}
    found |= {"handshakes": sum(quota.handshakes for quota in quotas)}
    found |= {"clients": sum(len(quota._clients) for quota in quotas)}
    os.write(_counts[0], f"{json.dumps({'pid': os.getpid(), 'found': found})}\n".encode())


_counts: list[int] = []


if __name__ == "__main__":
    _counts.append(os.open(os.environ["SHIM_COUNTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    signal.signal(signal.SIGUSR1, count)
    main()
