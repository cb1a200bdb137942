"""Which browsers are known, and how one is started with a new profile: as a command that is driven, or for the hand.

Starts none. What it is to be set to, so that it uses the proxy, is said by whoever asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from shim.advice import table
from shim.lab import devtools, marionette
from shim.lab.visiting import Order
from shim.value import value

FAMILIES: Final = ("chromium", "firefox")
"""As the table of advice names one of each."""

OWN_PROFILE: Final = {
    "chromium": ("--user-data-dir",),
    "firefox": ("-profile", "-P", "-ProfileManager", "-CreateProfile"),
}
"""Options that would undo the new profile."""

_OWN_PROXY: Final = ("--proxy-", "--no-proxy-server")
_CHROMIUM: Final = ("--no-first-run", "--no-default-browser-check", "--disable-dev-shm-usage", "--password-store=basic")
_FIREFOX: Final = ("--no-remote", "--profile")
_FIREFOX_SETTINGS: Final = {
    **marionette.PREFERENCES,
    "browser.shell.checkDefaultBrowser": False,
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.startup.max_resumed_crashes": -1,
}
_HOME_VARIABLES: Final = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


@value
class Visits:
    """Pages for a browser of one of the FAMILIES. `flags` and `settings` (lines of user.js) have it use the proxy."""

    family: str
    urls: tuple[str, ...]
    flags: tuple[str, ...] = ()
    settings: str = ""


def family_of(program: str) -> str | None:
    """The family of an executable, or None for any other program."""
    name = program.rpartition("/")[2]
    for each in table().programs:
        if any(fnmatchcase(program, path) for path in each.paths):
            return None  # Tor Browser: its profile is its own
        if any(fnmatchcase(name, pattern) for pattern in each.names):
            return next((family for family in FAMILIES if family in each.names), None)
    return None


def undoes(family: str, arguments: tuple[str, ...]) -> str | None:
    """The first of some arguments that would have it use another profile than a new one."""
    for word in arguments:
        option = word.partition("=")[0]
        if option in OWN_PROFILE[family] or (family == "firefox" and option.removeprefix("-") in OWN_PROFILE[family]):
            return word
    return None


def command(
    visits: Visits, words: tuple[str, ...], folder: Path, pin: str | None, *, root: bool, by_hand: bool
) -> tuple[str, ...]:
    """What to run. The profile goes into `folder`; `pin` is of the key to be trusted, `by_hand` shows the browser."""
    profile = folder / "profile"
    profile.mkdir()
    if visits.family == "chromium":
        flags = [*_chromium(visits, words[1:], pin, root=root), f"--user-data-dir={profile}"]
        driven = ("--headless", devtools.FLAG)
    else:
        (profile / "user.js").write_text(visits.settings + _user_js(_FIREFOX_SETTINGS), encoding="utf-8")
        flags = [*_FIREFOX, str(profile)]
        driven = ("--headless", marionette.FLAG)
    if by_hand:
        return (words[0], *flags, *words[1:], *visits.urls)
    argv = (words[0], *driven, *flags, *words[1:])
    return Order(visits.family, argv, visits.urls, str(_results_in(folder)), pin is not None).command()


def outcomes(folder: Path, pages: int) -> list[str | None]:
    """What became of each page that a driven browser was to load: None, or the code of an error."""
    try:
        told = json.loads(_results_in(folder).read_bytes())
    except (OSError, ValueError):  # whoever drives it has ended first, or never begun
        told = []
    return [*told, *["ended"] * (pages - len(told))]


def surroundings(environ: Mapping[str, str], folder: Path, *, by_hand: bool) -> dict[str, str]:
    """The environment with a home of its own, but for the key to the display."""
    home = folder / "home"
    home.mkdir()
    env = {key: text for key, text in environ.items() if key not in _HOME_VARIABLES}
    if by_hand and "HOME" in env:
        env.setdefault("XAUTHORITY", f"{env['HOME']}/.Xauthority")
    return env | {"HOME": str(home), "MOZ_CRASHREPORTER_DISABLE": "1"}


def _chromium(visits: Visits, arguments: tuple[str, ...], pin: str | None, *, root: bool) -> list[str]:
    """Whoever sets the proxy himself is asked to be seen with that, not with what we would add."""
    flags = list(_CHROMIUM)
    if not any(word.startswith(_OWN_PROXY) for word in arguments):
        flags += visits.flags
    if root:
        flags.append("--no-sandbox")  # its sandbox is not for root
    if pin is not None:
        flags.append(f"--ignore-certificate-errors-spki-list={pin}")
    return flags


def _user_js(settings: Mapping[str, object]) -> str:
    return "".join(f'\nuser_pref("{key}", {json.dumps(text)});' for key, text in settings.items()) + "\n"


def _results_in(folder: Path) -> Path:
    return folder / "visits.json"
