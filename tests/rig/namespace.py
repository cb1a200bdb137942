"""An empty network of our own: only `lo`, and a hosts file that says what a local resolver would have said, or one.

Programs started in it cannot reach anything outside but a unix socket.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_SET_UP = """
ip link set lo up || exit
while test $# -gt 0; do mount --bind "$1" "$2" || exit; shift 2; done
echo ready && exec cat
"""


class Namespace:
    """User, network and mount namespace, alive until the context ends."""

    def __init__(self, folder: Path, hosts: Mapping[str, str], resolver: str | None = None) -> None:
        """With a `resolver`, an IP address, names that are not in `hosts` are asked of it, at port 53."""
        files = {"hosts": "127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in hosts.items())}
        if resolver:
            files |= {"resolv.conf": f"nameserver {resolver}\n", "nsswitch.conf": "hosts: files dns\n"}
        for name, text in files.items():
            (folder / name).write_text(text)
        self._mounts = [word for name in files for word in (str(folder / name), f"/etc/{name}")]

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(
            ["unshare", "-rnm", "sh", "-c", _SET_UP, "sh", *self._mounts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n", "the namespace could not be made"
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.communicate(timeout=10)

    @property
    def prefix(self) -> list[str]:
        """Words to put before a command, so that it runs inside."""
        pid = str(self._holder.pid)
        return ["nsenter", "-t", pid, "-U", "-n", "-m", "--preserve-credentials", f"--wd={os.getcwd()}"]

    @contextmanager
    def running(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[None]:
        """A command inside that is killed, with all it has started, when the context ends."""
        environment = {**os.environ, **(env or {})}
        silent = subprocess.DEVNULL
        with subprocess.Popen(
            [*self.prefix, *argv], env=environment, stdout=silent, stderr=silent, start_new_session=True
        ) as process:
            try:
                yield
            finally:
                os.killpg(process.pid, signal.SIGKILL)

    def run(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, timeout_s: float = 20
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        return subprocess.run(
            [*self.prefix, *argv],
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=timeout_s,
            check=False,
        )
