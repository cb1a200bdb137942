"""`shim survey` at work: the rows that run fast, with what each program is known to do; and a run that was broken off.

Every row runs in a namespace of its own: no packet leaves this machine.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rig.programs import missing, require_program

from shim.cli import start
from shim.lab.isolation import probe
from shim.lab.survey.catalogue import built_in

ROWS = built_in()
SAFE, ADDRESS, DIRECT = ("no_leak_observed", "name"), ("leak", "address"), ("leak", "nothing")
NOTHING = ("inconclusive", "nothing")

# Measured on Debian 12; a program that does otherwise is news, for docs/survey and for the table of advice.
EXPECTED = {
    **dict.fromkeys(("lynx-socks5", "links2-socks", "links2-only-proxies", "w3m-http"), SAFE),
    **dict.fromkeys(("lynx-none", "links2-env", "links2-none", "w3m-none", "elinks-none"), DIRECT),
    **dict.fromkeys(("lynx-env", "w3m-env", "elinks-env"), NOTHING),
    **dict.fromkeys(("curl-socks4a", "curl-socks5-hostname", "curl-x-socks4a", "curl-x-socks5h", "curl-https"), SAFE),
    **dict.fromkeys(("curl-env", "curl-http", "wget-http", "git-socks5h", "git-env"), SAFE),
    **dict.fromkeys(("curl-socks4", "curl-socks5", "curl-x-socks", "curl-x-socks4", "curl-x-socks5"), ADDRESS),
    "curl-literal": ("no_leak_observed", "given_address"),
    **dict.fromkeys(("curl-none", "wget-all-proxy", "git-ssh", "ssh-env"), DIRECT),
    "wget-env": NOTHING,
    "git-socks5": ADDRESS,
    "ssh-nc-x5": SAFE,
    "ssh-nc-x4": ADDRESS,
    "ssh-nc-x5-canonicalize": ("leak", "name"),
    **dict.fromkeys(("nc-x5", "nc-connect", "ncat-socks5-remote", "ncat-socks5", "ncat-socks4"), SAFE),
    **dict.fromkeys(("nc-x4", "ncat-socks5-local", "socat-socks4", "python-socket"), ADDRESS),
    **dict.fromkeys(("nc-none", "socat-tcp", "apt-none", "python-urllib-all-proxy", "node-fetch", "node-http"), DIRECT),
    **dict.fromkeys(("socat-socks4a", "socat-proxy", "apt-socks5h", "apt-env"), SAFE),
    **dict.fromkeys(("apt-socks5", "python-urllib", "torsocks-python-udp"), NOTHING),
    **{f"torsocks-{program}": SAFE for program in ("curl", "wget", "git", "ssh", "python")},
    **{f"proxychains-{program}": SAFE for program in ("curl", "wget", "git", "python")},
    "proxychains-no-dns": ADDRESS,
    "proxychains-python-udp": DIRECT,
    "privoxy-socks4": ADDRESS,
    **dict.fromkeys(("privoxy-socks4a", "privoxy-socks5", "privoxy-socks5t"), SAFE),
}
CLIENTS = sorted({ROWS[id].client for id in EXPECTED})


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if (refused := probe()) is not None:
        missing(f"needs namespaces: {refused}")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All fast rows, by id. Most of them wait for nothing but each other: more at a time than there are cores."""
    out = tmp_path_factory.mktemp("survey") / "out.json"
    command = [sys.executable, "-c", "from shim.cli import main; main()", "survey", "--fast", "--jobs", "4"]
    done = subprocess.run(
        [*command, "--format", "json", "--output", str(out)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert done.stderr.count("\n") == len(rows), "a line each"
    return {each["id"]: each for each in rows}


@pytest.mark.timeout(360)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_program_does_what_is_known_of_it(client: str, found: dict[str, dict[str, Any]]) -> None:
    rows = [row for row in ROWS.values() if row.client == client and row.fast]
    for name in {name for row in rows for name in (row.program, *row.needs)}:
        require_program(name)
    seen = {row.id: (found[row.id]["verdict"], found[row.id]["sent"]) for row in rows}
    assert seen == {row.id: EXPECTED[row.id] for row in rows}
    assert all(found[row.id]["remedy"] for row in rows if found[row.id]["verdict"] == "leak")


def test_every_fast_row_is_expected() -> None:
    assert EXPECTED.keys() == {row.id for row in ROWS.values() if row.fast}


@pytest.mark.timeout(360)
def test_the_remedy_is_that_of_the_program(found: dict[str, dict[str, Any]]) -> None:
    known = {"curl-socks5": "curl.socks5", "wget-all-proxy": "wget.dns", "proxychains-no-dns": "proxychains"}
    known |= {"privoxy-socks4": "privoxy.dns", "ssh-env": "ssh.dns", "node-fetch": "node.dns", "apt-none": "apt.dns"}
    there = {id: advice for id, advice in known.items() if found[id]["verdict"] != "not_installed"}
    assert {id: found[id]["advice"] for id in there} == {id: f"advice.for.{there[id]}" for id in there}


def test_what_was_broken_off_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_program("nc.openbsd")
    kept, out = tmp_path / "kept.json", tmp_path / "out.json"
    words = ["survey", "--client", "nc (openbsd)", "--format", "json", "--output", str(out), "--resume", str(kept)]
    assert start(words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1].split()[0]) == (4, "4/4")
    survey = json.loads(kept.read_text())
    assert survey == json.loads(out.read_text())
    survey["rows"] = [{**each, "version": "kept"} for each in survey["rows"][:-1]]
    survey["date"] = "2013-03-13"
    kept.write_text(json.dumps(survey))
    before = tmp_path / "before.json"
    shutil.move(out, before)
    assert start([*words, "--since", str(before)]) == 1
    err = capsys.readouterr().err
    assert err.count("Version was") == 3, "only the missing row was run again"
    assert {json.loads(file.read_text())["date"] for file in (kept, out)} == {"2013-03-13"}, "when it was begun"
    assert [each["id"] for each in json.loads(kept.read_text())["rows"]] == [each["id"] for each in survey["rows"]] + [
        "nc-none"
    ]


def test_rows_that_end_badly_are_told(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    row = '[[row]]\nid = "{}"\nclient = "mine"\nprogram = "{}"\nsetting = "a"\ncommand = ["sh", "-c", "{}"]\n'
    needs = '[environment.tools]\npip = ["nothing"]\n'
    none = row.format("bare", "sh", "true") + 'environment = "tools"\n'
    rows = (
        row.format("x", "sh", "exit 3"),
        row.format("late", "sh", "sleep 60") + "timeout = 1\n",
        row.format("none", "no-such-one", "x"),
    )
    mine.write_text(needs + "".join(rows) + none)
    out = tmp_path / "out.json"
    words = ["survey", "--catalogue", str(mine), "--client", "mine", "--format", "json", "--output", str(out)]
    assert start(words) == 3
    found = {each["id"]: (each["verdict"], each["reason"]) for each in json.loads(out.read_text())["rows"]}
    assert found == {
        "x": ("inconclusive", "no_request"),
        "late": ("inconclusive", "no_request"),
        "none": ("not_installed", "no-such-one"),
        "bare": ("not_installed", "tools"),
    }
