"""Real programs that leak: each finding names the program and its exact advice, and is gone once that is obeyed.

Programs and shim run in a namespace without a network; the way out is a unix socket to the tests' own upstream.
"""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from rig.advised import BY_ADDRESS, BY_QUERY, PRELOADED, SOCKS_PROXY_AGENT, TOGETHER, TYPED, Case
from rig.clients import Command, Program, Task, chromium, curl
from rig.namespace import Namespace
from rig.programs import missing, require_namespaces, require_program
from rig.shim import ROOT, Line, Shim
from rig.upstream import Behaviour, Upstream

from shim.advice import table
from shim.locale import catalogue

pytestmark = [pytest.mark.clients, pytest.mark.timeout(60)]

ENGLISH, JAPANESE = catalogue("en"), catalogue("ja")
CROWD = {case.program: case for case in TOGETHER}
"""Different programs that look names up themselves, each of which asks for a host of its own."""

OWN_HOSTS = {f"page.{number}.test": f"93.184.216.{100 + number}" for number in range(len(CROWD))}
HOSTS = {"page.test": "93.184.216.34", "hangup.test": "93.184.216.35", **OWN_HOSTS}
LAST, TYPED_HERE = "93.184.216.99", "93.184.216.98"
TRIES = 5


class Bench:
    """A shim in a namespace, and what programs there make it find."""

    def __init__(self, space: Namespace, shim: Shim) -> None:
        self._space = space
        self.shim = shim

    def run(self, program: Program, host: str, folder: Path) -> None:
        """One program to its end; it may fail, since the page is no repository and no package list."""
        folder.mkdir()
        command = program(Task(host, self.shim.socks, self.shim.http, folder))
        for needed in command.programs:
            require_program(needed)
        if str(SOCKS_PROXY_AGENT) in command.argv and not SOCKS_PROXY_AGENT.exists():
            missing("needs the package socks-proxy-agent that npm brings along")
        self._space.run(command.argv, command.env, timeout_s=30)

    def run_words(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """A command of one's own."""
        return self._space.run(words)

    def running(self, words: list[str]) -> AbstractContextManager[None]:
        """A command that goes on meanwhile."""
        return self._space.running(words)

    def leaked(self, case: Case, host: str, folder: Path) -> Line:
        """The finding of a program as it was. One that ends too soon, on a busy machine, cannot be named: try again.

        Of one that ends while it is looked into only the name is told, not what was preloaded into it.
        """
        folder.mkdir()
        named: list[Line] = []
        for number in range(TRIES):
            mark = self.shim.mark()
            self.run(case.before, host, folder / str(number))
            self.shim.wait_for("leak_found", mark, kind=case.kind)
            self._settle(folder)
            found = self.shim.find("leak_found", mark, kind=case.kind)
            if named := [line for line in found if is_whole(line["process"]) and not is_last(line)]:
                break
        assert named, [line.get("process_reason") for line in found]
        return named[0]

    def at_once(self, cases: dict[str, Case], folder: Path) -> list[Line]:
        """The findings of all these programs, started together; each asks for its own host."""
        mark = self.shim.mark()
        with ThreadPoolExecutor(len(cases)) as pool:
            runs = [pool.submit(self.run, case.before, host, folder / host) for host, case in cases.items()]
        for run in runs:
            run.result()
        self._settle(folder)
        return [line for line in self.shim.find("leak_found", mark) if not is_last(line)]

    def clean(self, case: Case, host: str, folder: Path) -> list[Line]:
        """What gives anything away in a program that does as it was advised. Its name must have gone to the proxy."""
        mark = self.shim.mark()
        self.run(case.after, host, folder)
        self._settle(folder)
        requests = self.shim.find("request_decided", mark)
        by_name = [line for line in requests if line["exposure"] == "name"]
        assert [line for line in by_name if line["destination"].startswith(f"{host}:")]
        telling = [line for line in requests if line not in by_name] + self.shim.find("leak_found", mark)
        return [line for line in telling if not is_last(line)] + self.shim.find("dns_query", mark)

    def _settle(self, folder: Path) -> None:
        """Wait until all that came before has been told: a finding that is made now is told after them."""
        mark = self.shim.mark()
        after = Task(LAST, self.shim.socks, self.shim.http, folder)
        self._space.run(curl("--socks5")(after).argv)
        self.shim.wait_for("leak_found", mark, destination=f"{LAST}:80")


def is_whole(process: Line | None) -> bool:
    """Whether all is told that there is to be known of a program."""
    return process is not None and process["exe"] is not None


def is_last(line: Line) -> bool:
    """Whether it belongs to the request that is made only to come after all others."""
    return bool(line["destination"] == f"{LAST}:80")


@contextmanager
def bench(folder: Path, hosts: dict[str, str], upstream: Upstream, *options: str) -> Iterator[Bench]:
    require_namespaces()
    resolver = "127.0.0.1" if "--dns" in options else None
    with (
        Namespace(folder, hosts, resolver) as space,
        Shim("--http", "127.0.0.1:0", *options, upstream=upstream.unix, prefix=space.prefix) as shim,
    ):
        yield Bench(space, shim)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Bench]:
    """Where a hosts file resolves names."""
    with bench(tmp_path_factory.mktemp("listed"), HOSTS, upstream) as made:
        yield made


