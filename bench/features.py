"""Rows of the shim itself: one feature more or less than the row that it is compared with, so that each has its price.

What the shim is asked, and with which settings; never how it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from peers import LOOPBACK, ROOT, ROWS, Peer, Site, free_port, shim

LITERAL = "198.18.0.7"
"""Of the benchmarking range: an address that is not local, and never connected to."""

SAFE, ADDRESS = "shim", "shim-literal"
"""The rows that others are compared with: a name in every request, or an address, which is warned about."""


def _altered(how: str) -> tuple[str, ...]:
    """The shim with something taken away for which there is no setting."""
    return (str(ROOT / ".venv" / "bin" / "python"), "-c", f"{how}; from shim.cli import main; main()")


@dataclass(frozen=True)
class Feature:
    """`says` is what differs from the row `than`."""

    says: str
    than: str = SAFE
    settings: str = ""
    flags: str = ""
    launch: tuple[str, ...] = ()
    via: str = "socks5"
    tests: frozenset[str] = frozenset(("setup",))

    def peer(self, name: str, site: Site) -> Peer:
        """The row, ready to be started."""
        flags = self.flags.replace("PORT", str(free_port()))
        if self.settings:
            flags += f" --config {site.write(f'{name}.toml', self.settings)}"
        row = replace(shim(site, name, flags, self.launch), via=self.via, only=self.tests)
        return replace(row, host=LITERAL) if ADDRESS in (name, self.than) else row


NOBODY = "[log]\nattribution = false\n"
FEATURES: Mapping[str, Feature] = {
    "shim-attributed": Feature(
        "the program of every connection is looked up, and waited for: a rule names one",
        settings='[[policy.rule]]\nprogram = "nobody"\nmode = "block"\n',
    ),
    "shim-json": Feature("log lines as JSON, not as text", flags="--log-format json"),
    "shim-warning": Feature("no line for a safe request: log level `warning`", flags="--log-level warning"),
    "shim-lockstep": Feature(
        "one message to the upstream at a time: `upstream.pipelining` off", settings="[upstream]\npipelining = false\n"
    ),
    "shim-isolated": Feature(
        "credentials for each client, so one step more with Tor: `policy.isolate`",
        settings='[policy]\nisolate = "client"\n',
    ),
    "shim-idle-limit": Feature("a deadline for idle tunnels", settings="[limits]\nidle_timeout_s = 300\n"),
    "shim-sensor": Feature(
        "the DNS sensor beside it, addresses issued", flags=f"--dns {LOOPBACK}:PORT --dns-mode issue"
    ),
    "shim-socks4a": Feature("the client speaks SOCKS4a", via="socks4a"),
    "shim-copying": Feature(
        "no splice, as on systems without it",
        launch=_altered("import os; del os.splice"),
        tests=frozenset(("setup", "down8")),
    ),
    "shim-paced": Feature(
        "the system's congestion control is left, which paces where it is BBR",
        launch=_altered("from shim.proxy import pacing; pacing._PACING = b'none'"),
        tests=frozenset(("setup", "down8", "up8")),
    ),
    "shim-open": Feature("nothing given up: `--sandbox off`", flags="--sandbox off"),
    ADDRESS: Feature("an address in every request: each is looked up, its first bytes are read, and a finding made"),
    "shim-literal-unnamed": Feature("no program is looked up: `log.attribution` off", ADDRESS, NOBODY),
    "shim-literal-deaf": Feature(
        "the first bytes are not read along",
        ADDRESS,
        launch=_altered("from shim.proxy import session; session._WORTH_HEARING = ()"),
    ),
    "shim-literal-warning": Feature("only the findings are written", ADDRESS, flags="--log-level warning"),
}


def rows(variants: Mapping[str, str]) -> dict[str, Callable[[Site], Peer]]:
    """All rows there are, by name: relays, features, and the user's own settings of the shim."""
    return {
        **ROWS,
        **{name: lambda site, name=name: FEATURES[name].peer(name, site) for name in FEATURES},  # type: ignore[misc]
        **{name: lambda site, name=name, args=args: shim(site, name, args) for name, args in variants.items()},  # type: ignore[misc]
    }
