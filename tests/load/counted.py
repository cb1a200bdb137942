"""`shim run` that counts itself: on SIGUSR1 it writes what is alive inside, as JSON, into $SHIM_COUNTS.PID.

Changes nothing else of the shim.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
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
    found |= {"handshakes": sum(quota.handshakes for quota in quotas)}
    found |= {"clients": sum(len(quota._clients) for quota in quotas)}
    path = f"{os.environ['SHIM_COUNTS']}.{os.getpid()}"
    with open(f"{path}.new", "w") as file:
        json.dump(found, file)
    os.replace(f"{path}.new", path)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, count)
    main()
