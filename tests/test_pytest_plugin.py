"""The fixture `shim_check` in real pytest runs: the example project, failures to read, machines without namespaces."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from rig.programs import missing, require_namespaces

from shim.lab.isolation import probe
from shim.testing import check

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "titles"
PLAIN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
FORBID = 'for kind in user net; do echo 0 > /proc/sys/user/max_${kind}_namespaces || exit 77; done; exec "$0" "$@"'
QUERY = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(bytes(12), ('9.9.9.9', 53)); print('said this')"
LEAKY = f"""
import sys
def test_never_leaks(shim_check):
    shim_check([sys.executable, "-c", {QUERY!r}]).assert_no_leak()
"""
USELESS = """
def test_never_leaks(shim_check):
    shim_check(["true"]).assert_no_leak()
"""


def pytest_run(folder: Path, *words: str, prefix: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
    argv = [*prefix, sys.executable, "-m", "pytest", "-p", "shim.pytest_plugin", "-p", "no:cacheprovider", *words]
    environ = {key: text for key, text in os.environ.items() if key != "SHIM_CHECK_REQUIRED"} | PLAIN | env
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=110, check=False)


def project(folder: Path, tests: str) -> Path:
    """One with these tests, of which pytest.ini keeps the settings of ours away."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (folder / "test_it.py").write_text(tests)
    return folder


@pytest.fixture
def namespaces() -> None:
    if (refused := probe()) is not None:
        missing(f"needs namespaces: {refused}")


@pytest.mark.usefixtures("namespaces")
def test_the_example_project_passes() -> None:
    done = pytest_run(EXAMPLE, "-v", "-W", "error", SHIM_CHECK_REQUIRED="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert "test_the_option_that_leaks_is_caught PASSED" in done.stdout


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize(("lang", "verdict"), [("C.UTF-8", "Leak found"), ("ja_JP.UTF-8", "漏洩あり")])
def test_a_failure_says_what_leaked_and_what_to_do(lang: str, verdict: str, tmp_path: Path) -> None:
    done = pytest_run(project(tmp_path, LEAKY), LC_ALL=lang, PYTHONIOENCODING="utf-8")
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout + done.stderr
    for told in (verdict, "9.9.9.9:53", "L25", "socks5h://", "said this"):
        assert told in done.stdout, done.stdout
    assert "shim/testing.py" not in done.stdout, "our own code is of no interest there"


@pytest.mark.usefixtures("namespaces")
def test_a_run_that_proves_nothing_is_a_failure(tmp_path: Path) -> None:
    done = pytest_run(project(tmp_path, USELESS))
    assert done.returncode == 1 and "nothing was asked of the proxy" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("required", "outcome"), [("", "1 skipped"), ("1", "1 failed")])
def test_without_namespaces_it_skips_and_says_why_or_fails(required: str, outcome: str, tmp_path: Path) -> None:
    require_namespaces()
    prefix = ("unshare", "-r", "sh", "-c", FORBID)
    done = pytest_run(project(tmp_path, LEAKY), "-rs", prefix=prefix, SHIM_CHECK_REQUIRED=required)
    if done.returncode == 77:
        missing("needs to write to /proc/sys/user")
    assert outcome in done.stdout, done.stdout + done.stderr
    assert "user.max_user_namespaces" in done.stdout


def test_who_does_not_use_it_does_not_notice_it(tmp_path: Path) -> None:
    """Nothing of the shim is imported but the plugin, no warning is raised."""
    tests = (
        "import sys\ndef test_it():\n    assert not [name for name in sys.modules if name.startswith('shim.')][1:]\n"
    )
    done = pytest_run(project(tmp_path, tests))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", ["continuous.md", "ja/continuous.md"])
def test_the_workflow_on_the_page_is_that_of_the_example(page: str) -> None:
    """What it uses, at which version, and what it is allowed: least where nothing more is needed."""
    workflow = (EXAMPLE / ".github" / "workflows" / "leaks.yml").read_text(encoding="utf-8")
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    steps = re.findall(r"^ *- ((?:uses|run): .+)$", text, re.MULTILINE)
    assert (
        len(steps) >= 7 and [step for step in steps if step not in workflow.replace("run: sudo", "- run: sudo")] == []
    )
    assert all(re.fullmatch(r"[\w./-]+@v\d+", action) for action in re.findall(r"uses: (\S+)", workflow))
    assert workflow.count("\npermissions:\n  contents: read\n") == 1
    assert re.findall(r"(\S+): write", workflow) == ["security-events"]


def test_pytest_finds_it_by_itself() -> None:
    assert [each.value for each in entry_points(group="pytest11", name="shim_check")] == ["shim.pytest_plugin"]


@pytest.mark.usefixtures("namespaces")
class TestWithoutPytest:
    """The same for other frameworks."""

    def test_the_options_reach_the_check(self, tmp_path: Path) -> None:
        code = "import os, sys; print(os.environ['ALL_PROXY'], os.environ['MORE'], os.getcwd(), sys.stdin.read())"
        code += "; print(os.environ['SSL_CERT_FILE'], file=sys.stderr); sys.exit(3)"
        words = [sys.executable, "-c", code]
        found = check(words, proxy_env=True, ca_env=True, env={"MORE": "x"}, cwd=tmp_path, input="typed")
        assert found.stdout == f"socks5h://127.0.0.1:9250 x {tmp_path} typed\n"
        assert found.stderr.endswith("ca.pem\n")
        assert (found.command_status, found.requests, found.verdict, found.isolated) == (3, 0, "inconclusive", True)

    def test_the_time_limit_is_kept(self) -> None:
        assert check(["sleep", "300"], timeout=0.5).report["stopped"] == "timeout"

    def test_what_makes_no_sense_is_said(self) -> None:
        with pytest.raises(ValueError, match="--ca-env"):
            check(["true"], ca_env=True, upstream="127.0.0.1:1")
        with pytest.raises(ValueError, match="--visit"):
            check(["true"], visit=["http://www.example.org/"])
