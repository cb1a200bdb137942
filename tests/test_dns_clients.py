"""Real programs whose resolver is the sensor: what each looks up is proved by its name, and repaired into it.

Programs and shim run in a namespace without a network, at whose port 53 the sensor answers; the way out is a unix
socket to the tests' own upstream.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rig.clients import Command, Program, Task, chromium, curl, firefox, requests, torsocks
from rig.namespace import Namespace
from rig.programs import require_namespaces, require_program
from rig.shim import Line, Shim
from rig.upstream import RESOLVED, Upstream

pytestmark = [pytest.mark.clients, pytest.mark.timeout(60)]

JAVA = """
import java.net.*;
public class Fetch {
    public static void main(String[] words) throws Exception {
        var proxy = new Proxy(Proxy.Type.SOCKS, new InetSocketAddress("127.0.0.1", Integer.parseInt(words[1])));
        try (var socket = new Socket(proxy)) {
            socket.connect(new InetSocketAddress(words[0], 80), 10000);
            socket.getOutputStream().write("GET / HTTP/1.0\\r\\n\\r\\n".getBytes());
            System.out.write(socket.getInputStream().readAllBytes());
            System.out.flush();
        }
    }
}
"""


def java(task: Task) -> Command:
    """Java's own SOCKS client, given a host in the way that looks its address up."""
    source = task.file("java/Fetch.java", JAVA)
    return Command(("java", "javac"), ["java", "-XX:TieredStopAtLevel=1", source, task.host, str(task.port)])


@contextmanager
def watched(folder: Path, upstream: Upstream, mode: str, dns_mode: str) -> Iterator[tuple[Namespace, Shim]]:
    """A namespace whose resolver is the sensor of a shim in it."""
    require_namespaces()
    options = ("--mode", mode, "--dns-mode", dns_mode, "--dns", "127.0.0.1:53", "--http", "127.0.0.1:0")
    with (
        Namespace(folder, {}, resolver="127.0.0.1") as space,
        Shim(*options, upstream=upstream.unix, prefix=space.prefix) as shim,
    ):
        assert shim.ready["dns"] == ["127.0.0.1:53"]
        yield space, shim


