"""`shim doctor` in namespaces: which resolver is asked, whether it is the sensor, and what it tells whom."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.namespace import Namespace
from rig.programs import missing, require_namespaces, require_program
from rig.shim import Shim, program, run
from rig.upstream import Upstream
from test_offline import IN_TESTS, sniffing

from shim.doctor.question import TYPE_A, question, read_reply

DNSMASQ = ("--no-daemon", "--no-hosts", "--no-resolv", "--conf-file=/dev/null", "--pid-file=", "--bind-interfaces")


class Place:
    """A namespace to ask the doctor in."""

    def __init__(self, space: Namespace) -> None:
        self.space = space

    def doctor(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit status and report."""
        done = self.space.run([*program(), "doctor", "--format", "json", *words], timeout_s=60)
        assert done.stderr == "", done.stderr
        return done.returncode, json.loads(done.stdout)

    def codes(self, *words: str) -> tuple[int, dict[str, str]]:
        """Exit status, and what was remarked."""
        status, report = self.doctor(*words)
        assert {"ok": 0, "leak": 1, "unknown": 3}[report["status"]] == status
        # What programs of this very machine are set to is told as well, and no matter of these tests.
        remarks = [remark for remark in report["remarks"] if not remark["code"].startswith(("program_", "tor_"))]
        return status, {remark["code"]: remark["status"] for remark in remarks}


@contextmanager
def place(folder: Path, resolver: str = "127.0.0.1") -> Iterator[Place]:
    require_namespaces()
    with Namespace(folder, {}, resolver=resolver) as space:
        yield Place(space)


@contextmanager
def sensing(where: Place, upstream: Upstream, mode: str, address: str = "127.0.0.1:53") -> Iterator[Shim]:
    with Shim("--dns", address, "--dns-mode", mode, upstream=upstream.unix, prefix=where.space.prefix) as shim:
        yield shim


def test_the_sensor_alone_is_clean(upstream: Upstream, tmp_path: Path) -> None:
    with place(tmp_path) as here, sensing(here, upstream, "refuse") as shim:
        assert here.codes("--dns", "127.0.0.1:53") == (0, {"server_is_sensor": "ok", "sensor_answers": "ok"})
        shim.stop()
        assert not shim.find("leak_found"), "the doctor's own question names nothing"


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [
        ("issue", 0, ("canary_reached", "ok")),
        ("refuse", 3, ("canary_needs_issue", "unknown")),
        ("tor", 3, ("canary_needs_issue", "unknown")),
    ],
)
def test_a_canary(mode: str, status: int, code: tuple[str, str], upstream: Upstream, tmp_path: Path) -> None:
    with place(tmp_path) as here, sensing(here, upstream, mode) as shim:
        found, codes = here.codes("--dns", "127.0.0.1:53", "--canary", "zone.example")
        assert (found, codes) == (status, {"server_is_sensor": "ok", "sensor_answers": "ok", code[0]: code[1]})
        shim.stop()  # all that it has seen is in its log
        names = {line["qname"] for line in shim.find("dns_query")} - {"."}
        assert len(names) == 1 and names.pop().endswith(".zone.example")


class Anything(dict[str, str]):
    """A zone in which every name exists."""

    def get(self, _name: str, _default: object = None) -> str:  # type: ignore[override]
        return "93.184.216.34"


