"""How each real program is told to fetch one page through a SOCKS or HTTP port, as a command line.

Starts nothing itself; settings files go into the folder of the test.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CHROMIUM = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps"),
    *("--no-default-browser-check", "--disable-domain-reliability", "--disable-dev-shm-usage"),
)
FIREFOX: dict[str, object] = {
    "network.proxy.type": 1,
    "network.proxy.socks": "127.0.0.1",
    "network.proxy.no_proxies_on": "",
    "network.proxy.allow_bypass": False,
    "network.proxy.failover_direct": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.trr.mode": 5,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.region.network.url": "",
    "browser.startup.page": 0,
    "browser.newtabpage.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.update.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "toolkit.telemetry.enabled": False,
}


@dataclass(frozen=True)
class Task:
    """One page to fetch: through which ports of the shim, and in which folder to keep settings."""

    host: str
    socks: str
    http: str
    folder: Path

    @property
    def url(self) -> str:
        """The page."""
        return f"http://{self.host}/"

    @property
    def port(self) -> int:
        """The port of the SOCKS listener."""
        return int(self.socks.rpartition(":")[2])

    def file(self, name: str, text: str) -> str:
        """A settings file; its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Command:
    """What to run inside the namespace. `programs` must be there; `picture` is where one that prints no page shows it.

    A program with a picture does not end by itself when it gets no page.
    """

    programs: tuple[str, ...]
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    picture: Path | None = None


Program = Callable[[Task], Command]


def curl(option: str) -> Program:
    """curl with one of its four SOCKS options."""
    return lambda task: Command(("curl",), ["curl", "-sS", "-m", "10", option, task.socks, task.url])


def curl_tunnel(task: Task) -> Command:
    """curl with an HTTP proxy, asked to CONNECT though the page is plain."""
    return Command(("curl",), ["curl", "-sS", "-m", "10", "-p", "-x", f"http://{task.http}", task.url])


def torsocks(task: Task) -> Command:
    """torsocks: RESOLVE first, then the address as text."""
    conf = task.file("torsocks.conf", f"TorAddress 127.0.0.1\nTorPort {task.port}\n")
    argv = ["torsocks", "curl", "-sS", "-m", "10", task.url]
    return Command(("torsocks", "curl"), argv, {"TORSOCKS_CONF_FILE": conf})


def socat(kind: str) -> Program:
    """socat's SOCKS4 and SOCKS4A addresses."""
    script = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | socat -t5 - \"$0\""
    return lambda task: Command(
        ("socat",), ["sh", "-c", script, f"{kind}:127.0.0.1:{task.host}:80,socksport={task.port}"]
    )


def proxychains(kind: str, proxy_dns: bool) -> Program:
    """proxychains4 with a configuration of its own. It reads /etc/hosts itself, before it makes up an address."""

    def command(task: Task) -> Command:
        options = "strict_chain\nquiet_mode\ntcp_read_time_out 5000\ntcp_connect_time_out 5000\n"
        options += "proxy_dns\n" if proxy_dns else ""
        conf = task.file("proxychains.conf", f"{options}[ProxyList]\n{kind} 127.0.0.1 {task.port}\n")
        return Command(("proxychains4", "curl"), ["proxychains4", "-f", conf, "curl", "-sS", "-m", "10", task.url])

    return command


def requests(scheme: str) -> Program:
    """Python's requests with PySocks."""
    script = "import sys, requests; print(requests.get(sys.argv[1], proxies={'http': sys.argv[2]}, timeout=10).text)"
    return lambda task: Command((), [sys.executable, "-c", script, task.url, f"{scheme}://{task.socks}"])


def privoxy(directive: str) -> Program:
    """curl to privoxy, and privoxy to the shim."""
    script = """
        privoxy --no-daemon "$0" 2>&1 & trap 'kill $!; wait $!' EXIT
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            sleep 0.2; curl -sS -f -m 10 -x http://127.0.0.1:8118 "$1" && exit 0
            test $? = 7 || exit 1
        done; exit 1"""

    def command(task: Task) -> Command:
        conf = task.file("privoxy.conf", f"listen-address 127.0.0.1:8118\n{directive} / {task.socks} .\n")
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        return Command(("privoxy", "curl"), ["sh", "-c", script, conf, task.url], path)

    return command


def chromium(scheme: str) -> Program:
    """Chromium headless, printing the page it got."""

    def command(task: Task) -> Command:
        profile = f"--user-data-dir={task.folder}/chromium"
        proxy = f"--proxy-server={scheme}://{task.socks}"
        home = {"HOME": str(task.folder), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
        return Command(("chromium",), ["chromium", *CHROMIUM, profile, proxy, "--dump-dom", task.url], home)

    return command


def firefox(version: int, **prefs: bool) -> Program:
    """Firefox headless, taking a picture of the page."""

    def command(task: Task) -> Command:
        mine = {f"network.proxy.{key}": value for key, value in prefs.items()}
        every = {**FIREFOX, "network.proxy.socks_version": version, "network.proxy.socks_port": task.port, **mine}
        task.file("firefox/user.js", "".join(f'user_pref("{key}", {_js(value)});\n' for key, value in every.items()))
        profile, picture = str(task.folder / "firefox"), task.folder / "picture.png"
        argv = [
            "firefox-esr",
            "--headless",
            "--no-remote",
            "--profile",
            profile,
            "--screenshot",
            str(picture),
            task.url,
        ]
        return Command(("firefox-esr",), argv, {"HOME": str(task.folder)}, picture)

    return command


def _js(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
