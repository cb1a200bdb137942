"""`shim survey`: the catalogue, the rows that run fast for real, keeping and comparing results, and every form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rig.programs import require_namespaces, require_program

from shim.cli import start
from shim.lab.preparing import PLACES
from shim.lab.survey import table
from shim.lab.survey.catalogue import CatalogueError, built_in, load, parse
from shim.lab.survey.running import summary
from shim.locale import LANGUAGES, catalogue

ABOUT = {"date": "2026-11-23", "system": "Debian", "program_version": "0.1.0", "lang": "en"}
LEAK = {"kind": "address_only", "protocol": "socks5", "count": 1, "advice": "use socks5h://"}
QUERY = {"kind": "dns_query", "protocol": "dns", "count": 2, "advice": "ask nobody"}
DIRECT = {"kind": "direct_traffic", "protocol": "tcp", "count": 3, "advice": None}
GOOD = '[[row]]\nid = "x"\nclient = "X <b>"\nprogram = "sh"\nsetting = "a | b"\ncommand = ["sh", "-c", "exit 3"]\n'


def report(verdict: str, *leaks: dict[str, Any], requests: int = 1) -> dict[str, Any]:
    return {"verdict": verdict, "leaks": list(leaks), "requests": requests, "reason": None}


def row(id: str, **other: Any) -> dict[str, Any]:
    found = summary(report("no_leak_observed"))
    return {"id": id, "client": "curl", "setting": id, "version": "8.1", **found, **other}


def test_the_built_in_rows_can_be_filled_in() -> None:
    rows = built_in()
    assert {"curl", "git", "Python", "Node.js", "Java", "torsocks", "proxychains4", "Chromium", "Firefox"} <= {
        each.client for each in rows.values()
    }
    known = {*PLACES, "url", "home"}
    for each in rows.values():
        text = " ".join((*each.command, *(text for name, text in each.files if name.endswith(("conf", "user.js")))))
        assert {word.split("}")[0] for word in text.split("{")[1:] if "}" in word} - known <= {
            "signal: AbortSignal.timeout(5000)"
        }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = [", "is not TOML"),
        ("x = 1", "[[row]]"),
        (GOOD + GOOD, "'x' stands there twice"),
        (GOOD + "colour = 1\n", "row 1: colour: is no key"),
        (GOOD.replace('"sh"\n', "3\n"), "row 1: program: must be a text"),
        (GOOD + 'files = {"../x" = "y"}\n', "row 1: files: must stay below"),
        (GOOD + "timeout = true_\n", "is not TOML"),
        (GOOD + 'timeout = "3"\n', "row 1: timeout: must be a number"),
        (GOOD + "version = [1]\n", "row 1: version: must be a list of texts"),
    ],
)
def test_a_bad_catalogue_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(CatalogueError, match=r"mine\.toml") as caught:
        parse(text, "mine.toml")
    assert told in str(caught.value)


def test_a_users_row_replaces_ours(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(GOOD.replace('id = "x"', 'id = "curl-socks4"'))
    rows = load(mine)
    assert (rows["curl-socks4"].client, len(rows)) == ("X <b>", len(built_in()))


@pytest.mark.parametrize(
    ("found", "sent", "dns", "direct", "remedy"),
    [
        (report("leak", QUERY, LEAK), "address", 2, [], "use socks5h://"),
        (report("leak", QUERY), "name", 2, [], "ask nobody"),
        (report("leak", DIRECT, requests=0), "nothing", 0, ["tcp"], ""),
        (report("no_leak_observed"), "name", 0, [], ""),
        (None, "", 0, [], ""),
    ],
)
def test_a_report_becomes_a_row(
    found: dict[str, Any] | None, sent: str, dns: int, direct: list[str], remedy: str
) -> None:
    row = summary(found)
    assert (row["sent"], row["dns"], row["direct"], row["remedy"]) == (sent, dns, direct, remedy)
    assert row["verdict"] == (found["verdict"] if found else "inconclusive")


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("format", table.FORMATS)
def test_every_form_shows_every_row(format: str, lang: str) -> None:
    rows = [
        row("one", client="<script>", remedy="a | b"),
        row("two", **summary(report("leak", LEAK, QUERY, DIRECT))),
        row("three", **summary(None)),
        row("four", verdict="not_installed", sent=""),
    ]
    text = table.render(format, rows, ABOUT, catalogue(lang))
    for word in ("one", "two", "three", "four", "2026-11-23"):
        assert word in text
    if format != "json":
        assert catalogue(lang).text("survey.verdict.not_installed") in text
    if format == "html":
        assert "<script" not in text.replace("&lt;script", "")
        assert "http://" not in text and "https://" not in text and "src=" not in text
        assert f'lang="{lang}"' in text
    if format == "md":
        assert "a \\| b" in text


def test_what_has_changed_is_told() -> None:
    texts = catalogue("en")
    before = [row("same"), row("other", version="8.0")]
    after = [row("same"), row("other", verdict="leak"), row("new")]
    told = table.changes(before, after, texts)
    assert told == [
        "curl, other: Version was 8.0, is 8.1",
        "curl, other: Verdict was ✓ no leak observed, is ✗ leak",
        "curl, new: new, no leak observed",
    ]


def test_curl_for_real(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_namespaces()
    require_program("curl")
    kept, out = tmp_path / "kept.json", tmp_path / "out.json"
    words = ["survey", "--client", "curl", "--format", "json", "--output", str(out), "--resume", str(kept)]
    assert start(words) == 1
    verdicts = {each["id"]: (each["verdict"], each["sent"]) for each in json.loads(out.read_text())["rows"]}
    assert verdicts == {
        "curl-socks4": ("leak", "address"),
        "curl-socks4a": ("no_leak_observed", "name"),
        "curl-socks5": ("leak", "address"),
        "curl-socks5-hostname": ("no_leak_observed", "name"),
        "curl-env": ("no_leak_observed", "name"),
        "curl-http": ("no_leak_observed", "name"),
        "curl-none": ("leak", "nothing"),
    }
    assert capsys.readouterr().err.count("\n") == len(verdicts)
    found = json.loads(kept.read_text())
    found["rows"] = [{**each, "version": "kept"} for each in found["rows"][:-1]]
    found["date"] = "2013-03-13"
    kept.write_text(json.dumps(found))
    assert start([*words, "--since", str(out)]) == 1
    err = capsys.readouterr().err
    assert err.count("Version was") == len(verdicts) - 1, "only the missing row was run again"
    assert {json.loads(file.read_text())["date"] for file in (kept, out)} == {"2013-03-13"}, "when it was begun"


def test_rows_that_end_badly_are_told(tmp_path: Path) -> None:
    require_namespaces()
    mine = tmp_path / "mine.toml"
    late = GOOD.replace('"x"', '"late"').replace("exit 3", "sleep 60") + "timeout = 1\n"
    none = GOOD.replace('"x"', '"none"').replace('program = "sh"', 'program = "no-such-program"')
    mine.write_text(GOOD + late + none)
    out = tmp_path / "out.json"
    words = ["survey", "--catalogue", str(mine), "--client", "X <b>", "--format", "json", "--output", str(out)]
    assert start(words) == 3
    found = {each["id"]: each["verdict"] for each in json.loads(out.read_text())["rows"]}
    assert found == {"x": "inconclusive", "late": "inconclusive", "none": "not_installed"}


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    assert start(["survey", "--client", "nobody"]) == 2
    assert start(["survey", "--since", str(bad)]) == 2
    assert start(["survey", "--since", str(tmp_path / "none")]) == 2
    assert start(["survey", "--catalogue", str(bad)]) == 2
    assert "nobody" in capsys.readouterr().err
