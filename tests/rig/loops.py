"""Both event loops that the sensor must run on, and a listener run on one of them while a test asks it.

Knows nothing of DNS.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvloop

from rig.waiting import PATIENCE_S

LOOPS: tuple[Callable[[], asyncio.AbstractEventLoop], ...] = (uvloop.new_event_loop, asyncio.new_event_loop)
NAMES = ("uvloop", "asyncio")


@contextlib.contextmanager
def running(
    new_loop: Callable[[], asyncio.AbstractEventLoop], *jobs: Callable[[], Coroutine[Any, Any, None]]
) -> Iterator[asyncio.AbstractEventLoop]:
    """Run jobs in a thread until the context ends, then cancel them; what they or the loop raise is raised here."""
    started, faults, ended = threading.Event(), list[BaseException](), asyncio.Event()
    found: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: faults.append(context.get("exception") or _as_error(context)))
        found.append(loop)
        async with asyncio.TaskGroup() as tasks:
            mine = [tasks.create_task(job()) for job in jobs]
            await asyncio.sleep(0)
            started.set()
            await ended.wait()
            for task in mine:
                task.cancel()

    def body() -> None:
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(main())
        except BaseException as error:
            faults.append(error)
            started.set()

    thread = threading.Thread(target=body)
    thread.start()
    try:
        assert started.wait(PATIENCE_S), "the loop did not start"
        yield found[0]
    finally:
        if found and not found[0].is_closed():
            with contextlib.suppress(RuntimeError):  # closed just now
                found[0].call_soon_threadsafe(ended.set)
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a job could not be cancelled"
    for fault in faults:
        raise fault


def _as_error(context: dict[str, Any]) -> AssertionError:
    return AssertionError(context.get("message"))
