"""Settings of a sensor that nobody asked for: told, and no mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig.shim import Shim
from rig.upstream import Upstream

from shim.config import Config, Flag, load, unused

MODE = Flag("--dns-mode", "dns.mode", "issue")
LISTENER = Flag("--dns", "listen.dns", ["127.0.0.1:0"])


def test_what_is_as_ever_needs_nothing() -> None:
    assert unused(Config()) == ()
    assert unused(load(None, [Flag("--dns-mode", "dns.mode", "refuse")])) == ()


@pytest.mark.parametrize("flags", [[MODE], []], ids=["flag", "file"])
def test_each_setting_of_a_sensor_that_is_not_there(flags: list[Flag], tmp_path: Path) -> None:
    file = tmp_path / "shim.toml"
    file.write_text("[dns]\nipv6 = true\n" if flags else '[dns]\nmode = "issue"\nipv6 = true\n')
    assert unused(load(file, flags)) == (("dns.mode", "listen.dns"), ("dns.ipv6", "listen.dns"))
    assert unused(load(file, [*flags, LISTENER])) == ()


def test_a_listener_in_the_file_is_enough_for_the_flag(tmp_path: Path) -> None:
    file = tmp_path / "shim.toml"
    file.write_text('[listen]\ndns = ["127.0.0.1:0"]\n')
    assert unused(load(file, [MODE])) == ()


def test_a_running_shim_says_so_once_and_goes_on(upstream: Upstream) -> None:
    with Shim("--dns-mode", "issue", upstream=upstream.address) as shim:
        line = shim.wait_for("setting_unused")
        assert (line["level"], line["setting"], line["needs"]) == ("warning", "dns.mode", "listen.dns")
        assert shim.ready["dns"] == []
    assert len(shim.find("setting_unused")) == 1
