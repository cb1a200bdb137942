"""From a process to the program that a person started: helpers, scripts, parents, labels, in made-up trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig.procfs import Procfs

from shim.model import Ancestor, Process
from shim.witness.describe import GENERATIONS, describe, main_process, parents
from shim.witness.proc import Stat

CHROMIUM = "/usr/lib/chromium/chromium"
FIREFOX = "/usr/lib/firefox-esr/firefox-esr"
PYTHON = "/usr/bin/python3.11"
BASH = "/usr/bin/bash"


@pytest.fixture
def tree(tmp_path: Path) -> Procfs:
    found = Procfs(tmp_path)
    found.add(1, "systemd", 0, exe="/usr/lib/systemd/systemd", arguments=("/sbin/init",))
    found.add(700, "bash", 1, exe=BASH, arguments=("bash",), session=700)
    return found


def stat(tree: Procfs, pid: int) -> Stat:
    found = tree.stat(pid)
    assert found is not None
    return found


def main(tree: Procfs, pid: int) -> int:
    return main_process(tree, stat(tree, pid), tree.exe(pid), tree.arguments(pid)).pid


def test_all_that_is_known_of_a_program(tree: Procfs) -> None:
    arguments = ("python3", "/usr/bin/pip", "download", "x")
    cgroup = "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal-9.scope"
    tree.add(701, "python3", 700, exe=PYTHON, arguments=arguments, session=700, start=5, uid=1000, cgroup=cgroup)
    assert describe(tree, stat(tree, 701)) == Process(
        701,
        "python3",
        PYTHON,
        start=5,
        arguments=arguments,
        label="app:org.gnome.Terminal",
        uid=1000,
        parents=(Ancestor(700, "bash"),),
        script="pip",
    )


def test_of_its_environment_only_what_was_preloaded_is_kept(tree: Procfs) -> None:
    secret = b"TOKEN=s3ntinel\0LD_PRELOAD=/usr/lib/libproxychains.so.4\0"
    tree.add(702, "curl", 700, exe="/usr/bin/curl", arguments=("curl",), environment=secret)
    process = describe(tree, stat(tree, 702))
    assert process.wrapper == "proxychains"
    assert "s3ntinel" not in repr([getattr(process, field) for field in process.__slots__])


class Dying(Procfs):
    """Whoever is found alive gives up its memory right after that."""

    def stat(self, pid: int) -> Stat | None:
        found = super().stat(pid)
        for file in ("cmdline", "environ"):
            self.write(f"{pid}/{file}", "")
        return found


def test_one_that_ends_while_it_is_described_is_not_told_in_half(tmp_path: Path) -> None:
    """A process without its preloaded library would get the advice for a program that goes out by itself."""
    tree = Dying(tmp_path)
    tree.add(703, "curl", 0, exe="/usr/bin/curl", stack=7)
    seen = stat(tree, 703)
    tree.add(
        703, "curl", 0, exe="/usr/bin/curl", stack=7, arguments=("curl", "x"), environment=b"LD_PRELOAD=/libtorsocks.so"
    )
    process = describe(tree, seen)
    assert (process.arguments, process.wrapper) == (("curl", "x"), "torsocks")


def test_a_browsers_network_service_is_the_browser(tree: Procfs) -> None:
    tree.add(800, "chromium", 700, exe=CHROMIUM, arguments=(CHROMIUM, "--proxy-server=socks5://127.0.0.1:9250"))
    tree.add(801, "chromium", 800, exe=CHROMIUM, arguments=(CHROMIUM, "--type=zygote"))
    tree.add(802, "Chrome_Child", 801, exe=CHROMIUM, arguments=(CHROMIUM, "--type=renderer"))
    tree.add(803, "chromium", 800, exe=CHROMIUM, arguments=(CHROMIUM, "--type=utility", "network.mojom.NetworkService"))
    assert [main(tree, pid) for pid in (800, 801, 802, 803)] == [800] * 4
    described = describe(tree, stat(tree, 803))
    assert (described.pid, described.arguments[1]) == (800, "--proxy-server=socks5://127.0.0.1:9250")


def test_firefoxs_processes_have_names_of_their_own(tree: Procfs) -> None:
    tree.add(810, "firefox-esr", 700, exe=FIREFOX, arguments=(FIREFOX,))
    tree.add(811, "Socket Process", 810, exe=FIREFOX, arguments=(FIREFOX, "-contentproc", "-parentBuildID", "2026"))
    assert main(tree, 811) == 810


def test_a_browser_started_by_another_stays_itself(tree: Procfs) -> None:
    tree.add(820, "firefox-esr", 700, exe=FIREFOX, arguments=(FIREFOX,))
    tree.add(821, "chromium", 820, exe=CHROMIUM, arguments=(CHROMIUM,))
    assert main(tree, 821) == 821


def test_two_scripts_of_one_interpreter_are_two_programs(tree: Procfs) -> None:
    tree.add(830, "python3", 700, exe=PYTHON, arguments=("python3", "supervisor.py"))
    tree.add(831, "python3", 830, exe=PYTHON, arguments=("python3", "client.py"))
    tree.add(832, "python3", 830, exe=PYTHON, arguments=("python3", "client.py", "--type=fast", "-contentproc"))
    tree.add(833, "bash", 700, exe=BASH, arguments=("bash", "fetch.sh"))
    tree.add(834, "wget", 833, exe="/bin/busybox", arguments=("wget", "x"))
    tree.add(835, "sh", 834, exe="/bin/busybox", arguments=("sh", "x"))
    assert [main(tree, pid) for pid in range(830, 836)] == list(range(830, 836))


def test_a_fork_of_a_script_is_the_script(tree: Procfs) -> None:
    tree.add(840, "python3", 700, exe=PYTHON, arguments=("python3", "server.py"))
    tree.add(841, "python3", 840, exe=PYTHON, arguments=("python3", "server.py"))
    assert main(tree, 841) == 840


def test_a_program_that_starts_itself_is_one(tree: Procfs) -> None:
    tree.add(850, "ssh", 700, exe="/usr/bin/ssh", arguments=("ssh", "-J", "jump", "host"))
    tree.add(851, "ssh", 850, exe="/usr/bin/ssh", arguments=("ssh", "-W", "[host]:22", "jump"))
    assert main(tree, 851) == 850


def test_the_climb_ends(tree: Procfs) -> None:
    """A process is nobody's own ancestor, but what is read piece by piece may say so."""
    tree.add(860, "ssh", 861, exe="/usr/bin/ssh", session=5)
    tree.add(861, "ssh", 860, exe="/usr/bin/ssh", session=5)
    assert main(tree, 860) in (860, 861)
    assert len(parents(tree, stat(tree, 860))) == GENERATIONS


