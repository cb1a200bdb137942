"""Programs of the system that tests need.

Installs nothing and looks nowhere but on PATH and in /usr/sbin.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import pytest


def require_program(name: str) -> str:
    """Path of the program; skips the test when it is missing, or fails it when SHIM_REQUIRE_PROGRAMS=1."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        missing(f"needs the program {name}")
    return path


def require_namespaces() -> None:
    """Skips the test where a namespace of one's own is not permitted."""
    require_program("unshare")
    require_program("nsenter")
    require_program("ip")
    if reason := _refusal():
        missing(f"needs unshare -rnm: {reason}")


def missing(reason: str) -> None:
    """Skip, or fail where nothing may be skipped."""
    if os.environ.get("SHIM_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def _refusal() -> str:
    tried = subprocess.run(
        ["unshare", "-rnm", "ip", "link", "set", "lo", "up"], capture_output=True, text=True, timeout=10, check=False
    )
    return tried.stderr.strip() if tried.returncode else ""
