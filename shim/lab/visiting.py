"""Runs inside the namespace, as the command: starts a browser, has it load some pages, and ends as it ended.

Knows nothing of the shim; what became of each page it writes into a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from shim.lab import devtools
from shim.lab.devtools import Chromium, DevTools
from shim.lab.driving import END_S, SETTLE_S, DriveError
from shim.lab.marionette import Firefox, Marionette
from shim.value import value

_FAILED: Final = 1
_HIGH: Final = 10


@value
class Order:
    """What to do. `results` is the file for what became of each page, in order: a list of null or an error's code."""

    family: str
    argv: tuple[str, ...]
    urls: tuple[str, ...]
    results: str
    trusting: bool = False

    def command(self) -> tuple[str, ...]:
        """The program that does it."""
        words = json.dumps([self.family, self.argv, self.urls, self.results, self.trusting])
        return sys.executable, "-m", __name__, words


def main() -> int:
    """One order, from the command line."""
    family, argv, urls, results, trusting = json.loads(sys.argv[1])
    order = Order(family, tuple(argv), tuple(urls), results, trusting)
    process, pipes = _start(order)
    done: list[str | None] = []
    try:
        browser = _meet(order, process, pipes)
        for url in order.urls:
            done.append(_visit(browser, url))
            _keep(order, done)
        browser.quit()
    except DriveError as error:
        _keep(order, done + [error.code] * (len(order.urls) - len(done)))
        process.terminate()
    return _end(process)


def _keep(order: Order, done: list[str | None]) -> None:
    Path(order.results).write_text(json.dumps(done), encoding="utf-8")


def _visit(browser: Chromium | Firefox, url: str) -> str | None:
    """None once it has loaded and had its time, else why not. DriveError when the browser is gone."""
    try:
        browser.load(url)
    except DriveError as error:
        if error.code == "ended":
            raise
        return error.code
    finally:
        time.sleep(SETTLE_S)
    return None


def _start(order: Order) -> tuple[subprocess.Popen[bytes], tuple[int, int]]:
    """The browser, and our ends of the pipes that Chromium wants: as descriptors of certain numbers, free in us."""
    ends = [*os.pipe(), *os.pipe()]
    theirs_in, ours_out, ours_in, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _HIGH) for end in ends)
    for end in ends:
        os.close(end)
    for end, number in zip((theirs_in, theirs_out), devtools.DESCRIPTORS, strict=True):
        os.dup2(end, number, inheritable=False)
        os.close(end)
    process = subprocess.Popen(order.argv, pass_fds=devtools.DESCRIPTORS)  # noqa: S603 - what the user names is run
    for number in devtools.DESCRIPTORS:
        os.close(number)
    return process, (ours_in, ours_out)


def _meet(order: Order, process: subprocess.Popen[bytes], pipes: tuple[int, int]) -> Chromium | Firefox:
    if order.family == "chromium":
        return Chromium(DevTools(*pipes))
    return Firefox(Marionette(lambda: process.poll() is None), trusting=order.trusting)


def _end(process: subprocess.Popen[bytes]) -> int:
    """The browser's own status; a signal that ended it ends us as well."""
    try:
        status = process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return _FAILED
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL cannot be set, and need not
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    sys.exit(main())
