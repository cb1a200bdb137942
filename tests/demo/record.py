"""Records the transcripts and pictures of the documentation: `python -m demo.record FOLDER`, in tests/, on Linux.

Everything happens in an empty network of its own (namespaces of user, network, mounts and host name): a Tor network
of three nodes, a web server, and the "provider's resolver", whose list of questions shows what a leak tells and whom.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tornet.network import RESOLVER, TorNetwork
from tornet.services import NAMES, Resolver, serve_pages
from tornet.world import add_address

from demo import chromium, firefox
from demo.terminal import as_page, without_colours

PROVIDER = "192.0.2.53"
INSIDE = "SHIM_DEMO_INSIDE"
SHIM = Path(sys.executable).with_name("shim")
PAGE = "http://www.example.com/"
SAFE = f"curl --socks5-hostname 127.0.0.1:9250 {PAGE}"
LEAKY = f"curl --socks5 127.0.0.1:9250 {PAGE}"
LEAKY_4 = f"curl --socks4 127.0.0.1:9250 {PAGE}"
RESOLV_CONF, HOSTS = Path("/etc/resolv.conf"), Path("/etc/hosts")
WINDOW = (760, 300)
HEIGHTS = {"warn": 250, "block": 310}
LISTENER = "127.0.0.1:9250"
FLUSH_S = 0.3
"""Lines reach standard error within 0.1 s."""

_FIREFOX: dict[str, str | int | bool] = {
    "network.proxy.type": 1,
    "network.proxy.socks": "127.0.0.1",
    "network.proxy.socks_port": 9250,
    "network.proxy.failover_direct": False,
    "network.proxy.allow_bypass": False,
}


class Recorder:
    """Runs scenes and writes what they show into `folder`."""

    def __init__(self, folder: Path, scratch: Path, resolver: Resolver) -> None:
        self._folder = folder
        self._scratch = scratch
        self._resolver = resolver
        self.log = ""

    @contextmanager
    def shim(self, *flags: str) -> Iterator[None]:
        """`shim run` with these flags and colours; afterwards its output is `log`."""
        config = self._scratch / "shim.toml"
        config.write_text('[log]\ncolor = "always"\n')
        log = self._scratch / "log"
        argv = [str(SHIM), "run", "--config", str(config), *flags]
        with log.open("w") as stderr, subprocess.Popen(argv, stderr=stderr) as process:
            try:
                _wait_until(lambda: LISTENER in log.read_text(encoding="utf-8"))
                yield
                time.sleep(FLUSH_S)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)
                self.log = log.read_text(encoding="utf-8")

    @contextmanager
    def resolver(self, address: str) -> Iterator[None]:
        """Let the machine ask this resolver instead of the provider's."""
        RESOLV_CONF.write_text(f"nameserver {address}\n")
        yield
        RESOLV_CONF.write_text(f"nameserver {PROVIDER}\n")

    def type(self, *commands: str) -> str:
        """What a terminal shows of these commands."""
        shown = []
        for command in commands:
            words = ["script", "--quiet", "--return", "--command", command, "/dev/null"]  # curl at a terminal is brief
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
            )
            shown.append(f"$ {command}\n{done.stdout}")
        return "".join(shown)

    def asked(self) -> str:
        """What the provider's resolver was asked since the last time."""
        asked, self._resolver.asked[:] = list(self._resolver.asked), []
        return "".join(f"{line}\n" for line in asked)

    def keep(self, name: str, **parts: str) -> None:
        """Write the parts of one transcript, each into a file."""
        for part, text in parts.items():
            (self._folder / f"{name}.{part}.txt").write_text(without_colours(text), encoding="utf-8")

    def picture(self, name: str) -> Path:
        """Where one picture goes."""
        return self._folder / f"{name}.png"

    def chromium(self, name: str, proxy: str) -> None:
        """Chromium's view of the page through `proxy`."""
        chromium.photograph(PAGE, self.picture(name), WINDOW, f"--proxy-server={proxy}")

    def firefox(self, name: str, **settings: int | bool) -> None:
        """Firefox's view of the page with these `network.proxy` settings."""
        chosen = _FIREFOX | {f"network.proxy.{key}": value for key, value in settings.items()}
        firefox.photograph(PAGE, self.picture(name), WINDOW, chosen)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def curls(recorder: Recorder, lang: str) -> None:
    """The first minute: a good request, a leaky one, and both again in mode block."""
    for mode, commands in (("warn", (SAFE, LEAKY)), ("block", (SAFE, LEAKY, LEAKY_4))):
        recorder.asked()
        with recorder.shim("--mode", mode, "--lang", lang):
            typed = recorder.type(*commands)
        recorder.keep(f"{mode}.{lang}", typed=typed, log=recorder.log, asked=recorder.asked())
        chromium.photograph_page(as_page(recorder.log), recorder.picture(f"log-{mode}.{lang}"), (1000, HEIGHTS[mode]))


