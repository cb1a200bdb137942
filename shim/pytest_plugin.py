"""The pytest fixture `shim_check`: an application's own tests say in three lines that it never leaks.

Loaded into every pytest run of an environment that has the shim, and so imports nothing but pytest until it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from shim.testing import Checked

REQUIRED = "SHIM_CHECK_REQUIRED"
"""Set to 1 where a check that cannot be made shall fail the test, as in CI, and not skip it."""


@pytest.fixture(scope="session")
def shim_check() -> Callable[..., Checked]:
    """Run a command in a network of its own and say what it leaks: the arguments are those of shim.testing.check.

    Skips where this machine allows no such network, or fails there with SHIM_CHECK_REQUIRED=1.
    """

    def run(command: Any, **options: Any) -> Checked:
        __tracebackhide__ = True
        from shim.testing import check

        checked = check(command, **options)
        if not checked.isolated:
            give_up = pytest.fail if os.environ.get(REQUIRED) == "1" else pytest.skip
            give_up(str(checked.report["reason_text"]))
        return checked

    return run