@pytest.fixture(scope="module")
def issuing(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[tuple[Namespace, Shim]]:
    with watched(tmp_path_factory.mktemp("issue"), upstream, "warn", "issue") as both:
        yield both


@pytest.fixture(scope="module")
def repairing(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[tuple[Namespace, Shim]]:
    with watched(tmp_path_factory.mktemp("repair"), upstream, "repair", "issue") as both:
        yield both


AFTER = "after-"


class Visit:
    """One program's visit to one host."""

    def __init__(self, program: Program, host: str, both: tuple[Namespace, Shim], folder: Path) -> None:
        self.space, self.shim = both
        self.host, self.mark = host, self.shim.mark()
        command = program(Task(host, self.shim.socks, self.shim.http, folder))
        for name in command.programs:
            require_program(name)
        self.done = self.space.run(command.argv, command.env, timeout_s=40)
        self.has_picture = command.picture is not None and command.picture.read_bytes().startswith(b"\x89PNG")

    @property
    def got_page(self) -> bool:
        """Whether the program showed the page that the upstream serves for this very name."""
        return self.has_picture or f"reached {self.host}" in self.done.stdout

    def findings(self, **keys: object) -> list[Line]:
        """What was found up to the end of the visit."""
        self._settle()
        return [found for found in self.shim.find("leak_found", self.mark, **keys) if not is_after(found["name"])]

    def queried(self) -> set[str]:
        """The types that were asked for this name up to the end of the visit."""
        self._settle()
        return {line["qtype"] for line in self.shim.find("dns_query", self.mark, qname=self.host)}

    def request(self) -> Line:
        """The decision about the request that stands for this name."""
        return self.shim.decided(self.mark, name=self.host)

    def _settle(self) -> None:
        """Visit another host, and wait until that has been found: all that came before is in the log."""
        mark = self.shim.mark()
        after = Task(f"{AFTER}{mark}.test", self.shim.socks, self.shim.http, Path())
        self.space.run(curl("--socks5")(after).argv)
        self.shim.wait_for("leak_found", mark, name=after.host, kind="local_resolution")


def is_after(name: str | None) -> bool:
    """Whether this is no name of the visit's own."""
    return name is not None and name.startswith(AFTER)


LEAKING: dict[str, Program] = {
    "curl-socks4": curl("--socks4"),
    "curl-socks5": curl("--socks5"),
    "firefox-v4": firefox(4),
    "java": java,
}
MORE: dict[str, Program] = {
    "pysocks": requests("socks5"),
    "firefox-v5-local": firefox(5, socks5_remote_dns=False),
    "chromium-socks4": chromium("socks4"),
}


@pytest.mark.parametrize("name", [*LEAKING, *MORE])
def test_a_local_look_up_is_confirmed_with_its_name(
    name: str, issuing: tuple[Namespace, Shim], upstream: Upstream, tmp_path: Path
) -> None:
    visit = Visit((LEAKING | MORE)[name], f"{name}.test", issuing, tmp_path)
    assert visit.got_page, visit.done.stderr[-2000:]
    line = visit.request()
    assert "A" in visit.queried()
    assert (line["exposure"], line["action"]) == ("issued", "repair")
    finding = visit.shim.wait_for("leak_found", visit.mark, conn=line["conn"], kind="local_resolution")
    assert (finding["confidence"], finding["name"], finding["rule"]) == ("confirmed", visit.host, "L05")
    assert finding["advice"]
    assert {seen.atyp for seen in upstream.asked_for(visit.host)} == {3}


def test_firefox_asks_for_three_types(issuing: tuple[Namespace, Shim], tmp_path: Path) -> None:
    visit = Visit(firefox(5, socks5_remote_dns=False), "three-types.test", issuing, tmp_path)
    visit.request()
    assert visit.queried() >= {"A", "AAAA", "HTTPS"}


@pytest.mark.parametrize("name", LEAKING)
def test_repair_loads_the_page_by_name_and_tor_sees_no_address(
    name: str, repairing: tuple[Namespace, Shim], upstream: Upstream, tmp_path: Path
) -> None:
    mark = len(upstream.seen)
    visit = Visit(LEAKING[name], f"repaired-{name}.test", repairing, tmp_path)
    assert visit.got_page, visit.done.stderr[-2000:]
    assert visit.request()["action"] == "repair"
    assert visit.shim.wait_for("leak_found", visit.mark, name=visit.host, confidence="confirmed")["action"] == "repair"
    assert upstream.asked_for(visit.host)
    assert {seen.atyp for seen in upstream.seen[mark:]} == {3}, "only names"
    assert not [seen.host for seen in upstream.seen[mark:] if seen.host[:1].isdigit()], "nor an address as text"


class TestClean:
    """What is no leak is not called one, with the sensor watching."""

    @pytest.mark.parametrize("option", ["--socks4a", "--socks5-hostname"])
    def test_a_name_given_to_the_proxy(self, option: str, issuing: tuple[Namespace, Shim], tmp_path: Path) -> None:
        visit = Visit(curl(option), f"clean{option}.test", issuing, tmp_path)
        assert visit.got_page
        assert (visit.findings(), visit.queried()) == ([], set())

    @pytest.mark.parametrize("option", ["--socks4a", "--socks5-hostname"])
    def test_a_literal_is_possible_at_most(self, option: str, issuing: tuple[Namespace, Shim], tmp_path: Path) -> None:
        visit = Visit(curl(option), "93.184.216.50", issuing, tmp_path)
        assert visit.got_page
        assert {line["confidence"] for line in visit.findings()} <= {"possible"}
        assert visit.queried() == set()

    def test_firefox_and_chromium_with_remote_dns(self, issuing: tuple[Namespace, Shim], tmp_path: Path) -> None:
        for number, program in enumerate((firefox(5), chromium("socks5"))):
            folder = tmp_path / str(number)
            folder.mkdir()
            visit = Visit(program, f"remote{number}.test", issuing, folder)
            assert visit.got_page
            assert (visit.findings(name=visit.host), visit.queried()) == ([], set())

    def test_torsocks(self, issuing: tuple[Namespace, Shim], tmp_path: Path) -> None:
        RESOLVED["torsocks.test"] = "93.184.216.51"
        visit = Visit(lambda task: torsocks(replace(task, host="torsocks.test")), "93.184.216.51", issuing, tmp_path)
        assert visit.got_page
        assert visit.shim.decided(visit.mark, destination="93.184.216.51:80")["exposure"] == "resolved_by_tor"
        assert visit.findings() == []
        assert all(is_after(line["qname"]) for line in visit.shim.find("dns_query", visit.mark))


def test_refused_the_name_is_seen_and_the_page_is_not(upstream: Upstream, tmp_path: Path) -> None:
    with watched(tmp_path, upstream, "warn", "refuse") as both:
        visit = Visit(curl("--socks5"), "refused.test", both, tmp_path)
        assert not visit.got_page
        query = visit.shim.wait_for("dns_query", qname="refused.test", qtype="A")["query"]
        finding = visit.shim.wait_for("leak_found", query=query)
        assert (finding["kind"], finding["name"], finding["action"]) == ("dns_query", "refused.test", "block")
        assert not upstream.asked_for("refused.test")


def test_resolved_by_tor_the_page_loads_and_no_leak_is_confirmed(upstream: Upstream, tmp_path: Path) -> None:
    with watched(tmp_path, upstream, "warn", "tor") as both:
        visit = Visit(curl("--socks5"), "page.test", both, tmp_path)
        assert "reached 93.184.216.34" in visit.done.stdout
        assert visit.shim.decided()["exposure"] == "resolved_by_tor"
        visit.shim.stop()
        assert visit.shim.find("leak_found", confidence="confirmed") == []


@pytest.mark.parametrize(("refusal", "goes_on"), [("NXDOMAIN", False), ("REFUSED", True)])
def test_what_is_refused_is_asked_of_nobody_else(
    refusal: str, goes_on: bool, upstream: Upstream, tmp_path: Path
) -> None:
    """glibc takes a server that says REFUSED for a broken one, and asks the next `nameserver`; NXDOMAIN ends it."""
    require_namespaces()
    require_program("getent")
    config = tmp_path / "shim.toml"
    config.write_text(f'[dns]\nrefusal = "{refusal}"\n')
    with (
        Namespace(tmp_path, {}, resolver="127.0.0.1\nnameserver 127.0.0.2") as space,
        Shim("--dns", "127.0.0.1:53", config=config, upstream=upstream.unix, prefix=space.prefix) as sensor,
        Shim("--dns", "127.0.0.2:53", upstream=upstream.unix, prefix=space.prefix) as next_server,
    ):
        assert space.run(["getent", "ahosts", "www.example.com"]).returncode == 2, "it is not found"
        assert sensor.wait_for("dns_query", qname="www.example.com")["rcode"] == refusal
        next_server.stop()  # all that it has seen is in its log
        assert bool(next_server.find("dns_query", qname="www.example.com")) is goes_on
