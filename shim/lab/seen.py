"""What was seen of one run: where it ran, what became of it, what happened there, and what tried to leave.

Values only: judges nothing.
"""

from __future__ import annotations

from shim.events import Event
from shim.lab.canary import Canaries
from shim.lab.packets import Packet
from shim.model import Process
from shim.value import value


@value
class Departure:
    """A conversation that tried to leave past the proxy: its first packet, how many there were, and who sent it.

    `canary` is the role of the canary whose name was in one of them.
    """

    at: float
    packet: Packet
    count: int = 1
    process: Process | None = None
    process_reason: str | None = None
    canary: str | None = None


@value
class Isolation:
    """What the namespace was like; `root` that the program ran as root, `kernel` the release of the system."""

    user_namespace: bool
    trap: str
    families: tuple[int, ...]
    hidden: tuple[str, ...]
    interactive: bool = False
    root: bool = False
    kernel: str = ""


@value
class Visit:
    """A page that a browser was given. `loaded` is None where nobody drove the browser; `error` says why not."""

    url: str
    loaded: bool | None = None
    error: str | None = None


@value
class Run:
    """All that is known of one run. `status` is the program's own, negative for the signal that ended it.

    `failure` says why there was no isolation (step and cause), `start_error` why the program could not be started,
    `stopped` that we ended it (`timeout`, `interrupted`), `left_running` that we ended what it had left behind
    after `linger_s`, `untrusted` that some connection broke off over the sandbox's certificate.
    `script` is the file that the command names, below the folder that it was run in.
    """

    command: tuple[str, ...]
    began: float
    seconds: float = 0.0
    upstream: str = "sandbox"
    isolation: Isolation | None = None
    failure: tuple[str, str] | None = None
    started: bool = False
    start_error: str | None = None
    status: int | None = None
    stopped: str | None = None
    left_running: bool = False
    events: tuple[Event, ...] = ()
    departures: tuple[Departure, ...] = ()
    uncounted: int = 0
    canaries: Canaries = Canaries()
    untrusted: bool = False
    linger_s: float = 2.0
    visits: tuple[Visit, ...] = ()
    script: str | None = None
