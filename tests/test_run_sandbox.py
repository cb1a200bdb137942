"""`shim run --sandbox=require` from outside: all that works without it works in it, and its helpers may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig.asking import Where, address, answers, ask, rcode, wire
from rig.family import alive, children, status
from rig.namespace import Namespace
from rig.programs import missing, require_namespaces, require_program
from rig.shim import ROOT, Line, Shim, environment, program
from rig.upstream import Upstream
from rig.waiting import until
from rig.wire import GREETING, NO_AUTH, Client, refused5, socks5, tunnel5
from rig.wire import ask as send

from shim.sandbox import PARTS, offered

ADDRESS = "93.184.216.34"

if lacking := [part for part, had in offered().items() if not had]:
    pytestmark = pytest.mark.skip(reason=f"needs all of the sandbox: {', '.join(lacking)}")


@pytest.fixture(autouse=True, scope="module")
def _whole() -> None:
    if lacking:
        missing(f"needs all of the sandbox: {', '.join(lacking)}")


def write(folder: Path, text: str) -> Path:
    path = folder / "shim.toml"
    path.write_text(text)
    return path


def require(*flags: str, **more: object) -> Shim:
    return Shim("--sandbox", "require", *flags, **more)  # type: ignore[arg-type]


def guardian(shim: Shim) -> int:
    """The guardian is forked first."""
    return children(shim.process.pid)[0]


def named(shim: Shim, where: str | None = None) -> Line:
    """The finding about a request of ours for an address, which waits until it is decided."""
    mark = shim.mark()
    with Client(where or shim.socks) as client:
        client.send(GREETING + socks5(ADDRESS, 80))
        return shim.wait_for("leak_found", mark, kind="address_only")


def named_again(shim: Shim) -> None:
    """Until it is told once more who we are."""
    until(lambda: (named(shim)["process"] or {}).get("pid") == os.getpid())


def asked(shim: Shim, where: Where) -> bool:
    """Whether a query of ours is known to be ours."""
    mark = shim.mark()
    ask(where, wire("asked.test"))
    process = shim.wait_for("dns_query", mark, qname="asked.test")["process"]
    return process is not None and process["pid"] == os.getpid()


def test_ready_says_what_is_in_force(upstream: Upstream) -> None:
    with require(upstream=upstream.address) as shim:
        assert [part.partition(":")[0] for part in shim.ready["sandbox"]] == list(PARTS)
    with Shim("--sandbox", "off", upstream=upstream.address) as shim:
        assert shim.ready["sandbox"] == []
    with Shim(upstream=upstream.address) as shim:
        assert "seccomp" in shim.ready["sandbox"], "auto is the default"


def test_requests_are_forwarded_refused_and_named(upstream: Upstream) -> None:
    with require("--mode", "block", "--http", "127.0.0.1:0", upstream=upstream.address) as shim:
        with tunnel5(shim.socks, b"echo.test", 80) as client:
            client.send(b"x" * 1_000_000)
            assert client.read(1_000_000) == b"x" * 1_000_000
        named_again(shim)
        assert {found["action"] for found in shim.find("leak_found")} == {"block"}


def test_an_upstream_behind_a_unix_socket(upstream: Upstream) -> None:
    with require(upstream=upstream.unix) as shim, tunnel5(shim.socks, b"echo.test", 80) as client:
        client.send(b"x")
        assert client.read(1) == b"x"


def test_nothing_else_can_be_reached_even_if_it_is_told_to(tmp_path: Path) -> None:
    """The configuration that the shim was started with is the only one that counts."""
    with Upstream() as one, Upstream() as other:
        config = write(tmp_path, f'[upstream]\naddress = "{one.address}"\n[sandbox]\nmode = "require"\n')
        with Shim(config=config) as shim:
            text = f'[upstream]\naddress = "{other.address}"\n[listen]\nhttp = ["127.0.0.1:0"]\n'
            write(tmp_path, f'{text}[dns]\nstate = "{tmp_path}/state"\n[sandbox]\nmode = "off"\n')
            shim.signal(signal.SIGHUP)
            line = shim.wait_for("config_reloaded")
            assert line["needs_restart"] == ["listen.http", "upstream.address", "dns.state", "sandbox.mode"]
            with tunnel5(shim.socks, b"echo.test", 80):
                pass
            write(tmp_path, '[policy]\nmode = "bloc"\n')
            shim.signal(signal.SIGHUP)
            shim.wait_for("config_rejected")
        assert (one.accepted, other.accepted) == (1, 0)


@pytest.mark.parametrize("mode", ["refuse", "issue", "tor"])
def test_the_sensor_answers_and_names_who_asked(mode: str, upstream: Upstream, tmp_path: Path) -> None:
    state = tmp_path / "state" / "names"
    state.parent.mkdir()
    config = write(tmp_path, f'[dns]\nstate = "{state if mode == "issue" else ""}"\n')
    with require("--dns", "127.0.0.1:0", "--dns-mode", mode, config=config, upstream=upstream.address) as shim:
        where = address(shim.ready["dns"][0])
        until(lambda: asked(shim, where))
        reply = ask(where, wire("page.test"))
    if mode == "refuse":
        assert rcode(reply) == "NXDOMAIN"
    else:
        assert answers(reply)
    if mode == "issue":
        assert "page.test" in state.read_text()


def test_a_unix_listener_is_private_and_gone_in_the_end(upstream: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "socks"
    with require(upstream=upstream.address, socks=[f"unix:{path}"]) as shim:
        named_again(shim)
        assert path.is_socket()
        assert shim.stop() == 0
        assert not path.exists()


def test_a_socket_that_another_shim_has_put_there_stays(upstream: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "socks"
    with require(upstream=upstream.address, socks=[f"unix:{path}"]) as first:
        path.unlink()
        with require(upstream=upstream.address, socks=[f"unix:{path}"]) as second:
            assert first.stop() == 0
            with tunnel5(second.socks, b"echo.test", 80):
                pass


def test_workers_are_all_inside_and_obey_the_first(upstream: Upstream, tmp_path: Path) -> None:
    config = write(tmp_path, "")
    with require("--workers", "3", config=config, upstream=upstream.address) as shim:
        first, (keeper, *others) = shim.process.pid, children(shim.process.pid)
        assert len(others) == 2
        for pid in (first, *others):
            said = status(pid)
            assert (said["Seccomp"], said["NoNewPrivs"], int(said["CapEff"], 16)) == ("2", "1", 0)
        assert status(keeper)["Seccomp"] == "0"
        assert len(children(keeper)) == 3, "each has somebody who looks up programs"
        shim.signal(signal.SIGHUP)
        until(lambda: len(shim.find("config_reloaded")) == 3)
        assert shim.stop() == 0
    assert not any(map(alive, (keeper, *others)))


def test_open_tunnels_may_finish(upstream: Upstream) -> None:
    with require(upstream=upstream.address) as shim, tunnel5(shim.socks, b"echo.test", 80) as client:
        shim.signal(signal.SIGTERM)
        shim.wait_for("draining", open=1)
        client.send(b"x")
        assert client.read(1) == b"x"
        client.end()
        assert shim.wait() == 0


# --- helpers that die -------------------------------------------------------------------------------------------------


def test_the_end_of_who_looks_up_programs_costs_names_and_nothing_else(upstream: Upstream) -> None:
    with require(upstream=upstream.address) as shim:
        named_again(shim)
        (looker,) = children(guardian(shim))
        with tunnel5(shim.socks, b"echo.test", 80) as client:
            os.kill(looker, signal.SIGKILL)
            line = shim.wait_for("helper_ended")
            assert (line["level"], line["helper"]) == ("warning", "witness")
            client.send(b"x")
            assert client.read(1) == b"x"
        found = named(shim)
        assert (found["process"], found["process_reason"]) == (None, "off") or found["process"]["pid"] == os.getpid()
        named_again(shim)
        assert len(shim.find("helper_ended")) == 1
        assert children(guardian(shim)) != [looker]


def test_the_end_of_the_guardian_costs_no_name_until_the_other_ends_too(upstream: Upstream) -> None:
    with require(upstream=upstream.address) as shim:
        named_again(shim)
        keeper = guardian(shim)
        (looker,) = children(keeper)
        os.kill(keeper, signal.SIGKILL)
        shim.wait_for("helper_ended", helper="guardian")
        named_again(shim)
        os.kill(looker, signal.SIGKILL)
        shim.wait_for("helper_ended", helper="witness")
        assert named(shim)["process_reason"] == "off"
        with tunnel5(shim.socks, b"echo.test", 80):
            pass
        assert shim.stop() == 0


def test_the_end_of_a_worker_is_told_and_the_others_go_on(upstream: Upstream) -> None:
    with require("--workers", "3", upstream=upstream.address) as shim:
        _, second, _ = children(shim.process.pid)
        os.kill(second, signal.SIGKILL)
        line = shim.wait_for("helper_ended")
        assert (line["level"], line["helper"]) == ("warning", "worker")
        for _ in range(20):
            goes_through(shim)
        assert shim.stop() == 0
        assert len(shim.find("helper_ended")) == 1, "those that end when they are told to are no news"


def test_no_helper_outlives_a_shim_that_is_killed(upstream: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "socks"
    shim = require("--workers", "2", upstream=upstream.address, socks=[f"unix:{path}"])
    shim.wait_for("ready")
    keeper, other = children(shim.process.pid)
    lookers = children(keeper)
    shim.signal(signal.SIGKILL)
    shim.process.wait()
    until(lambda: not any(map(alive, (keeper, other, *lookers))))
    assert not path.exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_helpers_end_with_the_shim_and_not_before(signum: signal.Signals, upstream: Upstream) -> None:
    """A terminal, or a manager of services, signals all processes; names and tor are needed while it drains."""
    with require(upstream=upstream.address) as shim:
        keeper = guardian(shim)
        lookers = children(keeper)
        for pid in (keeper, *lookers):
            os.kill(pid, signum)
        named_again(shim)
        assert [guardian(shim), *children(keeper)] == [keeper, *lookers]


# --- a tor of our own -------------------------------------------------------------------------------------------------

PLAYED = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from rig.upstream import Upstream
words = sys.argv[1:]
path = words[words.index("--SocksPort") + 1].removeprefix("unix:")
with Upstream(unix=Path(path)):
    print("Nov 01 [notice] Opened Socks listener connection (ready) on /x", flush=True)
    print("Nov 01 [notice] Bootstrapped 100% (done): Done", flush=True)
    time.sleep(600)
"""