def sensor(recorder: Recorder, lang: str) -> None:
    """The leak proved and repaired, with the machine's resolver pointed at the sensor; and the same query refused."""
    for name, flags in (
        ("issue", ("--dns-mode", "issue", "--mode", "repair")),
        ("refuse", ("--dns-mode", "refuse")),
    ):
        recorder.asked()
        with recorder.shim("--dns", "127.0.0.1:53", "--reveal", "--lang", lang, *flags), recorder.resolver("127.0.0.1"):
            typed = recorder.type(LEAKY)
        recorder.keep(f"dns-{name}.{lang}", typed=typed, log=recorder.log, asked=recorder.asked())


def formats(recorder: Recorder) -> None:
    """The same request in JSON, scrubbed and revealed."""
    for name, flags in (("json", ()), ("json-reveal", ("--reveal",))):
        with recorder.shim("--log-format", "json", *flags):
            recorder.type(LEAKY)
        recorder.keep(name, log=recorder.log)


def browsers(recorder: Recorder) -> None:
    """Both browsers, well set and badly set, and what the shim and the provider saw."""
    recorder.asked()
    with recorder.shim("--mode", "block", "--log-level", "info"):
        recorder.chromium("chromium-page", "socks5://127.0.0.1:9250")
        recorder.firefox("firefox-page", socks_version=5, socks5_remote_dns=True)
    recorder.keep("browsers-good", log=recorder.log, asked=recorder.asked())
    with recorder.shim("--mode", "block", "--log-level", "info"):
        recorder.chromium("chromium-refused", "socks4://127.0.0.1:9250")
    recorder.keep("chromium-bad", log=recorder.log, asked=recorder.asked())
    with recorder.shim("--mode", "block", "--log-level", "info"):
        recorder.firefox("firefox-refused", socks_version=4)
    recorder.keep("firefox-bad", log=recorder.log, asked=recorder.asked())


def inside(folder: Path) -> None:
    """Everything, in the namespace."""
    for address in (*NAMES.values(), PROVIDER):
        add_address(address)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for target, text in ((RESOLV_CONF, f"nameserver {PROVIDER}\n"), (HOSTS, "127.0.0.1 localhost\n")):
            file = scratch / target.name
            file.write_text(text)
            subprocess.run(["mount", "--bind", str(file), str(target)], check=True, timeout=10)
        Resolver(RESOLVER)
        serve_pages()
        (scratch / "tor").mkdir()
        with TorNetwork(scratch / "tor") as tor:
            recorder = Recorder(folder, scratch, Resolver(PROVIDER))
            mark = len(tor.log)
            curls(recorder, "en")
            said = [line for line in tor.log[mark:].splitlines() if "Your application" in line]
            recorder.keep("tor", log="\n".join(said))
            curls(recorder, "ja")
            sensor(recorder, "en")
            sensor(recorder, "ja")
            formats(recorder)
            browsers(recorder)


def main() -> None:
    """Enter the namespace, then record."""
    folder = Path(sys.argv[1]).absolute()
    if INSIDE in os.environ:
        return inside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    script = 'hostname laptop && ip link set lo up && exec "$@"'
    argv = ["unshare", "-rnmu", "sh", "-c", script, "sh", sys.executable, "-m", "demo.record", str(folder)]
    sys.exit(subprocess.run(argv, env=os.environ | {INSIDE: "1"}, timeout=900, check=False).returncode)


if __name__ == "__main__":
    main()
