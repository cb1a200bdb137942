"""Photographs by headless Chromium, of error pages too: its own --screenshot gives up on those."""

from __future__ import annotations

import base64
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shim.lab.devtools import FLAG, DevTools

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SETTLE_S = 2.0
"""A page has loaded, or has been given up, by then: all of it lies on this machine."""

_SCRIPT = 'exec 3<&"$0" 4>&"$1"; shift; exec chromium "$@"'


@contextmanager
def _browser(flags: tuple[str, ...]) -> Iterator[DevTools]:
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        argv = ["bash", "-c", _SCRIPT, str(theirs_in), str(theirs_out), *FLAGS, FLAG, *flags]
        process = subprocess.Popen(
            [*argv, f"--user-data-dir={profile}"], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        tools = DevTools(ours_in, ours_out)
        try:
            yield tools
            tools.call("Browser.close")
        finally:
            tools.close()
            process.wait(20)


def photograph(url: str, picture: Path, size: tuple[int, int], *flags: str) -> None:
    """What a fresh Chromium shows of `url`, into a PNG."""
    with _browser(flags) as tools:
        target = tools.call("Target.createTarget", url="about:blank")["targetId"]
        session = tools.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tools.call("Page.navigate", session, url=url)
        time.sleep(SETTLE_S)
        tools.call(
            *("Emulation.setDeviceMetricsOverride", session),
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=False,
        )
        shot = tools.call("Page.captureScreenshot", session, format="png")
    picture.write_bytes(base64.b64decode(shot["data"]))


def photograph_page(page: str, picture: Path, size: tuple[int, int]) -> None:
    """The same of a page that is given as text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        photograph(file.as_uri(), picture, size)
