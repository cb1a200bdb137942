"""Edits of settings files: what changes, what stays, and what is left to its owner."""

from __future__ import annotations

import configparser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shim.address import Address
from shim.setup.edits import NotEditable
from shim.setup.programs import PROGRAMS, recipe

SOCKS = Address.parse("127.0.0.1:9250")
URL = "socks5h://127.0.0.1:9250"
CURL, GIT, NPM = f'proxy = "{URL}"\n', f"\tproxy = {URL}\n", f"proxy={URL}\nhttps-proxy={URL}\n"
PIP = f"proxy = {URL}\n"
CHAINS = "strict_chain\nproxy_dns\n"
LIST = "[ProxyList]\nsocks5 127.0.0.1 9250\n"
EDITABLE = [program for program in PROGRAMS if recipe(program, SOCKS).edits]


def edited(program: str, text: str, socks: Address = SOCKS) -> str:
    edits = recipe(program, socks).edits
    assert edits
    return edits.apply(text)


TABLE = [
    ("curl", "", CURL),
    ("curl", "silent", "silent\n" + CURL),
    ("curl", "# proxy = x\nuser = a:b\n", "# proxy = x\nuser = a:b\n" + CURL),
    ("curl", "proxy = socks5://127.0.0.1:9250\nsilent\n", CURL + "silent\n"),
    ("curl", "-x http://h:1\n--socks4=h:2\n", CURL + "# --socks4=h:2\n"),
    ("curl", f"socks5 h:1\n{CURL}", f"# socks5 h:1\n{CURL}"),
    ("curl", "  socks5-hostname h:1\r\nsilent\r\n", f"  {CURL[:-1]}\r\nsilent\r\n"),
    ("curl", "noproxy = a\nproxytunnel\nproxy-header = a\npreproxy = x\n", None),
    ("git", "", "[http]\n" + GIT),
    ("git", "[user]\n\tname = A\n", "[user]\n\tname = A\n[http]\n" + GIT),
    ("git", "[http]\n\tsslVerify = true\n[core]\n", f"[http]\n{GIT}\tsslVerify = true\n[core]\n"),
    ("git", "[HTTP] ; mine\n\tPROXY = http://h\n", f"[HTTP] ; mine\n{GIT}"),
    ("git", '[http "https://a/"]\n\tproxy = x\n', f'[http "https://a/"]\n\tproxy = x\n[http]\n{GIT}'),
    ("git", "[http]\r\n    proxy = x\r\n", f"[http]\r\n    proxy = {URL}\r\n"),
    ("git", f"[http]\n\tproxy = x\n[http]\n\tproxyAuthMethod = basic\n{GIT}", None),
    ("pip", "", "[global]\n" + PIP),
    ("pip", "[install]\nproxy = x\n", f"[install]\nproxy = x\n[global]\n{PIP}"),
    ("pip", "[global]\ntimeout = 3\nProxy: socks5://h:1\n", f"[global]\ntimeout = 3\n{PIP}"),
    ("pip", "[global]\nfind-links =\n    a\n    b\n", f"[global]\n{PIP}find-links =\n    a\n    b\n"),
    ("npm", "", NPM),
    ("npm", "//r/:_authToken=s\nproxy = null\n", f"//r/:_authToken=s\n{NPM}"),
    ("npm", "https-proxy=http://h:1\nnoproxy=a\n", f"https-proxy={URL}\nnoproxy=a\nproxy={URL}\n"),
    ("proxychains4", "", CHAINS + LIST),
    ("proxychains4", f"{CHAINS}{LIST}", f"{CHAINS}{LIST}"),
    ("proxychains4", "[ProxyList]\nsocks4 127.0.0.1 9050\n", f"{CHAINS}{LIST}"),
    (
        "proxychains4",
        "random_chain\nquiet_mode\n#proxy_dns\nproxy_dns_old\n[ProxyList]\n# tor\nhttp h 1\nsocks4 h 2\n",
        "strict_chain\nquiet_mode\n#proxy_dns\nproxy_dns\n[ProxyList]\n# tor\nsocks5 127.0.0.1 9250\n# socks4 h 2\n",
    ),
    ("torsocks", "", "TorAddress 127.0.0.1\nTorPort 9250\n"),
    ("torsocks", "#TorPort 1\nTorPort 9050\n", "#TorPort 1\nTorPort 9250\nTorAddress 127.0.0.1\n"),
]


