"""`shim check` as a program: well-behaved and leaking ones inside, exit statuses and reports outside.

Everything runs in namespaces of their own: no packet leaves this machine.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from rig.programs import missing, require_program

from shim.lab.isolation import probe

ROOT = Path(__file__).parents[1]
NOBODY = 65534
SHIM = (sys.executable, "-c", "from shim.cli import main; main()", "check")
PROXY = "{socks_host}:{socks_port}"
URL = "http://www.example.org/"


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if (refused := probe()) is not None:
        missing(f"needs namespaces: {refused}")


def check(*words: str, prefix: tuple[str, ...] = (), **more: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LC_ALL": "C.UTF-8", **more.pop("env", {})}
    argv = [*prefix, *SHIM, *words]
    more.setdefault("timeout", 60)
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, **more)


def report(*words: str, **more: Any) -> tuple[int, dict[str, Any]]:
    done = check("--format", "json", *words, **more)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def python(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


def packets(plain: dict[str, Any]) -> set[tuple[str, str]]:
    return {(found["packet"], found["destination"]) for found in plain["leaks"] if found["packet"]}


@pytest.mark.parametrize(
    ("option", "status"), [("--socks4", 1), ("--socks4a", 0), ("--socks5", 1), ("--socks5-hostname", 0)]
)
def test_the_four_modes_of_curl(option: str, status: int) -> None:
    curl = require_program("curl")
    code, plain = report("--", curl, "-sS", "--fail", option, PROXY, URL)
    assert (code, plain["exit_status"], plain["command_status"], plain["requests"]) == (status, status, 0, 1)
    kinds = {found["kind"] for found in plain["leaks"]}
    assert kinds == ({"dns_query", "local_resolution"} if status else set())
    assert all(found["name"] == "www.example.org" for found in plain["leaks"])
    assert all(found["process"]["name"] == "curl" for found in plain["leaks"])


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (("curl", "-sS", "--socks5", PROXY, URL), {"advice.for.curl.dns", "advice.for.curl.socks5"}),
        (("curl", "-sS", "-m", "5", URL), {"advice.for.curl.dns"}),
        (("proxychains4", "-q", "-f", "{socks_conf}", "curl", "-sS", URL), {"advice.for.proxychains"}),
    ],
    ids=["address", "direct", "preloaded"],
)
def test_what_to_change_is_told_for_the_program(command: tuple[str, ...], advice: set[str], tmp_path: Path) -> None:
    require_program(command[0])
    conf = tmp_path / "chain.conf"
    conf.write_text("strict_chain\n[ProxyList]\nsocks5 127.0.0.1 9250\n")
    _, plain = report("--", *(str(conf) if word == "{socks_conf}" else word for word in command))
    assert {found["advice_id"] for found in plain["leaks"]} == advice


def test_a_word_that_can_be_no_path_is_a_word() -> None:
    code, plain = report(*python(f"'{'long' * 100}'"))
    assert (code, plain["reason"], plain["command_status"]) == (3, "no_request", 0)


def test_a_name_by_the_http_proxy_is_no_leak() -> None:
    curl = require_program("curl")
    code, plain = report("--", curl, "-sS", "--fail", "-p", "-x", "{http_proxy_url}", URL)
    assert (code, plain["command_status"]) == (0, 0)


RAW_QUERY = """
import socket
query = bytes.fromhex('abcd01000001000000000000') + b'\\x06secret\\x07example\\x00\\x00\\x01\\x00\\x01'
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(query, ('8.8.8.8', 53))
"""


@pytest.mark.parametrize(
    ("code", "packet", "destination"),
    [
        (RAW_QUERY, "dns", "8.8.8.8:53"),
        ("import socket; socket.socket().connect_ex(('93.184.216.34', 80))", "tcp", "93.184.216.34:80"),
        (
            "import socket; s = socket.socket(socket.AF_INET6); s.connect_ex(('2606:4700::1', 443))",
            "tcp",
            "[2606:4700::1]:443",
        ),
        (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
            "s.sendto(b'\\xc3\\0\\0\\0\\1' + bytes(1195), ('93.184.216.34', 443))",
            "quic",
            "93.184.216.34:443",
        ),
        ("import socket; socket.socket().connect_ex(('9.9.9.9', 853))", "dot", "9.9.9.9:853"),
        ("import socket; socket.socket().connect_ex(('1.1.1.1', 443))", "doh", "1.1.1.1:443"),
        (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
            "s.sendto(bytes(12), ('224.0.0.251', 5353))",
            "mdns",
            "224.0.0.251:5353",
        ),
    ],
)
def test_what_goes_past_the_proxy_is_caught(code: str, packet: str, destination: str) -> None:
    status, plain = report(*python(code))
    assert status == 1
    assert packets(plain) == {(packet, destination)}
    assert all(found["confidence"] == "confirmed" for found in plain["leaks"])


def test_a_name_asked_of_a_foreign_resolver_is_told() -> None:
    _, plain = report(*python(RAW_QUERY + "import time; time.sleep(2)"))
    (found,) = plain["leaks"]
    assert (found["name"], found["process"]["exe"]) == ("secret.example", os.path.realpath(sys.executable))


def test_a_grandchild_that_outlives_its_parent_is_caught() -> None:
    code = f"import os, time\nif os.fork(): os._exit(0)\nif os.fork(): os._exit(0)\ntime.sleep(0.4)\n{RAW_QUERY}"
    status, plain = report(*python(code))
    assert (status, packets(plain)) == (1, {("dns", "8.8.8.8:53")})


def test_a_flood_is_counted_to_its_end() -> None:
    code = "import socket\nfor port in range(1, 701): socket.socket().connect_ex(('192.0.2.1', port))"
    status, plain = report(*python(code))
    assert (status, len(plain["leaks"])) == (1, 700)


def test_a_late_leak_is_caught() -> None:
    status, plain = report(*python(f"import time; time.sleep(3)\n{RAW_QUERY}"))
    assert status == 1
    assert plain["leaks"][0]["after_s"] >= 3


STATIC = r"""
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
int main(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
  inet_pton(AF_INET, "8.8.4.4", &to.sin_addr);
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  return sendto(s, "not a query", 11, 0, (struct sockaddr *)&to, sizeof to) < 0;
}
"""


def test_a_static_program_cannot_hide_from_it(tmp_path: Path) -> None:
    source, program = tmp_path / "raw.c", tmp_path / "raw"
    source.write_text(STATIC, encoding="ascii")
    built = subprocess.run([require_program("gcc"), "-static", "-o", program, source], capture_output=True, check=False)
    if built.returncode:
        missing("needs a static libc")
    status, plain = report("--", str(program), env={"LD_PRELOAD": ""})
    assert (status, packets(plain)) == (1, {("dns", "8.8.4.4:53")})


@pytest.mark.parametrize(
    ("command", "reason", "command_status"),
    [
        (["/nonexistent/program"], "not_started", None),
        (["/etc/hostname"], "not_started", None),
        (["sh", "-c", "kill -9 $$"], "signal", -9),
        (["sh", "-c", "kill -TERM $$"], "signal", -15),
        (["true"], "no_request", 0),
        (["sh", "-c", "exit 42"], "no_request", 42),
    ],
)
def test_what_proves_nothing_is_inconclusive(command: list[str], reason: str, command_status: int | None) -> None:
    status, plain = report("--", *command)
    assert (status, plain["verdict"], plain["reason"]) == (3, "inconclusive", reason)
    assert plain["command_status"] == command_status
    assert plain["reason_text"]


def test_a_dash_is_standard_output(tmp_path: Path) -> None:
    done = check("--format", "json", "--output", "-", "--", "echo", "said", cwd=tmp_path)
    assert (json.loads(done.stdout)["reason"], done.stderr) == ("no_request", "said\n")
    assert not list(tmp_path.iterdir())


def test_a_report_without_a_place_is_known_before_the_command_runs(tmp_path: Path) -> None:
    done = check("--output", str(tmp_path / "none" / "report"), "--", "touch", str(tmp_path / "ran"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path / 'none' / 'report'}: cannot be written: no such file or directory\n"
    assert not (tmp_path / "ran").exists()


def test_the_folder_it_was_started_in_may_be_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = check("--format", "json", "--", "true", prefix=("sh", "-c", f'cd {gone}; rmdir {gone}; "$@"', "sh"))
    assert (done.returncode, json.loads(done.stdout)["script"]) == (3, None)


def test_a_crash_after_a_request_is_inconclusive() -> None:
    curl = require_program("curl")
    status, plain = report("--", "sh", "-c", f"{curl} -sS -x {{proxy_url}} {URL}; kill -9 $$")
    assert (status, plain["reason"], plain["requests"]) == (3, "signal", 1)


def test_the_time_limit_ends_it_and_judges_what_was_seen() -> None:
    curl = require_program("curl")
    status, plain = report("--timeout", "5", "--", "sh", "-c", f"{curl} -sS -x {{proxy_url}} {URL}; sleep 60")
    assert (status, plain["stopped"]) == (0, "timeout")
    assert "timeout" in {each["code"] for each in plain["not_covered"]}


def test_what_is_left_behind_is_ended_and_told() -> None:
    status, plain = report("--", "sh", "-c", "sleep 321.5 & exit 0")
    assert (status, plain["reason"]) == (3, "no_request")
    assert "left_running" in {each["code"] for each in plain["not_covered"]}
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert b"sleep\x00321.5\x00" not in running


def test_streams_go_where_the_contract_says(tmp_path: Path) -> None:
    done = check("--format", "json", "--", "cat", input="from outside")
    assert json.loads(done.stdout)["command_status"] == 0
    assert done.stderr == "from outside"
    output = tmp_path / "report.json"
    done = check("--format", "json", "--output", str(output), "--", "cat", input="from outside")
    assert done.stdout == "from outside"
    assert json.loads(output.read_text(encoding="utf-8"))["command_status"] == 0
    assert output.stat().st_mode & 0o777 == 0o600


def test_the_command_is_told_where_the_proxy_is() -> None:
    names = ("SHIM_SOCKS_HOST", "SHIM_SOCKS_PORT", "SHIM_PROXY_URL", "ALL_PROXY", "https_proxy", "NO_PROXY")
    code = f"import os, sys; print([os.environ.get(name) for name in {names}], sys.argv[1:])"
    words = [*python(code), "{socks_host}", "x{socks_port}", "{proxy_url}", "{other}"]
    env = {"ALL_PROXY": "mine", "NO_PROXY": "all"}
    seen = ["127.0.0.1", "9250", "socks5h://127.0.0.1:9250"]
    arguments = ["127.0.0.1", "x9250", "socks5h://127.0.0.1:9250", "{other}"]
    done = check(*words, env=env)
    assert done.stderr == f"{[*seen, 'mine', os.environ.get('https_proxy'), 'all']} {arguments}\n"
    done = check("--proxy-env", *words, env=env)
    assert done.stderr == f"{[*seen, seen[2], seen[2], None]} {arguments}\n"


def test_its_own_files_are_untouched(tmp_path: Path) -> None:
    before = Path("/etc/resolv.conf").read_bytes()
    done = check("--", "cat", "/etc/resolv.conf", env={"TMPDIR": str(tmp_path)})
    assert done.stderr == "nameserver 127.0.0.1\nnameserver ::1\n"
    assert Path("/etc/resolv.conf").read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_the_packets_are_written_down(tmp_path: Path) -> None:
    file = tmp_path / "packets.pcap"
    assert check("--pcap", str(file), *python(RAW_QUERY)).returncode == 1
    raw = file.read_bytes()
    assert struct.unpack_from("=IHHiIII", raw) == (0xA1B2C3D4, 2, 4, 0, 0, 0x40000, 101)
    _, _, length, whole = struct.unpack_from("=IIII", raw, 24)
    assert length == whole == len(raw) - 40
    assert b"\x06secret\x07example\x00" in raw[40:]


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_form_says_the_same(lang: str) -> None:
    code = RAW_QUERY + "print('<script>&')"
    text = check("--lang", lang, *python(code))
    assert "secret.example" in text.stdout and "8.8.8.8:53" in text.stdout
    page = check("--lang", lang, "--format", "html", *python(code))
    assert f'<html lang="{lang}">' in page.stdout and "secret.example" in page.stdout
    assert "<script" not in page.stdout and "&lt;script" in page.stdout
    assert "http://" not in page.stdout.replace("http://www.w3.org", "") and "src=" not in page.stdout
    log = json.loads(check("--lang", lang, "--format", "sarif", *python(code)).stdout)
    (result,) = log["runs"][0]["results"]
    assert (log["version"], result["ruleId"], result["level"]) == ("2.1.0", "L25", "error")
    assert result["message"]["text"] and set(log["runs"][0]["tool"]["driver"]["rules"][0]) >= {"id", "help"}
    suites = ElementTree.fromstring(check("--lang", lang, "--format", "junit", *python(code)).stdout.encode())
    assert (suites.get("failures"), suites.get("errors")) == ("1", "0")
    assert suites.find(".//failure") is not None


def test_sarif_names_the_file_and_knows_the_same_finding_again(tmp_path: Path) -> None:
    """Code scanning shows no finding without a file, and tells new ones from old ones by a fingerprint."""
    script = tmp_path / "src" / "app.py"
    script.parent.mkdir()
    script.write_text(
        f"{RAW_QUERY}\nimport os\ns.sendto(b'to ' + os.environ['SHIM_CANARY'].encode(), ('192.0.2.7', 5300))\n"
    )
    words = ("--", sys.executable, "src/app.py")
    runs = [json.loads(check("--format", "sarif", *words, cwd=tmp_path).stdout)["runs"][0] for _ in range(2)]
    prints = [
        sorted(result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]) for run in runs
    ]
    assert prints[0] == prints[1] and len(set(prints[0])) == 2
    places = [result["locations"][0]["physicalLocation"] for run in runs for result in run["results"]]
    assert {place["artifactLocation"]["uri"] for place in places} == {"src/app.py"}
    scrubbed = check("--scrub", "--format", "sarif", *words, cwd=tmp_path).stdout
    assert "src/app.py" not in scrubbed and '"uri": "python' in scrubbed


def test_junit_tells_an_error_from_a_failure() -> None:
    suites = ElementTree.fromstring(check("--format", "junit", "--", "true").stdout.encode())
    assert (suites.get("failures"), suites.get("errors")) == ("0", "1")


@pytest.mark.parametrize("format", ["text", "json", "html", "sarif", "junit"])
def test_names_can_be_left_out(format: str) -> None:
    done = check("--scrub", "--format", format, *python(RAW_QUERY))
    assert done.returncode == 1
    assert "[scrubbed]" in done.stdout
    assert not any(word in done.stdout for word in ("secret", "8.8.8.8"))


@pytest.mark.parametrize(
    "words", [(), ("--format", "xml", "--", "true"), ("--upstream", "example.org:1", "--", "true"), ("--no", "true")]
)
def test_wrong_usage(words: tuple[str, ...]) -> None:
    done = check(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_an_upstream_that_is_away_is_admitted() -> None:
    curl = require_program("curl")
    status, plain = report("--upstream", "127.0.0.1:1", "--", curl, "-s", "-x", "{proxy_url}", URL)
    assert (status, plain["requests"]) == (0, 1)
    assert "upstream" in {each["code"] for each in plain["not_covered"]}


def test_a_tor_that_does_not_start_is_admitted(tmp_path: Path) -> None:
    """A program called tor that ends at once: the real one would reach for the network."""
    curl = require_program("curl")
    tor = tmp_path / "tor"
    tor.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    tor.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    status, plain = report("--upstream", "tor", "--", curl, "-s", "-x", "{proxy_url}", URL, env=env)
    assert (status, plain["requests"], plain["command_status"] != 0) == (0, 1, True)
    assert "upstream" in {each["code"] for each in plain["not_covered"]}


def test_how_far_a_tor_of_its_own_is_can_be_seen(tmp_path: Path) -> None:
    """It may take minutes, in which nothing else is said."""
    tor = tmp_path / "tor"
    tor.write_text("#!/bin/sh\necho 'Bootstrapped 5% (conn): x'\necho 'Bootstrapped 100% (done): x'\nexec sleep 60\n")
    tor.chmod(0o755)
    done = check("--upstream", "tor", "--", "true", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert (done.returncode, done.stderr) == (3, "tor is 5 % ready: conn\ntor is 100 % ready: done\n")


def test_the_display_and_the_terminal_are_passed_only_if_asked_for() -> None:
    words, env = ["--", "sh", "-c", "echo display=$DISPLAY"], {"DISPLAY": ":7"}
    done = check("--format", "json", *words, env=env)
    assert done.stderr == "display=\n"
    done = check("--interactive", "--format", "json", *words, env=env)
    head, _, rest = done.stdout.partition("\n")
    assert head == "display=:7"
    assert "session" in {each["code"] for each in json.loads(rest)["not_covered"]}


def test_an_abstract_socket_of_another_program_is_out_of_reach() -> None:
    name = f"\0leakshim-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as resolver:
        resolver.bind(name)
        resolver.listen()
        code = f"import socket; print(socket.socket(socket.AF_UNIX).connect_ex({name!r}))"
        assert check(*python(code)).stderr == f"{errno.ECONNREFUSED}\n"


def test_torsocks_is_no_leak() -> None:
    """It asks the proxy for the address, and then for that address."""
    torsocks, curl = require_program("torsocks"), require_program("curl")
    status, plain = report("--", torsocks, curl, "-sS", "--fail", URL)
    assert (status, plain["leaks"]) == (0, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="is what every other test of this file does already")
@pytest.mark.parametrize(("option", "status"), [("--socks4", 1), ("--socks4a", 0)])
def test_it_needs_no_privilege(option: str, status: int) -> None:
    setpriv, curl = require_program("setpriv"), require_program("curl")
    python3 = shutil.which("python3", path="/usr/bin") or missing("needs a python for everybody")
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry.endswith("site-packages"))])
    become = (setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    argv = [*become, str(python3), *SHIM[1:], "--format", "json", "--", curl, "-sS", option, PROXY, URL]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    trial = subprocess.run(
        [*argv[:5], "-c", "import shim.lab.check"], env=env, cwd="/", capture_output=True, check=False
    )
    if trial.returncode:
        missing("needs a python for everybody, of this version")
    done = subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    assert json.loads(done.stdout)["isolation"]["user_namespace"] is True
