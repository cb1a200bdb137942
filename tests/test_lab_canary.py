"""Canaries, the pages that hold them, and the certificates of the sandbox: names alone, nothing is started."""

from __future__ import annotations

import re
import ssl

import pytest
from dnslib import DNSRecord

from shim.judge.names import NameKind, kind_of
from shim.lab import curve
from shim.lab.authority import MAX_NAMES, Authority
from shim.lab.canary import PAGE, ROLES, Canaries
from shim.lab.pages import PLAIN, Pages

CANARIES = Canaries.make(ROLES)
HOST = CANARIES.host(PAGE)


def test_each_run_has_names_of_its_own_that_look_like_others() -> None:
    hosts = [canary.host for canary in (*CANARIES, *Canaries.make(ROLES))]
    assert len(set(hosts)) == 2 * len(ROLES)
    assert {kind_of(host) for host in hosts} == {NameKind.ORDINARY}
    assert all(re.fullmatch(r"[a-z]+\.[a-z]{16}\.(?:com|net|org|info)", host) for host in hosts)


@pytest.mark.parametrize("name", [HOST, HOST.upper(), f"{HOST}.", f"_443._https.{HOST}", f"{HOST}.lan"])
def test_a_canary_is_known_in_every_spelling(name: str) -> None:
    assert CANARIES.role_of(name) == PAGE


@pytest.mark.parametrize("name", [None, "", "www.example.org", f"x{CANARIES.names[0].label}.com"])
def test_no_other_name_is_one(name: str | None) -> None:
    assert CANARIES.role_of(name) is None


def test_a_canary_is_found_in_any_packet_that_names_it() -> None:
    image = CANARIES.host("image")
    assert CANARIES.role_in(DNSRecord.question(image.upper()).pack()) == "image"
    assert CANARIES.role_in(f"GET / HTTP/1.1\r\nHost: {image}\r\n\r\n".encode()) == "image"
    assert CANARIES.role_in(DNSRecord.question("www.example.org").pack()) is None
    assert Canaries().role_in(image.encode()) is None


def test_the_page_of_the_canary_names_all_others_and_nobody_else() -> None:
    page = Pages(CANARIES).answer(f"GET / HTTP/1.1\r\nHost: {HOST}:80\r\n\r\n".encode()).body.decode()
    assert [role for role in ROLES if CANARIES.host(role) in page] == [role for role in ROLES if role != PAGE]
    assert all(CANARIES.role_of(host) for host in re.findall(r"//([^/\"]+)/", page))


@pytest.mark.parametrize(
    ("path", "roles", "quic"),
    [
        ("/hints", {"dns_prefetch", "preconnect", "prefetch"}, False),
        ("/names", {"script", "image", "link", "frame", "fetch", "socket"}, False),
        ("/webrtc", {"stun"}, False),
        ("/quic", set(), True),
        ("/else", set(), False),
    ],
)
def test_one_temptation_can_be_had_alone(path: str, roles: set[str], quic: bool) -> None:
    answer = Pages(CANARIES).answer(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    assert {role for role in ROLES if CANARIES.host(role) in answer.body.decode()} == roles
    assert (b"h3=" in answer.headers) == quic


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("GET /a.png HTTP/1.1\r\nHost: x.example\r\n\r\n", b"image/gif"),
        ("GET /a.js HTTP/1.1\r\n\r\n", b"text/javascript"),
        ("GET / HTTP/1.1\r\nHost: x.example\r\n\r\n", b"text/html; charset=utf-8"),
        ("GET\r\n\r\n", b"text/html; charset=utf-8"),
    ],
)
def test_everything_else_is_answered_too(head: str, kind: bytes) -> None:
    answer = Pages(CANARIES).answer(head.encode())
    assert answer.kind == kind
    assert (answer.body == PLAIN) == kind.startswith(b"text/html")


def shake_hands(authority: Authority, name: str, trusted: str) -> ssl.SSLObject:
    """A client that trusts only `trusted`, and our server, without a network between them."""
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cadata=trusted)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    client = context.wrap_bio(one, other, server_hostname=name)
    server = authority.context().wrap_bio(other, one, server_side=True)
    waiting = [client, server]
    for _ in range(10):
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting
    return client


def test_every_name_has_a_certificate_for_who_trusts_the_authority() -> None:
    authority = Authority()
    for name in (HOST, "www.example.org"):
        certificate = shake_hands(authority, name, authority.pem).getpeercert()
        assert certificate
        assert certificate["subjectAltName"] == (("DNS", name),)


def test_nobody_else_trusts_it() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(Authority(), HOST, Authority().pem)


def test_the_certificates_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_NAMES == 500
    monkeypatch.setattr("shim.lab.authority.MAX_NAMES", 2)
    authority = Authority()
    first, second = authority.context("a.example"), authority.context("b.example")
    assert authority.context("b.example") is second
    assert authority.context("c.example") is first


def test_the_curve_gives_the_points_that_the_standard_gives() -> None:
    """Once and twice the generator, and one less than its order: the generator's mirror image."""
    once = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    twice = (
        "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978"
        "07775510db8ed040293d9ac69f7430dbba7dade63ce982299e04b79d227873d1"
    )
    assert curve.public_key(1)[:33].hex() == "04" + once
    assert curve.public_key(2).hex() == "04" + twice
    assert curve.public_key(curve.ORDER - 1)[:33] == curve.public_key(1)[:33]
    assert curve.public_key(curve.ORDER - 1) != curve.public_key(1)