def test_parents_up_to_the_leader_of_the_session(tree: Procfs) -> None:
    tree.add(600, "xterm", 1, session=600)
    tree.add(700, "bash", 600, exe=BASH, session=700)
    tree.add(701, "make", 700, session=700)
    tree.add(702, "git", 701, session=700)
    tree.add(703, "git-remote-http", 702, session=700)
    assert parents(tree, stat(tree, 703)) == ((702, "git"), (701, "make"), (700, "bash"))
    assert parents(tree, stat(tree, 700)) == ()


def test_a_parent_of_another_session_is_none(tree: Procfs) -> None:
    """The leader has ended, and somebody else has taken its children."""
    tree.add(701, "curl", 1, session=700)
    assert parents(tree, stat(tree, 701)) == ()


def test_without_its_executable_a_process_is_described_by_name(tree: Procfs) -> None:
    tree.add(900, "kworker/0:1", 2, start=3)
    described = describe(tree, stat(tree, 900))
    assert described == Process(900, "kworker/0:1", None, start=3, uid=1000)


def test_of_who_ends_or_becomes_another_program_meanwhile_little_is_told(tree: Procfs) -> None:
    """Number and name were true when it was seen with the socket; what can be read now may be somebody else's."""
    tree.add(910, "sh", 700, exe="/bin/sh", arguments=("sh",), start=5, stack=1)
    before = stat(tree, 910)
    tree.add(910, "curl", 700, exe="/usr/bin/curl", arguments=("curl",), start=5, stack=2)
    assert describe(tree, before) == Process(910, "sh", None, start=5)
    gone = stat(tree, 910)
    tree.remove(910)
    assert describe(tree, gone) == Process(910, "curl", None, start=5)


def test_the_arguments_in_a_title_are_no_name(tree: Procfs) -> None:
    """npm writes `npm install PACKAGE` where the kernel keeps the program's name."""
    tree.add(710, "npm view s3ntin", 700, exe="/usr/bin/node", arguments=("npm view s3ntinel",), session=700)
    tree.add(711, "sh", 710, exe="/usr/bin/dash", arguments=("sh",), session=700)
    npm, shell = describe(tree, stat(tree, 710)), describe(tree, stat(tree, 711))
    assert (npm.name, shell.parents[0].name) == ("npm", "npm")
    assert "s3ntin" not in repr((npm.name, npm.script, npm.parents, shell.parents))