@pytest.mark.parametrize(("program", "before", "after"), TABLE)
def test_an_edit_changes_what_it_must_and_nothing_else(program: str, before: str, after: str | None) -> None:
    if after is None:
        lines = edited(program, before).splitlines()
        kept = [line for line in before.splitlines() if line.removeprefix("# ") not in ("\tproxy = x",)]
        assert set(kept) <= set(lines)
        assert [line for line in lines if URL in line and line[0] != "#"] == [
            {"curl": CURL, "git": GIT}[program].removesuffix("\n")
        ]
    else:
        assert edited(program, before) == after


@pytest.mark.parametrize(("program", "before"), [(program, before) for program, before, _ in TABLE])
def test_an_edit_made_again_changes_nothing(program: str, before: str) -> None:
    once = edited(program, before)
    assert edited(program, once) == once


@pytest.mark.parametrize(
    ("program", "text", "reason"),
    [
        ("curl", "url = a\nnext\nurl = b\n", "parts"),
        ("curl", "-:\n", "parts"),
        ("git", "[http] proxy = x\n", "header"),
        ("git", "[http]\n\tproxy = x\\\ny\n", "continued"),
        ("pip", "[global]\nproxy =\n    http://h:1\n", "continued"),
        ("pip", "[global]\n  proxy = x\n\n  # more\n    http://h:1\n", "continued"),
        ("npm", "[a]\nb=c\n", "parts"),
        ("firefox", "/* all that follows\n", "comment"),
    ],
)
def test_what_cannot_be_edited_safely_is_refused(program: str, text: str, reason: str) -> None:
    with pytest.raises(NotEditable) as caught:
        edited(program, text)
    assert caught.value.reason == f"setup.not_editable.{reason}"


@pytest.mark.parametrize("program", ["firefox", "thunderbird"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_block_of_user_js_is_last_and_there_once(program: str, newline: str) -> None:
    mine = newline.join(['user_pref("network.proxy.type", 5);', "/* a */", 'user_pref("a.b", "ü");', ""])
    once = edited(program, mine)
    assert once.startswith(mine)
    assert once.count("// shim setup: begin") == 1
    later = once + f'user_pref("network.proxy.type", 0);{newline}'
    other = edited(program, later, Address.parse("[::1]:9999"))
    assert other.startswith(f'{mine}user_pref("network.proxy.type", 0);{newline}// shim setup: begin')
    assert (other.count("// shim setup: begin"), "9250" in other) == (1, False)
    assert 'user_pref("network.proxy.socks", "::1");' in other
    assert edited(program, other, Address.parse("[::1]:9999")) == other
    assert ("\r" in other) == (newline == "\r\n")


def test_pip_reads_what_was_written() -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(edited("pip", "[global]\ntimeout = 3\nproxy = x\n[install]\nuser = yes\n"))
    assert dict(parser["global"]) == {"timeout": "3", "proxy": URL}


@pytest.mark.parametrize("blank", ["\r", "\f", "\u3000"])
def test_pip_reads_one_section_whatever_blanks_stand_before_its_name(blank: str) -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(edited("pip", f"{blank}[global]\ntimeout = 3\n"))
    assert dict(parser["global"]) == {"timeout": "3", "proxy": URL}


@pytest.mark.parametrize("before", ["[global]\n\n  # mine\n  timeout = 3\n", "[global]\n  proxy = x\n  timeout = 3\n"])
def test_pip_reads_what_was_written_among_indented_lines(before: str) -> None:
    """Ours took what followed for its own continuation, and both settings were lost."""
    parser = configparser.RawConfigParser()
    after = edited("pip", before)
    parser.read_string(after)
    assert dict(parser["global"]) == {"timeout": "3", "proxy": URL}
    assert edited("pip", after) == after


LINES = st.lists(
    st.one_of(
        st.sampled_from(["", "proxy = x", "[http]", "[global]", "# proxy", "TorPort 1", "[ProxyList]", "socks5 a 1"]),
        st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=12),
    ),
    max_size=8,
)


@pytest.mark.parametrize("program", EDITABLE)
@given(lines=LINES, newline=st.sampled_from(["\n", "\r\n"]))
@example(lines=["\r"], newline="\n")
def test_whatever_stands_there_stays_or_becomes_a_comment(program: str, lines: list[str], newline: str) -> None:
    before = newline.join(lines)
    try:
        after = edited(program, before)
    except NotEditable:
        return
    assert edited(program, after) == after
    left = [line.rstrip("\r") for line in after.split("\n")]
    lost = [line for line in (each.rstrip("\r") for each in before.split("\n")) if line and line not in left]
    replaced = [line for line in lost if f"# {line}" not in left]
    assert len(replaced) <= 3, "one line for each setting at most"
