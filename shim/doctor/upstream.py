"""Whether there is a Tor that `shim run` would find by itself: where it looks, in its own order.

Asks with a greeting, and makes no request; starts nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

from shim.address import Address
from shim.doctor.remark import Remark, Status
from shim.health import answers
from shim.tor.discover import CANDIDATES, PROBE_TIMEOUT_S
from shim.tor.owner import is_squatted

_PROGRAM = "tor"


def look(
    is_there: Callable[[Address], bool] = lambda address: answers(address, PROBE_TIMEOUT_S),
    find: Callable[[str], str | None] = shutil.which,
    is_foreign: Callable[[Address], bool] = is_squatted,
) -> Remark:
    """What `auto` comes to here. Never a leak: without a Tor, everything is refused."""
    there = [address for address in CANDIDATES if is_there(address)]
    found = next((address for address in there if not is_foreign(address)), None)
    if there and found is None:
        return Remark("tor_foreign", Status.NOTE, (("places", ", ".join(map(str, there))),))
    if found is not None:
        return Remark("tor_answers", Status.NOTE, (("address", str(found)),))
    places = (("places", ", ".join(map(str, CANDIDATES))),)
    if find(_PROGRAM) is not None:
        return Remark("tor_startable", Status.NOTE, places)
    return Remark("tor_missing", Status.NOTE, places, "tor_missing")
