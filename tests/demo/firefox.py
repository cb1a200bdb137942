"""Photographs by headless Firefox, of error pages too: its own --screenshot never ends on those."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from shim.lab.driving import DriveError
from shim.lab.marionette import FLAG, Marionette

SETTLE_S = 1.0
"""The picture on an error page comes a little later than its text."""

_QUIET: dict[str, str | int | bool] = {
    "network.trr.mode": 5,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
}


def photograph(url: str, picture: Path, size: tuple[int, int], settings: Mapping[str, str | int | bool]) -> None:
    """What a fresh Firefox with these settings (about:config) shows of `url`, into a PNG."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        lines = [
            f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in {**_QUIET, **settings}.items()
        ]
        (Path(profile) / "user.js").write_text("".join(lines))
        argv = ["firefox-esr", "--headless", "--no-remote", FLAG, "--profile", profile]
        environment = {**os.environ, "HOME": profile, "MOZ_CRASHREPORTER_DISABLE": "1"}
        process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            picture.write_bytes(_shot(Marionette(lambda: process.poll() is None), url, size))
        finally:
            process.terminate()
            process.wait(30)


def _shot(browser: Marionette, url: str, size: tuple[int, int]) -> bytes:
    try:
        browser.call("WebDriver:NewSession")
        browser.call("WebDriver:SetWindowRect", width=size[0], height=size[1] + 86)  # its own bars
        with suppress(DriveError):  # an error page is an error here, and is photographed all the same
            browser.call("WebDriver:Navigate", url=url)
        time.sleep(SETTLE_S)
        return base64.b64decode(browser.call("WebDriver:TakeScreenshot", full=False)["value"])
    finally:
        browser.close()