@pytest.fixture(scope="module")
def sensed(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Bench]:
    """Where the sensor is the resolver, and refuses."""
    own = {socket.gethostname(): "127.0.1.1"}  # Firefox looks up the machine's own name, which a hosts file has
    with bench(tmp_path_factory.mktemp("sensed"), own, upstream, "--dns", "127.0.0.1:53") as made:
        yield made


def assert_advised(found: Line, case: Case) -> None:
    """The program by its name, its exact advice, and in it the setting that the mended program has."""
    process = found["process"]
    assert process is not None, found["process_reason"]
    assert (process.get("script") or process["name"]).startswith(case.program)
    assert found["advice"] == ENGLISH.text(f"advice.for.{case.advice}")
    assert found["advice"] in found["message"]
    assert case.setting in found["advice"]
    assert case.setting in JAPANESE.text(f"advice.for.{case.advice}")


@pytest.mark.parametrize("case", BY_ADDRESS, ids=str)
def test_a_program_that_looks_names_up(case: Case, listed: Bench, tmp_path: Path) -> None:
    assert_advised(listed.leaked(case, f"{case.service}.test", tmp_path / "before"), case)
    assert listed.clean(case, f"{case.service}.test", tmp_path / "after") == []


def test_programs_at_once_are_never_mixed_up(listed: Bench, upstream: Upstream, tmp_path: Path) -> None:
    """Each is named at least once, for its answer takes a second. One that is not is run again with all the others."""
    upstream.behave |= dict.fromkeys(OWN_HOSTS.values(), Behaviour(delay_s=1.0))
    cases = dict(zip(OWN_HOSTS, CROWD.values(), strict=True))
    programs = {OWN_HOSTS[host]: case.program for host, case in cases.items()}
    named: set[str] = set()
    for number in range(TRIES):
        (folder := tmp_path / str(number)).mkdir()
        for line in listed.at_once(cases, folder):
            expected = programs[line["destination"].rpartition(":")[0]]
            if process := line["process"]:
                assert (process.get("script") or process["name"]).startswith(expected)
                named.add(expected)
        if named == set(programs.values()):
            break
    assert named == set(programs.values())


@pytest.mark.parametrize("case", BY_QUERY, ids=str)
def test_a_program_that_asks_dns(case: Case, sensed: Bench, tmp_path: Path) -> None:
    assert_advised(sensed.leaked(case, f"{case.service}.before.test", tmp_path / "before"), case)
    assert sensed.clean(case, f"{case.service}.after.test", tmp_path / "after") == []


def test_a_resolver_in_between_hides_who_asked(tmp_path: Path, upstream: Upstream) -> None:
    """It is not blamed, and the advice tells how to see the asker: whoever asks the sensor itself is named."""
    resolver = [require_program("dnsmasq"), "--no-daemon", "--no-resolv", "--no-hosts", "--pid-file="]
    resolver += ["--conf-file=/dev/null", "--listen-address=127.0.0.2", "--bind-interfaces", "--server=127.0.0.1"]
    dig = [require_program("dig"), "+retry=9", "+time=5", "hidden.test"]
    with bench(tmp_path, {}, upstream, "--dns", "127.0.0.1:53") as made, made.running(resolver):
        for _ in range(TRIES):  # until it listens
            if made.run_words([*dig, "@127.0.0.2"]).returncode == 0:
                break
        found = made.shim.wait_for("leak_found", kind="dns_query", name="hidden.test")
        assert (found["process"], found["process_reason"]) == (None, "shared_resolver")
        assert found["advice"] == ENGLISH.text("advice.for.resolver.dns")
        mark = made.shim.mark()
        made.run_words([*dig, "@127.0.0.1"])
        assert made.shim.wait_for("leak_found", mark, kind="dns_query")["process"]["name"] == "dig"


