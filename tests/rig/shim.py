"""The shim as a child process: started with flags, its log read live, ended, and its run checked.

Knows only the outside contract; imports nothing of the shim.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 30.0
Line = dict[str, Any]

_RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def program() -> list[str]:
    """The installed command beside this interpreter, or the same entry point from the source tree."""
    script = Path(sys.executable).with_name("shim")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from shim.cli import main; main()"]


def environment() -> dict[str, str]:
    """The caller's environment without what would change language, settings or time zone."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "SHIM_", "PYTHON"))}
    return kept | {"LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), "PYTHONDEVMODE": "", "NO_COLOR": "1"}


def run(*args: str, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Run one command of the shim to its end."""
    return subprocess.run(
        [*program(), *args], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )


class Shim:
    """`shim run` with JSON lines on port 0; use it as a context manager."""

    def __init__(
        self,
        *flags: str,
        upstream: str | None = None,
        socks: Sequence[str] = ("127.0.0.1:0",),
        config: Path | None = None,
        log_format: str = "json",
        reveal: bool = True,
        prefix: Sequence[str] = (),
    ) -> None:
        self.lines: list[Line] = []
        self.raw: list[str] = []
        self._json = log_format == "json"
        self._changed = threading.Condition()
        self._ended = False  # no more lines will come
        argv = [*prefix, *program(), "run", "--log-format", log_format, *flags]
        argv += [word for address in socks for word in ("--socks", address)]
        argv += ["--upstream", upstream] if upstream else []
        argv += ["--config", str(config)] if config else []
        argv += ["--reveal"] if reveal else []
        self.process = subprocess.Popen(argv, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        if self._json:
            try:
                self.ready = self.wait_for("ready")
            except AssertionError:
                self.stop()
                raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        code = self.stop()
        if kind is None:
            self.check(code)

    @property
    def socks(self) -> str:
        """The first SOCKS listener, as `ready` names it."""
        return str(self.ready["socks"][0])

    @property
    def http(self) -> str:
        """The first HTTP listener, as `ready` names it."""
        return str(self.ready["http"][0])

    @property
    def port(self) -> int:
        """The port of the first SOCKS listener."""
        return int(self.socks.rpartition(":")[2])

    @property
    def stderr(self) -> str:
        """All that was written so far."""
        return "".join(self.raw)

    def mark(self) -> int:
        """A place in the log; see `find`."""
        return len(self.lines)

    def find(self, event: str, since: int = 0, **keys: object) -> list[Line]:
        """The lines of this event with these values, after the mark."""
        wanted = {"event": event, **keys}
        return [line for line in list(self.lines[since:]) if all(line.get(k) == v for k, v in wanted.items())]

    def wait_for(self, event: str, since: int = 0, timeout_s: float = TIMEOUT_S, **keys: object) -> Line:
        """The first such line, waiting until it is written."""
        found = self.gather(event, 1, since, timeout_s, **keys)
        assert found, f"no {event} with {keys} in\n{''.join(self.raw[-6:])}"
        return found[0]

    def gather(
        self, event: str, count: int, since: int = 0, timeout_s: float = TIMEOUT_S, **keys: object
    ) -> list[Line]:
        """All such lines, once there are so many of them; those that there are, when it takes too long.

        Looks at each line once: a flood writes tens of thousands.
        """
        found: list[Line] = []
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                upto = self.mark()
                found += self.find(event, since, **keys)
                since = upto
                left = deadline - time.monotonic()
                if len(found) >= count or left <= 0 or self._ended:
                    return found
                self._changed.wait(left)

    def decided(self, since: int = 0, **keys: object) -> Line:
        """The `request_decided` line, waiting until it is written."""
        return self.wait_for("request_decided", since, **keys)

    def closed(self, since: int = 0, **keys: object) -> Line:
        """The `connection_closed` line, waiting until it is written."""
        return self.wait_for("connection_closed", since, **keys)

    def ended(self, destination: str, since: int = 0) -> Line:
        """The `connection_closed` line of the request for HOST:PORT, waiting until it is written."""
        return self.closed(since, conn=self.decided(since, destination=destination)["conn"])

    def signal(self, number: signal.Signals) -> None:
        """Send one signal."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """The exit status, once the process has ended and its last line is read."""
        code = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    def stop(self) -> int:
        """SIGTERM, a second one when connections hold it up, and at last SIGKILL."""
        for number, patience_s in ((signal.SIGTERM, 3), (signal.SIGTERM, TIMEOUT_S), (signal.SIGKILL, 3)):
            if self.process.poll() is None:
                self.process.send_signal(number)
            try:
                return self.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError("the shim cannot be ended")

    def check(self, code: int) -> None:
        """What is true of every run: a clean end, no traceback, lawful lines, each connection closed once."""
        assert code == 0, f"exit status {code}:\n{self.stderr[-4000:]}"
        assert "Traceback" not in self.stderr, self.stderr[-4000:]
        assert not self.find("fault"), self.find("fault")
        if self._json:
            self._check_lines()
            self._check_connections()

    def _check_lines(self) -> None:
        for text, line in zip(self.raw, self.lines, strict=True):
            assert _RFC3339_UTC.fullmatch(str(line.get("timestamp"))), text
            assert isinstance(line.get("level"), str), text
            assert isinstance(line.get("event"), str), text

    def _check_connections(self) -> None:
        closed, decided, failed = (
            Counter(line["conn"] for line in self.find(event))
            for event in ("connection_closed", "request_decided", "handshake_failed")
        )
        assert set(closed.values()) <= {1}, "a connection was closed twice"
        assert set(decided.values()) <= {1}, "a request was decided twice"
        assert not decided.keys() & failed.keys(), "a connection both failed its handshake and was decided"
        assert decided.keys() | failed.keys() <= closed.keys(), "a connection was never closed"

    def _read(self) -> None:
        assert self.process.stderr
        with self.process.stderr as stderr:
            for text in stderr:
                with self._changed:
                    self.raw.append(text)
                    if self._json:
                        self.lines.append(_parsed(text))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _parsed(text: str) -> Line:
    try:
        line = json.loads(text)
    except ValueError:
        return {"event": "(not JSON)", "text": text}
    return line if isinstance(line, dict) else {"event": "(not an object)", "text": text}
