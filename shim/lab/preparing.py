"""What one check is told, and what its command is told: arguments, environment, and the page to visit.

Makes no namespace and starts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from shim.address import Address
from shim.lab import browser
from shim.lab.authority import Authority
from shim.lab.browser import Visits
from shim.lab.canary import PAGE, Canaries
from shim.lab.isolation import HELPERS
from shim.lab.namespace import HTTP_PORT, SOCKS_HOST, SOCKS_PORTS, Setup
from shim.value import value

SANDBOX, AUTO, TOR = "sandbox", "auto", "tor"
LINGER_S = 2.0
"""How long what the program left behind may go on."""

PROXY_URL: Final = f"socks5h://{SOCKS_HOST}:{SOCKS_PORTS[0]}"
HTTP_PROXY_URL: Final = f"http://{SOCKS_HOST}:{HTTP_PORT}"
PLACES: Final = {
    "socks_host": SOCKS_HOST,
    "socks_port": str(SOCKS_PORTS[0]),
    "proxy_url": PROXY_URL,
    "http_proxy_url": HTTP_PROXY_URL,
}
"""What stands in braces in any command, and as SHIM_… in its environment; each run adds its canary to it."""

_PROXY_VARIABLES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY")
_CA_VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO")
"""By which OpenSSL, curl, Python's requests, Node and git are told whom to trust."""
_SESSION_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK")


@value
class Options:
    """How to run it. `upstream` is an address or one of the three words; `timeout_s` 0 = none.

    `linger_s` is how long what the program leaves behind may go on. `ca_env` has the program trust the sandbox. With
    `visits` the command is a browser that is to load pages.
    """

    command: tuple[str, ...]
    upstream: Address | str = SANDBOX
    proxy_env: bool = False
    timeout_s: float = 0.0
    own_stdout: bool = False
    interactive: bool = False
    tor_command: str = "tor"
    linger_s: float = LINGER_S
    ca_env: bool = False
    visits: Visits | None = None


def places(canaries: Canaries, authority: Authority | None, folder: Path) -> dict[str, str]:
    """PLACES and what only this run has."""
    host = canaries.host(PAGE)
    found = {**PLACES, "canary": host, "canary_url": f"http://{host}/", "canary_https_url": f"https://{host}/"}
    if authority is not None:
        file = folder / "ca.pem"
        file.write_text(authority.pem, encoding="ascii")
        found["ca_file"], found["ca_pin"] = str(file), authority.key_pin
    return found


def prepare(options: Options, environ: Mapping[str, str], folder: Path, places: Mapping[str, str]) -> Setup:
    """What the namespace is told: the command and its environment, and what is hidden from it."""
    argv = tuple(fill(word, places) for word in options.command)
    env = _environment(options, environ, places)
    if options.visits is not None:
        pages = replace(options.visits, urls=tuple(fill(url, places) for url in options.visits.urls))
        pin = places.get("ca_pin") if options.ca_env else None
        argv = browser.command(pages, argv, folder, pin, root=os.geteuid() == 0, by_hand=options.interactive)
        env = browser.surroundings(env, folder, by_hand=options.interactive)
    hidden = list(HELPERS)
    if not options.interactive:
        hidden += ["/tmp/.X11-unix", f"/run/user/{os.getuid()}"]  # noqa: S108 - hidden, not used
    overlay = folder / "overlay"
    overlay.mkdir(mode=0o755)
    return Setup(argv, env, overlay, tuple(hidden), options.own_stdout)


def _environment(options: Options, environ: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    env = {**environ, **{f"SHIM_{name.upper()}": text for name, text in places.items()}}
    if options.ca_env and "ca_file" in places:
        env |= dict.fromkeys(_CA_VARIABLES, places["ca_file"])
    if options.proxy_env:
        for name in _PROXY_VARIABLES:
            env[name] = env[name.lower()] = PROXY_URL
        env.pop("NO_PROXY", None)
        env.pop("no_proxy", None)
    if not options.interactive:
        for name in _SESSION_VARIABLES:
            env.pop(name, None)
    return env


def script_of(command: Iterable[str], folder: Path) -> str | None:
    """The first word of a command that is a file in `folder` or below, as a path from there."""
    for word in command:
        path = Path(os.path.normpath(folder / word))
        if path.is_relative_to(folder) and os.path.isfile(path):  # no error for a word that can be no path
            return path.relative_to(folder).as_posix()
    return None


def fill(word: str, places: Mapping[str, str] = PLACES) -> str:
    """One word of the command with its placeholders filled in; other braces stay as they are."""
    for name, text in places.items():
        word = word.replace(f"{{{name}}}", text)
    return word
