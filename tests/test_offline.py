"""The core of the suite where there is no network at all, and proof that the shim sends no packet of its own.

In the second test everything that is not loopback is routed to `lo` too, so whatever is sent anywhere is seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rig.border import CANARY, IN_TESTS, sniffing
from rig.namespace import Namespace
from rig.programs import require_namespaces
from rig.shim import ROOT, Shim
from rig.upstream import Upstream

CORE = ["test_run_forward.py", "test_run_credentials.py", "test_run_refusals.py", "test_run_local.py"]
NESTED = "SHIM_TESTS_OFFLINE"


@pytest.mark.timeout(280)
@pytest.mark.skipif(NESTED in os.environ, reason="this is the run without a network")
def test_the_core_passes_without_a_network(tmp_path: Path) -> None:
    require_namespaces()
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/nested"]
    script = 'ip link set lo up && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", script, "sh", *argv, *(str(ROOT / "tests" / name) for name in CORE)],
        cwd=ROOT,
        env={**os.environ, NESTED: "1"},
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout and " skipped" not in done.stdout


@pytest.mark.parametrize("mode", ["warn", "block", "repair"])
def test_the_shim_sends_no_packet_but_to_its_client(mode: str, upstream: Upstream, tmp_path: Path) -> None:
    """Its upstream is a unix socket here, so every packet on `lo` must be one of the client's connections."""
    require_namespaces()
    with Namespace(tmp_path, {}) as space:
        for family in ("-4", "-6"):
            assert space.run(["ip", family, "route", "add", "default", "dev", "lo"]).returncode == 0
        with sniffing(space) as packets:
            with Shim("--mode", mode, upstream=upstream.unix, prefix=space.prefix) as shim:
                driven = space.run([sys.executable, "-m", "rig.drive", shim.socks], env=IN_TESTS, timeout_s=100)
                assert int(driven.stdout) > 100, driven.stderr
            space.run([sys.executable, "-c", CANARY])
        port = str(shim.port)
    kinds = {tuple(line.split()) for line in packets}
    mine = {kind for kind in kinds if kind[0] == "tcp" and kind[1] == kind[3] == "127.0.0.1" and port in kind}
    canary = {kind for kind in kinds if kind[3] == "192.0.2.53"}
    assert mine, "the client's connections were seen"
    assert canary, "a packet that leaves would have been seen"
    assert kinds - mine - canary == set()
