"""`shim survey`: the catalogue, what rows need, keeping and comparing results, and every form. Nothing is surveyed."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rig.programs import require_program

from shim.cli import start
from shim.lab.preparing import PLACES
from shim.lab.survey import environments, keeping, table
from shim.lab.survey.catalogue import KINDS, CatalogueError, built_in, load, parse
from shim.lab.survey.environments import Environment, Environments, cache
from shim.lab.survey.keeping import Kept
from shim.lab.survey.running import PLACES as OURS
from shim.lab.survey.running import summary
from shim.locale import LANGUAGES, catalogue

DOCS = Path(__file__).parents[1] / "docs"
ABOUT = {"date": "2026-11-23", "system": "Debian", "program_version": "0.1.0"}
LEAK = {"kind": "address_only", "protocol": "socks5", "count": 1, "packet": None, "advice_id": "advice.for.curl.socks5"}
QUERY = {"kind": "dns_query", "protocol": "dns", "count": 2, "packet": None, "advice_id": "advice.dns_query"}
DIRECT = {"kind": "direct_traffic", "protocol": "tcp", "count": 3, "packet": "tcp", "advice_id": "check.advice.tcp"}
FOREIGN = {"kind": "not_socks", "protocol": "http", "count": 1, "packet": None, "advice_id": "advice.not_socks.http"}
GOOD = '[[row]]\nid = "x"\nclient = "X <b>"\nprogram = "sh"\nsetting = "a | b"\ncommand = ["sh", "-c", "exit 3"]\n'
CLIENT = """
[environment.tools]
pip = ["requests"]
[[client]]
name = "Y"
kind = "language"
program = "sh"
environment = "tools"
command = ["sh", "{options}", "{url}"]
[client.files]
"conf" = "a {settings} b"
[[client.row]]
id = "one"
setting = "1"
options = ["-c", "true"]
settings = "between"
[[client.row]]
id = "two"
setting = "2"
setting_ja = "二"
fast = true
options = []
"""


def report(verdict: str, *leaks: dict[str, Any], requests: int = 1, notes: tuple[dict[str, Any], ...] = ()) -> Any:
    canaries = [{"role": "stun", "leaked": verdict == "leak"}, {"role": "page", "leaked": False}]
    found = {"verdict": verdict, "leaks": list(leaks), "notes": list(notes), "requests": requests, "reason": None}
    return {**found, "canaries": canaries}


def row(id: str, **other: Any) -> dict[str, Any]:
    about = {"id": id, "client": "curl", "kind": "command_line", "setting": {"en": id, "ja": id}, "version": "8.1"}
    return {**about, **summary(report("no_leak_observed")), **other}


class TestTheCatalogue:
    def test_ours_can_be_filled_in(self) -> None:
        rows = built_in()
        known = {*PLACES, *OURS, "home", "environment", "canary_url", "canary_https_url", "ca_file", "ca_pin"}
        for each in rows.values():
            text = " ".join((*each.command, *(text for _, text in each.files)))
            held = {word.split("}")[0] for word in text.split("{")[1:] if "}" in word}
            assert {word for word in held if word.replace("_", "").isalpha()} - known <= PUNCTUATED, each.id
            assert ("environment" in held) <= (each.environment is not None), each.id
            assert not (each.fast and each.environment), f"{each.id}: what a package index is needed for is not fast"

    def test_ours_has_all_that_was_asked_for(self) -> None:
        assert {each.client.lower() for each in built_in().values()} >= {
            *("curl", "wget", "git", "ssh", "nc (openbsd)", "socat", "apt", "pip", "requests", "urllib3", "httpx"),
            *("aiohttp-socks", "python-socks", "pysocks", "socks-proxy-agent", "undici", "java", "go", "privoxy"),
            *("proxychains4", "torsocks", "lynx", "links", "w3m", "elinks", "chromium", "firefox", "qutebrowser"),
        }

    def test_it_is_in_the_order_of_kinds(self) -> None:
        kinds = [each.kind for each in load(None).values()]
        assert kinds == sorted(kinds, key=KINDS.index)

    def test_rows_share_what_their_client_has(self) -> None:
        one, two = parse(CLIENT, "mine.toml").values()
        assert (one.client, one.kind, one.environment) == ("Y", "language", Environment("tools", "pip", ("requests",)))
        assert (one.command, two.command) == (("sh", "-c", "true", "{url}"), ("sh", "{url}"))
        assert (one.files, two.files) == ((("conf", "a between b"),), (("conf", "a  b"),))
        assert (one.fast, two.fast, two.settings) == (False, True, {"en": "2", "ja": "二"})

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("x = [", "is not TOML"),
            ("x = 1", "[[row]]"),
            ("row = 1", "row: must be [[row]] tables"),
            (GOOD + GOOD, "'x' stands there twice"),
            (GOOD + "colour = 1\n", "row 1: colour: is no key"),
            (GOOD.replace('"sh"\n', "3\n"), "row 1: program: must be a text"),
            (GOOD + 'files = {"../x" = "y"}\n', "row 1: files: must stay below"),
            (GOOD + 'files = {"x" = 1}\n', "row 1: files: must be a table of texts"),
            (GOOD + "timeout = true_\n", "is not TOML"),
            (GOOD + 'timeout = "3"\n', "row 1: timeout: must be a number"),
            (GOOD + "timeout = true\n", "row 1: timeout: must be a number"),
            (GOOD + "version = [1]\n", "row 1: version: must be a list of texts"),
            (GOOD + 'kind = "odd"\n', "row 1: kind: must be one of browser"),
            (GOOD + 'environment = "none"\n', "row 1: environment: there is no [environment.none]"),
            ('[environment.x]\nruby = ["y"]\n', "environment x: must have one of pip"),
            ("[environment.x]\npip = 1\n", "environment x: pip: must be a text or a list"),
            ('[environment."../x"]\npip = []\n', "must have one of pip"),
        ],
    )
    def test_a_mistake_is_told_with_its_place(self, text: str, told: str) -> None:
        with pytest.raises(CatalogueError, match=r"mine\.toml") as caught:
            parse(text, "mine.toml")
        assert told in str(caught.value)

    def test_a_users_row_replaces_ours(self, tmp_path: Path) -> None:
        mine = tmp_path / "mine.toml"
        mine.write_text(GOOD.replace('id = "x"', 'id = "curl-socks4"'))
        rows = load(mine)
        assert (rows["curl-socks4"].client, len(rows)) == ("X <b>", len(built_in()))


PUNCTUATED = {"timeout", "agent", "dispatcher", "fetch", "socksDispatcher", "SocksProxyAgent"}
"""Words in braces of JavaScript, not places."""


class TestWhatRowsNeed:
    def test_it_is_kept_in_the_cache_of_the_user(self) -> None:
        assert cache({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/leakshim/survey")
        assert (
            cache({"XDG_CACHE_HOME": "c", "HOME": "/h"}) == cache({"HOME": "/h"}) == Path("/h/.cache/leakshim/survey")
        )

    def test_another_recipe_is_another_folder(self) -> None:
        same, other = Environment("x", "npm", ("a",)), Environment("x", "npm", ("b",))
        assert same.folder == Environment("x", "npm", ("a",)).folder != other.folder

    @pytest.mark.parametrize("kind", environments.FETCHED)
    def test_nothing_is_fetched_unasked(self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(subprocess, "run", None)
        wanted = Environment("x", kind, ("requests",))
        assert Environments(tmp_path, fetch=False).ready(wanted) is None
        (tmp_path / wanted.folder).mkdir()
        (tmp_path / wanted.folder / ".done").touch()
        assert Environments(tmp_path, fetch=False).ready(wanted) == tmp_path / wanted.folder, "it is there already"

    def test_a_program_is_built_once(self, tmp_path: Path) -> None:
        require_program("cc")
        made = Environments(tmp_path, fetch=False)
        folder = made.ready(Environment("x", "c", source="int main(void) { return 7; }\n"))
        assert folder is not None
        program = folder / "program"
        assert subprocess.run([program], check=False).returncode == 7
        before = program.stat().st_mtime_ns
        assert made.ready(Environment("x", "c", source="int main(void) { return 7; }\n")) == folder
        assert program.stat().st_mtime_ns == before

    def test_what_cannot_be_made_is_not_tried_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        require_program("cc")
        made = Environments(tmp_path, fetch=False)
        assert made.ready(Environment("x", "c", source="no C")) is None
        assert list(tmp_path.iterdir()) == [], "nothing half made is left"
        monkeypatch.setattr(subprocess, "run", None)
        assert made.ready(Environment("x", "c", source="no C")) is None


@pytest.mark.parametrize(
    ("found", "sent", "dns", "direct", "advice"),
    [
        (report("leak", QUERY, LEAK), "address", 2, [], "advice.for.curl.socks5"),
        (report("leak", QUERY), "name", 2, [], "advice.dns_query"),
        (report("leak", DIRECT, QUERY, requests=0), "nothing", 2, ["tcp"], "check.advice.tcp"),
        (report("no_leak_observed", notes=(LEAK,)), "given_address", 0, [], ""),
        (report("inconclusive", notes=(FOREIGN,), requests=0), "not_socks", 0, [], "advice.not_socks.http"),
        (report("no_leak_observed"), "name", 0, [], ""),
        (None, "", 0, [], ""),
    ],
)
def test_a_report_becomes_a_row(found: Any, sent: str, dns: int, direct: list[str], advice: str) -> None:
    row = summary(found)
    assert (row["sent"], row["dns"], row["direct"], row["advice"]) == (sent, dns, direct, advice)
    assert row["remedy"] == ({lang: catalogue(lang).text(advice) for lang in LANGUAGES} if advice else {})
    assert row["verdict"] == (found["verdict"] if found else "inconclusive")
    assert row["canaries"] == (["stun"] if row["verdict"] == "leak" else [])


ROWS = [
    row("one", client="<script>", remedy={"en": "a | b", "ja": "a | b"}),
    row("two", **summary(report("leak", LEAK, QUERY, DIRECT))),
    row("three", **summary(None)),
    row("four", verdict="not_installed", sent="", reason="ruby"),
]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("format", table.FORMATS)
def test_every_form_shows_every_row(format: str, lang: str) -> None:
    texts = catalogue(lang)
    text = table.render(format, ROWS, ABOUT, texts)
    for word in ("one", "two", "three", "2026-11-23", *([] if format == "html" else ["four", "ruby"])):
        assert word in text
    if format != "json":
        assert all(texts.text(f"survey.verdict.{verdict}") in text for verdict in ("leak", "not_installed"))
        assert text.count(texts.text("advice.for.curl.socks5").replace("'", "&#x27;")) == 1, (
            "a remedy stands there once"
        )
    if format == "html":
        assert "<script" not in text.replace("&lt;script", "")
        assert "http://" not in text and "https://" not in text and "src=" not in text
        assert f'lang="{lang}"' in text
    if format == "md":
        assert "| ✗ | curl | two | 8.1 |" in text


def test_what_was_measured_can_be_read_in_either_language() -> None:
    about, rows = table.read(table.render("json", ROWS, ABOUT, catalogue("en")))
    assert (about, rows) == (ABOUT, ROWS)
    assert table.render("json", ROWS, ABOUT, catalogue("ja")) == table.render("json", ROWS, ABOUT, catalogue("en"))


class TestWhatIsKept:
    def test_rows_have_the_names_of_today(self, tmp_path: Path) -> None:
        file = tmp_path / "kept.json"
        old = row("x", client="old", setting={"en": "old", "ja": "old"}, advice="advice.for.curl.socks5", remedy={})
        file.write_text(table.as_json([old], {**ABOUT, "date": "2013-03-13"}))
        mine = parse(GOOD, "mine.toml")
        kept = Kept(mine, file)
        (now,) = kept.of(mine.values())
        assert (now["client"], now["setting"]["ja"]) == ("X <b>", "a | b")
        assert now["remedy"]["en"] == catalogue("en").text("advice.for.curl.socks5")
        assert (kept.missing(mine.values()), kept.about["date"]) == ([], "2013-03-13")

    def test_rows_of_other_clients_are_not_lost(self, tmp_path: Path) -> None:
        file = tmp_path / "kept.json"
        file.write_text(table.as_json([row("other")], ABOUT))
        kept = Kept(parse(GOOD, "mine.toml"), file)
        kept.add(row("x"))
        assert [result["id"] for result in keeping.read(file)[1]] == ["x", "other"]

    @pytest.mark.parametrize("found", [{"verdict": "not_installed"}, {"verdict": "inconclusive", "reason": "fault"}])
    def test_what_was_not_measured_is_tried_again(self, found: dict[str, str], tmp_path: Path) -> None:
        file = tmp_path / "kept.json"
        file.write_text(table.as_json([row("x", **found)], ABOUT))
        mine = parse(GOOD, "mine.toml")
        assert Kept(mine, file).missing(mine.values()) == list(mine.values())


def test_what_has_changed_is_told() -> None:
    before = [row("same"), row("x", version="8.0"), row("gone")]
    after = [row("same"), row("x", verdict="leak", direct=["stun"]), row("new")]
    assert table.changes(before, after, catalogue("en")) == [
        "curl, x: Verdict was ✓ no leak observed, is ✗ leak; Past the proxy was –, is STUN; Version was 8.0, is 8.1",
        "curl, new: new, no leak observed",
        "curl, gone: not in this survey",
    ]


def test_the_published_pages_are_what_was_measured() -> None:
    """Nothing on them is written by hand."""
    spec = importlib.util.spec_from_file_location("generate_survey", DOCS / "generate_survey.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages = dict(module.pages())
    assert len(pages) == 2 * len(LANGUAGES)
    assert [path for path, text in pages.items() if path.read_text(encoding="utf-8") != text] == [], "run `make docs`"


def test_the_published_survey_is_of_the_rows_of_today() -> None:
    about, results = keeping.read(DOCS / "survey" / "survey.json")
    assert {result["id"] for result in results} <= built_in().keys()
    assert len(results) > 180 and about["system"].startswith("Debian")
    assert {result["verdict"] for result in results} == {"leak", "no_leak_observed", "inconclusive"}, (
        "all of it was there"
    )
    assert [result["id"] for result in results if result["reason"] == "fault"] == []


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    assert start(["survey", "--client", "nobody"]) == 2
    assert start(["survey", "--since", str(bad)]) == 2
    assert start(["survey", "--since", str(tmp_path / "none")]) == 2
    assert start(["survey", "--catalogue", str(bad)]) == 2
    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--output", "--resume"])
def test_what_cannot_be_written_is_known_before_the_first_row(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none" / "table"
    assert start(["survey", "--client", "curl", option, str(file), "--lang", "en"]) == 2
    assert capsys.readouterr().err == f"{file}: cannot be written: no such file or directory\n"


@pytest.mark.parametrize("option", ["--catalogue", "--since"])
def test_what_cannot_be_read_is_named(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["survey", option, str(tmp_path / "none"), "--lang", "ja"]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'none'}: 読み取れません: no such file or directory\n"


HOSTILE = "\x1b]0;x\x07\u202e\nx"


def test_what_somebody_elses_survey_holds_is_shown_and_never_obeyed() -> None:
    texts = catalogue("en")
    row = {"id": HOSTILE, "client": HOSTILE, "kind": "browser", "setting": {"en": HOSTILE}, "version": HOSTILE}
    row |= {"verdict": "leak", "sent": "name", "dns": 1, "direct": [HOSTILE], "canaries": [HOSTILE], "reason": HOSTILE}
    row |= {"advice": HOSTILE, "remedy": {"en": HOSTILE}}
    written = table.as_json([row], {"date": HOSTILE, "system": HOSTILE, "program_version": HOSTILE})
    about, rows = table.read(written)
    shown = [table.render(form, rows, about, texts) for form in ("text", "md", "html")]
    shown += table.changes(rows, [rows[0] | {"version": "2"}], texts)
    for text in shown:
        assert "\\x1b]0;x" in text
        assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("rows", ["{}", "[1]", "[{}]", "null"])
def test_a_survey_without_proper_rows_is_none(rows: str) -> None:
    with pytest.raises(ValueError, match="is no survey"):
        table.read(f'{{"schema": 2, "rows": {rows}}}')