@pytest.mark.parametrize("case", PRELOADED, ids=str)
def test_what_works_inside_another_program(case: Case, listed: Bench, tmp_path: Path) -> None:
    found = listed.leaked(case, "page.test", tmp_path / "before")
    assert_advised(found, case)
    assert found["process"]["wrapper"] == case.advice
    assert listed.clean(case, "unlisted.test", tmp_path / "after") == []


@pytest.mark.parametrize(("program", "run", "exposure", "advice"), TYPED, ids=[f"{row[0]} {row[3]}" for row in TYPED])
def test_a_typed_address_is_possible_and_there_is_nothing_to_change(
    program: str, run: Program, exposure: str, advice: str, listed: Bench, tmp_path: Path
) -> None:
    case = Case(program, run, advice, "", run, {"address": "address_only"}.get(exposure, exposure))
    found = listed.leaked(case, TYPED_HERE, tmp_path / "typed")
    assert_advised(found, case)
    assert (found["confidence"], found["destination"].rpartition(":")[0]) == ("possible", TYPED_HERE)


def policies(task: Task, mark: str) -> str:
    """The policies of docs/advice.md in which `mark` stands, for the shim's port."""
    page = (ROOT / "docs" / "advice.md").read_text(encoding="utf-8")
    (text,) = [text for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if mark in text]
    return str(text.replace("127.0.0.1:9250", task.socks))


def with_mount(mount: str, *argv: str) -> list[str]:
    """A command that sees something else mounted; `$0` is the first word."""
    first, *rest = argv
    return ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', first, "timeout", "20", *rest]


def firefox_by_policy(task: Task) -> Command:
    """Firefox with an empty profile, and the policies where Debian's package looks for them."""
    folder = Path(task.file("policies/policies.json", policies(task, '"policies"'))).parent
    picture = task.folder / "picture.png"
    firefox = ["firefox-esr", "--headless", "--no-remote", "--profile", str(task.folder), "--screenshot", str(picture)]
    argv = with_mount('mount --bind "$0" /usr/lib/firefox-esr/distribution', str(folder), *firefox, task.url)
    return Command(("firefox-esr", "timeout"), argv, {"HOME": str(task.folder)}, picture)


def chromium_by_policy(task: Task) -> Command:
    """Chromium without a word about proxies but in its policies."""
    told = chromium("socks5")(task)
    file = task.file("managed.json", policies(task, '"ProxyMode"'))
    mount = "mount -t tmpfs none /etc/chromium && mkdir -p /etc/chromium/policies/managed"
    plain = [word for word in told.argv if not word.startswith("--proxy-server")]
    argv = with_mount(f'{mount} && cp "$0" /etc/chromium/policies/managed/shim.json', file, *plain)
    return Command(("chromium", "timeout"), argv, told.env)


@pytest.mark.parametrize(
    ("program", "needed"),
    [(firefox_by_policy, "/usr/lib/firefox-esr/distribution"), (chromium_by_policy, "/etc/chromium")],
)
def test_the_policies_of_the_documents_leave_nothing(
    program: Program, needed: str, sensed: Bench, tmp_path: Path
) -> None:
    if not Path(needed).is_dir():
        missing(f"needs Debian's package with {needed}")
    case = Case(program.__name__, program, "", "", program)
    assert sensed.clean(case, "policies.test", tmp_path / "after") == []


def test_what_the_table_calls_tried_is_tried_here() -> None:
    tried = {row.advice for program in table().programs for row in program.rows if row.tried}
    shown = {case.advice for case in (*BY_ADDRESS, *BY_QUERY, *PRELOADED)} | {row[3] for row in TYPED}
    assert tried == shown | {"resolver.dns"}
