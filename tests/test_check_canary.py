"""`shim check` with names of its own: which canary leaked, HTTPS in the sandbox, and programs that leak in odd ways.

Everything runs in namespaces of their own: no packet leaves this machine.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from rig.programs import missing, require_program
from test_check import PROXY, check, packets, python, report

from shim.lab.isolation import probe

SEND = "import os, socket, struct, time\n"


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if (refused := probe()) is not None:
        missing(f"needs namespaces: {refused}")


def leaked(plain: dict[str, Any]) -> set[str]:
    return {canary["role"] for canary in plain["canaries"] if canary["leaked"]}


@pytest.mark.parametrize(("option", "roles"), [("--socks5", {"page"}), ("--socks5-hostname", set())])
def test_the_report_names_the_canary_that_leaked(option: str, roles: set[str]) -> None:
    curl = require_program("curl")
    code, plain = report("--", curl, "-sS", "--fail", option, PROXY, "{canary_url}")
    assert (code, leaked(plain)) == (len(roles), roles)
    assert {found["canary"] for found in plain["leaks"]} == roles
    (page,) = (canary for canary in plain["canaries"] if canary["role"] == "page")
    assert page["requests"] == (0 if roles else 1)


def test_a_canary_in_any_packet_is_named() -> None:
    code = SEND + (
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.sendto(b'lookup ' + os.environ['SHIM_CANARY'].upper().encode(), ('192.0.2.7', 5300))"
    )
    status, plain = report(*python(code))
    assert (status, packets(plain), leaked(plain)) == (1, {("udp", "192.0.2.7:5300")}, {"page"})
    text = check(*python(code)).stdout
    assert "canary (page)" in text


def test_canaries_are_random_and_can_be_scrubbed() -> None:
    words = ["--", "sh", "-c", "echo $SHIM_CANARY {canary}"]
    runs = [check("--scrub", "--format", "json", *words) for _ in range(2)]
    names = [run.stderr.split() for run in runs]
    assert names[0][0] == names[0][1] != names[1][0]
    assert names[0][0] not in runs[0].stdout


def test_https_does_not_spoil_the_verdict_of_who_does_not_trust_the_sandbox() -> None:
    curl = require_program("curl")
    code, plain = report("--", curl, "-sS", "-x", "{proxy_url}", "{canary_https_url}")
    assert (code, plain["command_status"], plain["requests"]) == (0, 60, 1)
    assert "tls" in {each["code"] for each in plain["not_covered"]}


@pytest.mark.parametrize("way", ["option", "placeholder"])
def test_https_completes_for_who_trusts_it(way: str) -> None:
    curl = require_program("curl")
    trust = {"option": (["--ca-env"], []), "placeholder": ([], ["--cacert", "{ca_file}"])}
    ours, theirs = trust[way]
    url = "https://www.example.org/"
    code, plain = report(*ours, "--", curl, "-sS", "--fail", *theirs, "-x", "{proxy_url}", url)
    assert (code, plain["command_status"]) == (0, 0)
    assert "tls" not in {each["code"] for each in plain["not_covered"]}


def test_nobody_is_told_to_trust_the_sandbox_unasked() -> None:
    env = {"SSL_CERT_FILE": "mine", "CURL_CA_BUNDLE": ""}
    assert check("--", "sh", "-c", "echo $SSL_CERT_FILE$CURL_CA_BUNDLE", env=env).stderr == "mine\n"
    assert check("--ca-env", "--upstream", "127.0.0.1:1", "--", "true").returncode == 2


PING = "s.sendto(struct.pack('!BBHHH', 8, 0, 0xf7fe, 0, 1), ('192.0.2.9', 0))"


@pytest.mark.parametrize(
    ("code", "packet", "destination"),
    [
        (
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "s.sendto(struct.pack('!HHI', 1, 0, 0x2112A442) + bytes(12), ('192.0.2.8', 3478))",
            "stun",
            "192.0.2.8:3478",
        ),
        (
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(bytes(12), ('224.0.0.252', 5355))",
            "llmnr",
            "224.0.0.252:5355",
        ),
        (f"s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)\n{PING}", "icmp", "192.0.2.9"),
        (
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(b'x', ('9.9.9.9', 853))",
            "dot",
            "9.9.9.9:853",
        ),
    ],
)
def test_more_that_goes_past_the_proxy_is_named(code: str, packet: str, destination: str) -> None:
    status, plain = report(*python(SEND + code))
    if packet == "icmp" and plain["command_status"]:
        missing("needs the right to raw sockets")
    assert (status, packets(plain)) == (1, {(packet, destination)})


LATE = SEND + (
    "if os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(5)\n"
    "socket.socket().connect_ex(('192.0.2.1', 80))"
)


def test_a_leak_long_after_the_program_has_ended_is_caught_if_it_is_waited_for() -> None:
    status, plain = report("--linger", "15", *python(LATE))
    assert (status, packets(plain)) == (1, {("tcp", "192.0.2.1:80")})
    assert plain["leaks"][0]["after_s"] >= 5
    assert "left_running" not in {each["code"] for each in plain["not_covered"]}


def test_and_else_the_report_says_why_it_could_not() -> None:
    status, plain = report(*python(LATE))
    assert (status, plain["leaks"], plain["linger_s"]) == (3, [], 2)
    assert "left_running" in {each["code"] for each in plain["not_covered"]}


def test_the_report_says_in_what_surroundings_it_ran() -> None:
    _, plain = report("--", sys.executable, "-c", "import os; print(os.geteuid(), os.uname().release)")
    isolation = plain["isolation"]
    assert set(isolation) >= {"root", "kernel", "trap", "user_namespace", "ip_versions", "hidden"}
    codes = {each["code"] for each in plain["not_covered"]}
    assert ("root" in codes) == (isolation["root"] and not isolation["user_namespace"])
    assert isolation["kernel"] in check("--", "true").stdout
