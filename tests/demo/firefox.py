"""Photographs by headless Firefox, of error pages too: its own --screenshot never ends on those.

Speaks Marionette's protocol on TCP port 2828: LENGTH:JSON, where a command is [0, id, name, parameters].
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PORT = 2828
START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0
SETTLE_S = 1.0
"""The picture on an error page comes a little later than its text."""

_QUIET: dict[str, str | int | bool] = {
    "network.trr.mode": 5,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
}


class _Marionette:
    def __init__(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._sock = socket.create_connection(("127.0.0.1", PORT), ANSWER_TIMEOUT_S)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "firefox does not listen"
                time.sleep(0.2)
        self._stream = self._sock.makefile("rb")
        self._last = 0
        self._read()  # its greeting

    def call(self, name: str, **params: object) -> tuple[Any, Any]:
        """Error and result; one of them is None."""
        self._last += 1
        message = json.dumps([0, self._last, name, params])
        self._sock.sendall(f"{len(message)}:{message}".encode())
        _, _, error, result = self._read()
        return error, result

    def _read(self) -> Any:
        length = b""
        while (byte := self._stream.read(1)) != b":":
            assert byte, "firefox has ended"
            length += byte
        return json.loads(self._stream.read(int(length)))

    def close(self) -> None:
        self._stream.close()
        self._sock.close()


def photograph(url: str, picture: Path, size: tuple[int, int], settings: Mapping[str, str | int | bool]) -> None:
    """What a fresh Firefox with these settings (about:config) shows of `url`, into a PNG."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        lines = [
            f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in {**_QUIET, **settings}.items()
        ]
        (Path(profile) / "user.js").write_text("".join(lines))
        argv = ["firefox-esr", "--headless", "--no-remote", "--marionette", "--profile", profile]
        environment = {**os.environ, "HOME": profile, "MOZ_CRASHREPORTER_DISABLE": "1"}
        process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            picture.write_bytes(_shot(url, size))
        finally:
            process.terminate()
            process.wait(30)


def _shot(url: str, size: tuple[int, int]) -> bytes:
    browser = _Marionette()
    try:
        browser.call("WebDriver:NewSession")
        browser.call("WebDriver:SetWindowRect", width=size[0], height=size[1] + 86)  # its own bars
        browser.call("WebDriver:Navigate", url=url)  # an error page is an error here, and is photographed all the same
        time.sleep(SETTLE_S)
        error, shot = browser.call("WebDriver:TakeScreenshot", full=False)
        assert error is None, error
        return base64.b64decode(shot["value"])
    finally:
        browser.close()