@contextmanager
def with_own_tor(folder: Path) -> Iterator[Shim]:
    """In a network where there is no other Tor."""
    require_namespaces()
    command = folder / "tor"
    command.write_text(f"#!{sys.executable}\n{PLAYED.format(tests=str(Path(__file__).parent))}")
    command.chmod(0o755)
    config = write(folder, f'[upstream]\ntor_command = "{command}"\n')
    with Namespace(folder, {}) as space:
        inside = [*space.prefix, "env", f"XDG_STATE_HOME={folder}/state", f"TMPDIR={folder}"]
        with require(config=config, socks=[f"unix:{folder}/socks"], prefix=inside) as shim:
            yield shim


def goes_through(shim: Shim) -> None:
    with tunnel5(shim.socks, b"echo.test", 80) as client:
        client.send(b"x")
        assert client.read(1) == b"x"


def tor_of(shim: Shim) -> int:
    """The child of the guardian that runs another program."""
    (found,) = [pid for pid in children(guardian(shim)) if b"--SocksPort" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found


def test_a_tor_of_our_own_is_started_kept_and_ended(tmp_path: Path) -> None:
    with with_own_tor(tmp_path) as shim:
        assert shim.ready["upstream"] is None
        first = shim.wait_for("upstream_changed")["upstream"]
        shim.wait_for("tor_bootstrapped", progress=100)
        goes_through(shim)
        tor, mark = tor_of(shim), shim.mark()
        os.kill(tor, signal.SIGKILL)
        assert shim.wait_for("upstream_failed", mark, upstream="tor")["error"] == "exit_status_-9"
        shim.wait_for("upstream_changed", mark, upstream=first)
        goes_through(shim)
        again = tor_of(shim)
        assert again != tor
        assert shim.stop() == 0
        assert not alive(again)
    assert not Path(first.removeprefix("unix:")).parent.exists()


def test_it_does_not_outlive_a_shim_that_is_killed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit status -9"), with_own_tor(tmp_path) as shim:
        socks = shim.wait_for("upstream_changed")["upstream"]
        tor = tor_of(shim)
        shim.signal(signal.SIGKILL)
        until(lambda: not alive(tor))
        until(lambda: not Path(socks.removeprefix("unix:")).parent.exists())


def test_nor_the_guardian(tmp_path: Path) -> None:
    with with_own_tor(tmp_path) as shim:
        shim.wait_for("upstream_changed")
        tor, mark = tor_of(shim), shim.mark()
        os.kill(guardian(shim), signal.SIGKILL)
        until(lambda: not alive(tor))
        shim.wait_for("upstream_changed", mark, upstream=None)
        assert send(shim.socks, (GREETING, 2), (socks5(b"echo.test", 80), 0)) == NO_AUTH + refused5(1)


# --- what the kernel does not give ------------------------------------------------------------------------------------

WITHOUT = """
import errno, os, sys
from shim.sandbox import privileges, seccomp, syscalls
syscalls.NUMBERS["landlock_create_ruleset"] = (444, 444)
privileges.no_new_privs()
seccomp.restrict(seccomp.Filter({}, {"landlock_create_ruleset": seccomp.fail(errno.ENOSYS)}))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def without_landlock() -> Sequence[str]:
    """Words before a command: a kernel that has none."""
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-c", WITHOUT]


def test_auto_does_what_it_can_and_says_so(upstream: Upstream) -> None:
    with Shim(upstream=upstream.address, prefix=without_landlock()) as shim:
        assert shim.ready["sandbox"] == ["no_new_privs", "capabilities", "not_dumpable", "seccomp"]
        goes_through(shim)
        named_again(shim)


@pytest.mark.parametrize(("lang", "says"), [("en", "the sandbox is required"), ("ja", "サンドボックスが必須")])
def test_require_refuses_to_start_and_says_what_is_missing(lang: str, says: str, upstream: Upstream) -> None:
    words = ["run", "--sandbox", "require", "--lang", lang, "--socks", "127.0.0.1:0", "--upstream", upstream.address]
    done = subprocess.run(
        [*without_landlock(), *program(), *words],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 70
    assert says in done.stderr
    assert "landlock" in done.stderr and "seccomp" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_doctor_says_what_is_missing(lang: str) -> None:
    def said(*prefix: str) -> str:
        words = [*prefix, *program(), "doctor", "--lang", lang]
        return subprocess.run(
            words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False
        ).stdout

    told = set(said(*without_landlock()).splitlines()) - set(said().splitlines())
    assert len(told) == 1 and "landlock" in told.pop()


def test_a_user_without_rights_gets_it_all(upstream: Upstream) -> None:
    if os.geteuid():
        pytest.skip("is one already")
    setpriv = require_program("setpriv")
    nobody = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, *program(), "--version"], capture_output=True, cwd=ROOT, check=False).returncode:
        missing("needs a tree that everybody can read")
    with require(upstream=upstream.address, prefix=nobody) as shim:
        assert [part.partition(":")[0] for part in shim.ready["sandbox"]] == list(PARTS)
        goes_through(shim)
        until(
            lambda: named(shim)["process_reason"] == "not_permitted", "a look-up that was in time: we are another user"
        )
