"""The sensor as dig, kdig and drill see it: whole replies without a warning, by UDP and TCP."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from rig.asking import address
from rig.programs import require_program
from rig.shim import Shim
from rig.upstream import Upstream


@pytest.fixture(scope="module")
def sensors(upstream: Upstream) -> Iterator[dict[str, Shim]]:
    """One sensor for each mode."""
    modes = ("refuse", "issue", "tor")
    shims = [Shim("--dns", "127.0.0.1:0", "--dns-mode", mode, upstream=upstream.address) for mode in modes]
    with shims[0], shims[1], shims[2]:
        yield dict(zip(modes, shims, strict=True))


@pytest.fixture(params=["udp", "tcp"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asked(program: str, shim: Shim, transport: str, name: str, rdtype: str, *options: str) -> str:
    """What the program prints; it must end well and warn of nothing."""
    host, port = address(shim.ready["dns"][0])
    by_tcp = {"dig": ["+tcp"], "kdig": ["+tcp"], "drill": ["-t"]}[program] if transport == "tcp" else []
    once = {"dig": ["+tries=1", "+time=5"], "kdig": ["+retry=0", "+time=5"], "drill": []}[program]
    argv = [require_program(program), *by_tcp, *once, *options, f"@{host}", "-p", str(port), name, rdtype]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert not re.search(r"warn|malformed|mismatch|unexpected|extra bytes", done.stdout, re.IGNORECASE), done.stdout
    return done.stdout


PROGRAMS = ["dig", "kdig", "drill"]


@pytest.mark.parametrize("program", PROGRAMS)
class TestReplies:
    def test_refused(self, program: str, transport: str, sensors: dict[str, Shim]) -> None:
        assert "NXDOMAIN" in asked(program, sensors["refuse"], transport, "www.example.com", "A")

    def test_issued(self, program: str, transport: str, sensors: dict[str, Shim]) -> None:
        said = asked(program, sensors["issue"], transport, "www.example.com", "A")
        assert re.search(r"www\.example\.com\.\s+1\s+IN\s+A\s+198\.1[89]\.\d+\.\d+", said), said

    @pytest.mark.parametrize("rdtype", ["AAAA", "HTTPS", "SVCB", "MX"])
    def test_empty(self, rdtype: str, program: str, transport: str, sensors: dict[str, Shim]) -> None:
        if program == "drill" and rdtype in ("HTTPS", "SVCB"):
            rdtype = {"HTTPS": "TYPE65", "SVCB": "TYPE64"}[rdtype]
        said = asked(program, sensors["issue"], transport, "www.example.com", rdtype)
        assert "NOERROR" in said and "ANSWER: 0" in said.upper()

    def test_resolved_by_tor(self, program: str, transport: str, sensors: dict[str, Shim]) -> None:
        said = asked(program, sensors["tor"], transport, "page.test", "A")
        assert re.search(r"page\.test\.\s+60\s+IN\s+A\s+93\.184\.216\.34", said), said

    def test_reverse(self, program: str, transport: str, sensors: dict[str, Shim]) -> None:
        said = asked(program, sensors["tor"], transport, "34.216.184.93.in-addr.arpa", "PTR")
        assert re.search(r"PTR\s+page\.test\.", said), said

    def test_onion(self, program: str, transport: str, sensors: dict[str, Shim]) -> None:
        for shim in sensors.values():
            assert "NXDOMAIN" in asked(program, shim, transport, "example.onion", "A")


class TestDig:
    """What only dig can be told to send."""

    @pytest.mark.parametrize("mode", ["refuse", "issue", "tor"])
    def test_a_cookie_and_a_client_subnet_come_back_as_a_plain_opt(
        self, mode: str, transport: str, sensors: dict[str, Shim]
    ) -> None:
        said = asked("dig", sensors[mode], transport, "page.test", "A", "+cookie", "+subnet=192.0.2.0/24", "+dnssec")
        assert "EDNS: version: 0" in said and "udp: 1232" in said
        assert "COOKIE" not in said and "CLIENT-SUBNET" not in said

    def test_no_edns(self, transport: str, sensors: dict[str, Shim]) -> None:
        assert "EDNS" not in asked("dig", sensors["issue"], transport, "www.example.com", "A", "+noedns")

    def test_a_version_of_edns_to_come(self, transport: str, sensors: dict[str, Shim]) -> None:
        options = ("+edns=7", "+noednsnegotiation")
        assert "BADVERS" in asked("dig", sensors["issue"], transport, "www.example.com", "A", *options)

    def test_unknown_flags_and_options(self, transport: str, sensors: dict[str, Shim]) -> None:
        options = ("+ednsopt=65001:cafe", "+ednsflags=0x80", "+zflag", "+adflag", "+cdflag")
        assert "NOERROR" in asked("dig", sensors["issue"], transport, "www.example.com", "A", *options)

    def test_padding_and_a_large_buffer(self, transport: str, sensors: dict[str, Shim]) -> None:
        said = asked("dig", sensors["issue"], transport, "www.example.com", "A", "+padding=468", "+bufsize=65535")
        assert "198.1" in said

    def test_the_class_chaos(self, transport: str, sensors: dict[str, Shim]) -> None:
        assert "REFUSED" in asked("dig", sensors["issue"], transport, "version.bind", "TXT", "-c", "CH")

    @pytest.mark.parametrize("opcode", ["notify", "update", "iquery"])
    def test_another_opcode(self, opcode: str, transport: str, sensors: dict[str, Shim]) -> None:
        options = ("+noedns", f"+opcode={opcode}")
        assert "NOTIMP" in asked("dig", sensors["issue"], transport, "example.com", "SOA", *options)

    def test_without_recursion(self, transport: str, sensors: dict[str, Shim]) -> None:
        said = asked("dig", sensors["issue"], transport, "www.example.com", "A", "+norecurse")
        assert re.search(r"flags: qr ra;", said), said

    def test_a_zone_transfer(self, sensors: dict[str, Shim]) -> None:
        host, port = address(sensors["issue"].ready["dns"][0])
        argv = [require_program("dig"), f"@{host}", "-p", str(port), "example.com", "AXFR", "+time=5"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert "Transfer failed" in done.stdout

    def test_many_on_one_connection(self, sensors: dict[str, Shim]) -> None:
        host, port = address(sensors["issue"].ready["dns"][0])
        names = [f"{number}.example.com" for number in range(20)]
        argv = [require_program("dig"), f"@{host}", "-p", str(port), "+tcp", "+keepopen", "+short", *names]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert len(set(done.stdout.split())) == 20, done.stdout + done.stderr
