"""That the application never tells anybody but the proxy where it goes."""

from __future__ import annotations

import sys

TITLES = [sys.executable, "-m", "titles"]
PAGE = "http://www.example.org/"


def test_never_leaks(shim_check):
    shim_check([*TITLES, PAGE], proxy_env=True).assert_no_leak()


def test_the_option_that_leaks_is_caught(shim_check):
    """What a test looks like that holds a known leak fast until it is mended."""
    checked = shim_check([*TITLES, "--ipv4", PAGE], proxy_env=True)
    assert checked.verdict == "leak"
    assert {leak["name"] for leak in checked.leaks} == {"www.example.org"}
    assert {leak["kind"] for leak in checked.leaks} == {"dns_query", "local_resolution"}
    assert "L05" in checked.explain()


def test_it_does_what_it_is_for(shim_check):
    checked = shim_check([*TITLES, PAGE, "{canary_url}"], proxy_env=True)
    assert checked.stdout.splitlines()[0] == "shim sandbox"
    assert (checked.command_status, checked.requests) == (0, 2)
