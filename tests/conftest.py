"""Fixtures that several test files share: an upstream, and the shim before it in each mode.

Skips what needs a program that is missing; nothing here reaches beyond loopback.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest
from hypothesis import settings
from rig import session, tunnel
from rig.session import Served
from rig.shim import Shim
from rig.tunnel import Relayed
from rig.upstream import Upstream

# No deadline: no test is timed. HYPOTHESIS_PROFILE=deep takes a minute a test: give it --timeout=0.
settings.register_profile("fast", max_examples=100, deadline=None)
settings.register_profile("deep", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

DESCRIPTORS = 16384
"""Some tests hold thousands of connections, and an ordinary user's shell gives 1024 descriptors before it is asked."""

_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if _soft != resource.RLIM_INFINITY and _soft < DESCRIPTORS:
    _most = DESCRIPTORS if _hard == resource.RLIM_INFINITY else min(DESCRIPTORS, _hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_most, _hard))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The tests' own SOCKS5 server, on loopback TCP and on a unix socket."""
    with Upstream(unix=tmp_path_factory.mktemp("u") / "upstream") as server:
        yield server


@pytest.fixture(scope="module")
def warn(upstream: Upstream) -> Iterator[Shim]:
    """The shim in mode warn, with an HTTP listener."""
    with Shim("--mode", "warn", "--http", "127.0.0.1:0", upstream=upstream.address) as shim:
        yield shim


@pytest.fixture(scope="module")
def block(upstream: Upstream) -> Iterator[Shim]:
    """The shim in mode block, with an HTTP listener."""
    with Shim("--mode", "block", "--http", "127.0.0.1:0", upstream=upstream.address) as shim:
        yield shim


@pytest.fixture(params=tunnel.VARIANTS, ids=tunnel.NAMES)
def relay(request: pytest.FixtureRequest) -> Iterator[Relayed]:
    """A plane turned by hand, about to open a tunnel: every poll set, spliced and copied, TCP and unix."""
    poller, splice, family = request.param
    with Relayed(poller, splice=splice) as relay:
        relay.family = family
        yield relay


@pytest.fixture(params=tunnel.VARIANTS[::2], ids=tunnel.NAMES[::2])
def over_tcp(request: pytest.FixtureRequest) -> Iterator[Relayed]:
    """The same, over TCP only."""
    poller, splice, _ = request.param
    with Relayed(poller, splice=splice) as relay:
        yield relay


@pytest.fixture(params=session.VARIANTS, ids=session.NAMES)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A plane turned by hand that takes clients: both poll sets, TCP and unix."""
    with Served(*request.param) as served:
        yield served