def test_an_address_that_tor_found_proves_nothing(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any resolver could have said the same."""
    monkeypatch.setattr("rig.upstream.RESOLVED", Anything())
    with place(tmp_path) as here, sensing(here, upstream, "tor"):
        status, codes = here.codes("--dns", "127.0.0.1:53", "--canary", "zone.example")
        assert (status, codes["canary_needs_issue"]) == (3, "unknown")


def test_a_canary_is_never_the_same(upstream: Upstream, tmp_path: Path) -> None:
    with place(tmp_path) as here, sensing(here, upstream, "issue"):
        names = set()
        for _ in range(2):
            _, report = here.doctor("--dns", "127.0.0.1:53", "--canary")
            names |= {remark["about"]["name"] for remark in report["remarks"] if remark["code"] == "canary_reached"}
    assert len(names) == 2 and all(name.endswith(".example.com") for name in names)


@pytest.mark.parametrize("answer", ["--address=/#/192.0.2.7", "--address=/example.com/"], ids=["address", "nxdomain"])
def test_another_resolver_is_found_out(answer: str, upstream: Upstream, tmp_path: Path) -> None:
    """The settings name a server of this machine, which asks somebody else: only a canary can tell."""
    with (
        place(tmp_path, "127.0.0.2") as here,
        sensing(here, upstream, "issue"),
        dnsmasq(here, "--listen-address=127.0.0.2", answer),
    ):
        assert here.codes("--dns", "127.0.0.1:53")[1]["server_local"] == "unknown"
        status, codes = here.codes("--dns", "127.0.0.1:53", "--canary")
        assert (status, codes["canary_elsewhere"]) == (1, "leak")


def test_a_forwarder_to_the_sensor_is_settled_by_a_canary(upstream: Upstream, tmp_path: Path) -> None:
    """dnsmasq in front of the sensor at a high port: the settings cannot tell, the canary can."""
    with (
        place(tmp_path) as here,
        sensing(here, upstream, "issue", "127.0.0.1:5453"),
        dnsmasq(here, "--server=127.0.0.1#5453", "--cache-size=0", "--listen-address=127.0.0.1"),
    ):
        assert here.codes("--dns", "127.0.0.1:5453") == (3, {"server_other_port": "unknown", "sensor_answers": "ok"})
        assert here.codes("--dns", "127.0.0.1:5453", "--canary") == (
            0,
            {"server_other_port": "note", "sensor_answers": "ok", "canary_reached": "ok"},
        )


def test_a_redirect_of_port_53_as_the_documentation_has_it(upstream: Upstream, tmp_path: Path) -> None:
    require_program("nft")
    with place(tmp_path) as here, sensing(here, upstream, "issue", "127.0.0.1:5453"):
        rules = rules_of(Path(__file__).parents[1] / "docs" / "dns.md")
        done = here.space.run(["sh", "-c", f"nft -f - <<'end'\n{rules}\nend"])
        assert done.returncode == 0, done.stderr
        status, codes = here.codes("--dns", "127.0.0.1:5453", "--canary")
        assert (status, codes["canary_reached"]) == (0, "ok")


def rules_of(page: Path) -> str:
    """The first nftables listing of the page."""
    return page.read_text(encoding="utf-8").partition("```nft\n")[2].partition("```")[0]


def test_somebody_elses_server_where_the_sensor_should_be(tmp_path: Path) -> None:
    """An ordinary resolver knows the servers of the root."""
    root = "--dns-rr=.,2,0161016200"
    with place(tmp_path) as here, dnsmasq(here, "--listen-address=127.0.0.1", root):
        status, codes = here.codes("--dns", "127.0.0.1:53")
        assert (status, codes["sensor_is_another"]) == (1, "leak")


def test_no_sensor(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        assert here.codes("--dns", "127.0.0.1:53") == (3, {"server_is_sensor": "ok", "sensor_silent": "unknown"})


def test_a_public_server_leaks_whatever_else(upstream: Upstream, tmp_path: Path) -> None:
    with place(tmp_path, "9.9.9.9") as here, sensing(here, upstream, "issue"):
        status, codes = here.codes("--dns", "127.0.0.1:53")
        assert (status, codes["server_public"]) == (1, "leak")


def test_nobody_is_asked_without_being_told_to(tmp_path: Path) -> None:
    """Everything that is not loopback is routed to `lo`, where any packet is seen. Only Tor is greeted, on loopback."""
    with place(tmp_path, "9.9.9.9") as here:
        assert here.space.run(["ip", "-4", "route", "add", "default", "dev", "lo"]).returncode == 0
        with sniffing(here.space) as packets:
            assert here.codes() == (1, {"server_public": "leak", "sensor_not_given": "note"})
        asked = {tuple(line.split()[3:5]) for line in packets if not {"9050", "9150"} & {line.split()[2]}}
        assert asked <= {("127.0.0.1", "9050"), ("127.0.0.1", "9150")}
        with sniffing(here.space) as packets:
            here.codes("--dns", "127.0.0.1:53")
        assert packets and {line.split()[3] for line in packets} == {"127.0.0.1"}
        with sniffing(here.space) as packets:
            here.codes("--dns", "127.0.0.1:53", "--canary")
        assert "9.9.9.9" in {line.split()[3] for line in packets}, "that is what --canary is for"


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("words", [("doctor",), ("check", "true")], ids=["doctor", "check"])
def test_the_setting_that_forbids_namespaces_is_named(words: tuple[str, ...], lang: str) -> None:
    """In a user namespace where no other may be made."""
    require_namespaces()
    forbid = 'for kind in user net; do echo 0 > /proc/sys/user/max_${kind}_namespaces || exit 77; done; exec "$0" "$@"'
    argv = ["unshare", "-r", "sh", "-c", forbid, *program(), words[0], "--lang", lang, *words[1:]]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 77:
        missing("needs to write to /proc/sys/user")
    assert "user.max_user_namespaces" in done.stdout, done.stderr


def test_wrong_usage_ends_with_2() -> None:
    for words in (("--canary",), ("--dns", "unix:/x"), ("--dns", "127.0.0.1:53", "--canary", "-"), ("--what",)):
        assert run("doctor", *words).returncode == 2, words


def test_in_japanese() -> None:
    done = run("doctor", "--lang", "ja")
    assert done.returncode in (0, 1, 3)
    assert any("\u3040" < letter < "\u30ff" for letter in done.stdout)


@contextmanager
def dnsmasq(where: Place, *options: str) -> Iterator[None]:
    """dnsmasq in the namespace, once it answers."""
    address = next(option for option in options if option.startswith("--listen-address=")).partition("=")[2]
    ask = f"from rig.asking import ask, wire; ask(('{address}', 53), wire('ready.example'))"
    with where.space.running([require_program("dnsmasq"), *DNSMASQ, *options]):
        for _ in range(50):
            if where.space.run([sys.executable, "-c", ask], IN_TESTS).returncode == 0:
                break
        else:
            raise AssertionError("dnsmasq does not answer")
        yield


class TestReplies:
    """What is read of a reply that anybody may have sent."""

    ASKED = question(0x1234, "a.example", TYPE_A)

    def test_addresses_with_their_ttl(self) -> None:
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x01\0\4" + socket.inet_aton("198.18.0.1")
        named = b"\1a\7example\0\0\5\0\1\0\0\0\x01\0\2\xc0\x0c"
        reply = read_reply(self.ASKED, b"\x12\x34\x81\x80\0\1\0\2\0\0\0\0" + self.ASKED[12:] + named + record)
        assert reply is not None
        assert [(str(address), ttl) for address, ttl in reply.addresses] == [("198.18.0.1", 1)]
        assert (reply.rcode, reply.answers) == (0, 2)

    @pytest.mark.parametrize(
        "wire",
        [
            b"",
            b"\x12\x34",
            b"\x12\x35\x81\x80\0\1\0\0\0\0\0\0" + ASKED[12:],
            b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0" + ASKED[12:],
            b"\x12\x34\x81\x80\0\1\0\0\0\0\0\0" + ASKED[12:].replace(b"a", b"b"),
            b"\x12\x34\x81\x80\0\1\0\1\0\0\0\0" + ASKED[12:],
            b"\x12\x34\x81\x80\0\2\0\0\0\0\0\0" + ASKED[12:] * 2,
        ],
    )
    def test_what_is_no_reply_to_this(self, wire: bytes) -> None:
        assert read_reply(self.ASKED, wire) is None

    @given(tail=st.binary(max_size=200), count=st.integers(0, 65535))
    def test_any_bytes(self, tail: bytes, count: int) -> None:
        head = b"\x12\x34\x81\x80\0\1" + count.to_bytes(2, "big") + b"\0\0\0\0"
        read_reply(self.ASKED, head + self.ASKED[12:] + tail)
        read_reply(self.ASKED, tail)
