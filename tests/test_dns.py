"""shim.protocol.dns: what is read, what is held back, and that other programs read what we build.

The captures are of Debian 12's programs, taken on loopback. dnspython and dnslib are the oracles.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import pack

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.protocol.dns import (
    MAX_POINTERS,
    MAX_RECORDS,
    MAX_TCP,
    MAX_UDP,
    MAX_UNUSUAL,
    OUR_UDP,
    Bad,
    Drop,
    Query,
    Rcode,
    answer,
    empty,
    fit,
    pointer,
    presentation,
    read_query,
    refuse,
    truncate,
    type_name,
)

WWW = "03777777076578616d706c6503636f6d00"
COOKIE = "00002904d000000000000c000a000851808586be85beeb"
TSIG = (
    "036b6579076578616d706c650000fa00ff00000000003d0b686d61632d7368613235360000006b035d0f012c0020"
    "77fa4d2daaed2bee820cd61c8b7b57ccdc53918ba4f71e82071be70553757d9d941400000000"
)

READABLE = [
    # what sent it, hexadecimal, name, type, size in its OPT
    ("dig", f"fb0101200001000000000001{WWW}00010001{COOKIE}", "www.example.com", "A", 1232),
    ("dig +noedns", f"826801200001000000000000{WWW}00010001", "www.example.com", "A", None),
    ("dig +tcp AAAA", f"c20a01200001000000000001{WWW}001c0001{COOKIE}", "www.example.com", "AAAA", 1232),
    (
        "dig -x 198.18.0.9",
        f"d6eb01200001000000000001013901300231380331393807696e2d61646472046172706100000c0001{COOKIE}",
        "9.0.18.198.in-addr.arpa",
        "PTR",
        1232,
    ),
    (
        "dig -x 2001:2::9",
        f"d0b6012000010000000000010139{'0130' * 23}0132{'0130' * 3}0131{'0130' * 2}013203697036046172706100"
        f"000c0001{COOKIE}",
        "9." + "0." * 23 + "2.0.0.0.1.0.0.2.ip6.arpa",
        "PTR",
        1232,
    ),
    (
        "dig +dnssec +subnet=192.0.2.0/24 HTTPS",
        f"39b701200001000000000001{WWW}0041000100002904d00000800000170008000700011800c00002000a0008098bedabd280223d",
        "www.example.com",
        "HTTPS",
        1232,
    ),
    (
        "dig +padding=128 +keepalive +tcp",
        f"9efc01200001000000000001{WWW}0001000100002904d0000000000054000a000824ca86ad2ef54d71000b0000000c0040"
        + "00" * 64,
        "www.example.com",
        "A",
        1232,
    ),
    ("dig -y hmac-sha256:…", f"941401200001000000000002{WWW}00010001{COOKIE}{TSIG}", "www.example.com", "A", 1232),
    (
        "dig IXFR=5",
        f"237900000001000000010001{WWW}00fb0001c00c00060001000000000016000000000005{'00' * 16}{COOKIE}",
        "www.example.com",
        "IXFR",
        1232,
    ),
    (
        "dig with a strange label",
        f"83ee0120000100000000000107612e62206300ff076578616d706c6503636f6d0000010001{COOKIE}",
        r"a\.b\032c\000\255.example.com",
        "A",
        1232,
    ),
    ("dig . NS", f"f7e2012000010000000000010000020001{COOKIE}", ".", "NS", 1232),
    ("kdig", f"0a4f01200001000000000000{WWW}00010001", "www.example.com", "A", None),
    (
        "kdig +tcp +padding=256 HTTPS",
        f"dd4901200001000000000001{WWW}00410001000029100000000000" + "0104000c0100" + "00" * 256,
        "www.example.com",
        "HTTPS",
        4096,
    ),
    ("kdig +dnssec", f"701f01200001000000000001{WWW}000100010000291000000080000000", "www.example.com", "A", 4096),
    (
        "drill -D, with 0x20",
        "fba20100000100000000000103775777074578416d506c4503634f6d00000100010000291000000080000000",
        "www.example.com",
        "A",
        4096,
    ),
    ("drill -t AAAA", f"96ff01000001000000000000{WWW}001c0001", "www.example.com", "AAAA", None),
    (
        "glibc, with a search suffix",
        "b6d901000001000000000000077072696e74657204636f7270036c616e0000010001",
        "printer.corp.lan",
        "A",
        None,
    ),
    (
        "glibc, gethostbyaddr",
        "c29501000001000000000000013901300231380331393807696e2d61646472046172706100000c0001",
        "9.0.18.198.in-addr.arpa",
        "PTR",
        None,
    ),
    (
        "curl",
        "712401000001000000000000046375726c076578616d706c6503636f6d00001c0001",
        "curl.example.com",
        "AAAA",
        None,
    ),
    (
        "Chromium, port 8123",
        "095501000001000000000000055f38313233065f6874747073037777770d6368726f6d69756d2d70616765"
        "076578616d706c6503636f6d0000410001",
        "_8123._https.www.chromium-page.example.com",
        "HTTPS",
        None,
    ),
    (
        "Firefox",
        "3e5d01000001000000000000037777770c66697265666f782d70616765076578616d706c6503636f6d00001c0001",
        "www.firefox-page.example.com",
        "AAAA",
        None,
    ),
]

HEADER = "123401000001000000000000"
QUESTION = f"{WWW}00010001"

REFUSED_UNHEARD = [
    # sentence, hexadecimal, code, RCODE, questions in the reply, name
    ("dig +edns=1", f"8e2301200001000000000001{WWW}0001000100002904d000010000" + "0000", "edns_version", 16, 1, WWW),
    ("dig +opcode=15", f"72a879200001000000000001{WWW}00010001{COOKIE}", "opcode", 4, 0, WWW),
    ("NOTIFY", f"123420000001000000000000{WWW}00060001", "opcode", 4, 0, WWW),
    ("opcode and no question", "123420000000000000000000", "opcode", 4, 0, None),
    ("dig +header-only", f"b44c01200000000000000001{COOKIE}", "questions", 1, 0, None),
    ("two questions", f"123401000002000000000000{QUESTION}{QUESTION}", "questions", 1, 0, WWW),
    ("65,535 questions", f"12340100ffff000000000000{QUESTION}", "questions", 1, 0, WWW),
    ("17 records", f"123401000001000500060006{QUESTION}", "records", 1, 0, WWW),
    ("17 records and no question to read", "12340100000100110000000003777777", "records", 1, 0, None),
    ("dig CH TXT version.bind", f"0d5601200001000000000001{WWW}00100003{COOKIE}", "class", 5, 1, WWW),
    ("class ANY", f"{HEADER}{WWW}000100ff", "class", 5, 1, WWW),
    ("only a header", HEADER, "question", 1, 0, None),
    ("name that does not end", f"{HEADER}03777777", "question", 1, 0, None),
    ("label that does not end", f"{HEADER}0377", "question", 1, 0, None),
    ("no type", f"{HEADER}{WWW}", "question", 1, 0, None),
    ("half a class", f"{HEADER}{WWW}000100", "question", 1, 0, None),
    ("pointer in the question", f"{HEADER}0377777703c00c00010001", "question", 1, 0, None),
    ("pointer as the question", f"{HEADER}c00c00010001", "question", 1, 0, None),
    ("label of 64", f"{HEADER}40{'61' * 64}0000010001", "question", 1, 0, None),
    ("name of 256", f"{HEADER}{('3f' + '61' * 63) * 3}3e{'61' * 62}0000010001", "question", 1, 0, None),
    ("OPT is missing", f"123401000001000000000001{QUESTION}", "records_unreadable", 1, 1, WWW),
    ("OPT is cut", f"123401000001000000000001{QUESTION}00002904d0000000000004000a", "records_unreadable", 1, 1, WWW),
    ("two OPTs", f"123401000001000000000002{QUESTION}{COOKIE}{COOKIE}", "opt", 1, 1, WWW),
    ("OPT with a name", f"123401000001000000000001{QUESTION}c00c{COOKIE[2:]}", "opt", 1, 1, WWW),
    (
        "label dnslib cannot read, and TSIG",
        f"94140120000100000000000103ff7777076578616d706c6503636f6d0000010001{TSIG}",
        "records_unreadable",
        1,
        1,
        "03ff7777076578616d706c6503636f6d00",
    ),
    (
        "rdata that makes dnslib raise UnicodeDecodeError",
        f"123401000001000000000001{QUESTION}00010100010000000000050001ff6161",
        "records_unreadable",
        1,
        1,
        WWW,
    ),
]


def queried(name: str = "www.example.com", qtype: str = "A", *, edns: int | None = None, rd: bool = True) -> Query:
    """A query as dnspython makes it."""
    message = dns.message.make_query(name, qtype, use_edns=edns is not None, payload=edns or 0)
    message.flags = dns.flags.RD if rd else dns.flags.Flag(0)
    query = read_query(message.to_wire(), tcp=False)
    assert isinstance(query, Query)
    return query


@pytest.mark.parametrize(("wire", "name", "qtype", "size"), [row[1:] for row in READABLE], ids=[r[0] for r in READABLE])
@pytest.mark.parametrize("tcp", [False, True])
def test_reads_what_real_programs_send(wire: str, name: str, qtype: str, size: int | None, tcp: bool) -> None:
    raw = bytes.fromhex(wire)
    query = read_query(raw, tcp=tcp)
    assert isinstance(query, Query)
    assert (query.name, type_name(query.qtype), query.edns_size) == (name, qtype, size)
    # A key that the oracle lacks (TSIG) does not matter to it here.
    oracle = dns.message.from_wire(raw, keyring=False, question_only=True)
    assert query.id == oracle.id
    assert (*query.qname, b"") == oracle.question[0].name.labels
    assert (query.qtype, query.qclass) == (oracle.question[0].rdtype, oracle.question[0].rdclass)
    assert query.wire == raw


@pytest.mark.parametrize(
    ("wire", "error", "rcode", "questions", "name"),
    [r[1:] for r in REFUSED_UNHEARD],
    ids=[r[0] for r in REFUSED_UNHEARD],
)
def test_answers_with_an_error_what_it_cannot_take(
    wire: str, error: str, rcode: int, questions: int, name: str | None
) -> None:
    raw = bytes.fromhex(wire)
    bad = read_query(raw, tcp=False)
    assert isinstance(bad, Bad)
    assert (bad.error, bad.rcode) == (error, rcode)
    reply = dns.message.from_wire(bad.reply)
    assert (reply.id, reply.rcode(), len(reply.question)) == (int.from_bytes(raw[:2], "big"), rcode, questions)
    assert reply.flags & dns.flags.QR
    assert (reply.opcode(), reply.flags & dns.flags.RD) == ((raw[2] >> 3) & 15, dns.flags.RD if raw[2] & 1 else 0)
    assert len(bad.reply) <= len(raw)
    exposed = None if name is None else presentation(dns.name.from_wire(bytes.fromhex(name), 0)[0].labels[:-1])
    assert bad.name == exposed
    assert (bad.qtype is None) == (name is None)


@pytest.mark.parametrize(
    ("wire", "error"),
    [("", "short"), (HEADER[:-2], "short"), (f"1234{'8180'}{HEADER[8:]}{QUESTION}", "response")],
)
def test_owes_nothing_to_what_is_no_query(wire: str, error: str) -> None:
    assert read_query(bytes.fromhex(wire), tcp=False) == Drop(error)


def test_class_may_wish_for_a_unicast_reply() -> None:
    """mDNS sets the top bit of the class; our record has the class without it."""
    query = read_query(bytes.fromhex(f"{HEADER}{WWW}00018001"), tcp=False)
    assert isinstance(query, Query)
    assert query.qclass == 0x8001
    assert (
        answer(query, [IPv4Address("198.18.0.1")], 1)[-16:].hex() == "c00c" + "00010001" + "00000001" + "0004c6120001"
    )


def test_bytes_behind_the_question_are_not_looked_at() -> None:
    raw = bytes.fromhex(f"{HEADER}{QUESTION}")
    query = read_query(raw + b"junk", tcp=False)
    assert isinstance(query, Query)
    assert refuse(query, Rcode.REFUSED)[12:] == raw[12:]


@pytest.mark.parametrize("tcp", [False, True])
def test_a_message_may_be_as_large_as_its_transport_allows(tcp: bool) -> None:
    limit = MAX_TCP if tcp else MAX_UDP
    head = bytes.fromhex(f"123401000001000000000001{QUESTION}")
    padding = limit - len(head) - 15
    largest = head + pack("!xHHIHHH", 41, 1232, 0, padding + 4, 12, padding) + bytes(padding)
    query = read_query(largest, tcp=tcp)
    assert isinstance(query, Query)
    assert len(largest) == limit
    assert query.edns_size == 1232
    bad = read_query(largest + b"\0", tcp=tcp)
    assert isinstance(bad, Bad)
    assert (bad.error, bad.rcode, bad.name, bad.qtype) == ("too_long", Rcode.FORMERR, "www.example.com", 1)


def chain(length: int, pointers: int, records: int) -> bytes:
    """A query with records at the end of a chain of pointers, filled up to `length` bytes."""
    links, at = bytearray(b"\1x\0"), 12 + len(bytes.fromhex(QUESTION)) + 11
    last = at
    for _ in range(pointers):
        link = b"\1x" + pack("!H", 0xC000 | last)
        last = at + len(links)
        links += link
    tail = (pack("!HHHIH", 0xC000 | last, 1, 1, 0, 4) + b"\1\2\3\4") * (records - 1)
    room = length - at - len(links) - len(tail)
    links += bytes(max(room, 0))
    head = pack("!6H", 1, 0x0100, 1, 0, 0, records) + bytes.fromhex(QUESTION)
    return head + pack("!xHHIH", 65280, 1, 0, len(links)) + links + tail


@pytest.mark.parametrize(
    ("sentence", "wire", "tcp", "error"),
    [
        ("52 KB, 4,000 records, 5 s in dnslib", chain(52_000, 240, 4000), True, "records"),
        ("52 KB in one record", chain(52_000, 240, 1), True, "too_long"),
        ("12 KB of pointers, RecursionError in dnslib", chain(12_000, 2900, 1), True, "records_too_long"),
        ("4 KB, 900 pointers, 330 ms in dnslib", chain(4000, 900, MAX_RECORDS), False, "records_too_long"),
        ("512 bytes, 60 pointers", chain(MAX_UNUSUAL, 60, 4), False, "pointers"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_dnslib_never_sees_what_it_reads_slowly(sentence: str, wire: bytes, tcp: bool, error: str) -> None:
    """Each of these codes is given before dnslib is called."""
    bad = read_query(wire, tcp=tcp)
    assert isinstance(bad, Bad)
    assert (bad.error, bad.name) == (error, "www.example.com")


def test_a_few_pointers_are_no_attack() -> None:
    query = read_query(chain(MAX_UNUSUAL, MAX_POINTERS - 3, 4), tcp=False)
    assert isinstance(query, Query)
    assert query.edns_size is None


LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=4).map(tuple).filter(lambda n: sum(map(len, n)) <= 240)


@given(LABELS)
def test_a_name_is_spelled_as_others_read_it(labels: tuple[bytes, ...]) -> None:
    name = presentation(labels)
    assert name.isascii()
    assert name.isprintable()
    assert " " not in name
    folded = dns.name.Name((*labels, b"")).canonicalize()
    assert (dns.name.root if name == "." else dns.name.from_text(f"{name}.")) == folded


@given(LABELS, LABELS)
def test_two_names_are_one_when_dns_says_so(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    same = dns.name.Name((*one, b"")) == dns.name.Name((*other, b""))
    assert (presentation(one) == presentation(other)) == same
    assert presentation(one) == presentation(tuple(label.swapcase() for label in one))


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ((), "."),
        ((b".",), r"\."),
        ((b"WWW", b"Example"), "www.example"),
        ((b"a.b", b"c\\d"), r"a\.b.c\\d"),
        ((b"tor ni tsuite",), r"tor\032ni\032tsuite"),
        ((b"\x1b[31m", b"\n", b"\x7f"), r"\027[31m.\010.\127"),
        (("日".encode(),), r"\230\151\165"),
        ((b"_8123", b"_https", b"x-y"), "_8123._https.x-y"),
        ((b"a+b?c=<d>",), "a+b?c=<d>"),
    ],
)
def test_spelling_of_names(labels: tuple[bytes, ...], name: str) -> None:
    assert presentation(labels) == name


@pytest.mark.parametrize("edns", [None, 1232])
@pytest.mark.parametrize("rcode", [Rcode.NOERROR, Rcode.SERVFAIL, Rcode.NXDOMAIN, Rcode.REFUSED])
def test_a_refusal_is_read_by_others(edns: int | None, rcode: Rcode) -> None:
    query = queried("wWw.eXample.com", "AAAA", edns=edns)
    reply = dns.message.from_wire(refuse(query, rcode))
    assert (reply.id, reply.rcode()) == (query.id, rcode)
    assert reply.flags & ~0xF == dns.flags.QR | dns.flags.RD | dns.flags.RA
    assert reply.question[0].name.labels == (b"wWw", b"eXample", b"com", b"")
    assert not reply.answer
    assert (reply.edns, reply.payload, reply.options) == ((-1, 0, ()) if edns is None else (0, OUR_UDP, ()))
    assert dnslib.DNSRecord.parse(refuse(query, rcode)).header.rcode == rcode


def test_empty_is_a_name_without_such_a_record() -> None:
    query = queried(qtype="HTTPS", edns=1232)
    assert empty(query) == refuse(query, Rcode.NOERROR)


def test_rd_is_echoed_and_no_other_flag() -> None:
    assert not dns.message.from_wire(empty(queried(rd=False))).flags & dns.flags.RD
    noisy = bytearray(queried().wire)
    noisy[2:4] = (0x7F & ~0x78 | 0x04, 0x7F)  # AA, TC, RD; Z, AD, CD and an RCODE
    query = read_query(bytes(noisy), tcp=False)
    assert isinstance(query, Query)
    assert empty(query)[2:4] == bytes((0x81, 0x80))


ADDRESSES = [IPv4Address("198.18.0.1"), IPv6Address("2001:2::1"), IPv4Address("198.18.0.2")]


@pytest.mark.parametrize("edns", [None, 4096])
@pytest.mark.parametrize(("qtype", "expected"), [("A", ADDRESSES[::2]), ("AAAA", ADDRESSES[1:2]), ("ANY", [])])
def test_addresses_of_the_family_asked_for_are_read_by_others(
    edns: int | None, qtype: str, expected: list[IPv4Address | IPv6Address]
) -> None:
    query = queried("wWw.example.com", qtype, edns=edns)
    wire = answer(query, ADDRESSES, 1)
    reply = dns.message.from_wire(wire)
    records = [(str(rrset.name), rrset.ttl, ip_address(r.address)) for rrset in reply.answer for r in rrset]
    assert records == [("wWw.example.com.", 1, address) for address in expected]
    assert reply.rcode() == 0
    assert (reply.edns, len(reply.question)) == (-1 if edns is None else 0, 1)
    parsed = dnslib.DNSRecord.parse(wire)
    assert [(str(r.rname), r.ttl, ip_address(str(r.rdata))) for r in parsed.rr] == records


def test_the_longest_ttl_is_said_in_full() -> None:
    assert dns.message.from_wire(answer(queried(), ADDRESSES, 2**31 - 1)).answer[0].ttl == 2**31 - 1


@pytest.mark.parametrize("name", ["www.example.com", "www.example.com.", "a" * 63 + ".b", ".".join(["a" * 62] * 4)])
def test_a_name_for_an_address_is_read_by_others(name: str) -> None:
    wire = pointer(queried("1.0.18.198.in-addr.arpa", "PTR"), name, 1)
    (rrset,) = dns.message.from_wire(wire).answer
    assert [record.target for record in rrset] == [dns.name.from_text(name.removesuffix(".") + ".")]
    assert (rrset.rdtype, rrset.ttl) == (dns.rdatatype.PTR, 1)
    assert str(dnslib.DNSRecord.parse(wire).a.rdata) == name.removesuffix(".") + "."


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", ".a", "a" * 64, "a" * 300, ".".join(["a" * 63] * 4), "日本", r"a\.b", "a..", "\udcff"]
)
def test_what_is_no_plain_name_is_no_answer(name: str) -> None:
    with pytest.raises(ValueError, match=r"not a plain name|too long") as raised:
        pointer(queried("1.0.18.198.in-addr.arpa", "PTR"), name, 1)
    assert len(name) < 3 or name not in str(raised.value), "errors name nothing"


@pytest.mark.parametrize("edns", [None, 1232])
def test_truncation_asks_for_tcp(edns: int | None) -> None:
    reply = dns.message.from_wire(truncate(queried(edns=edns)))
    assert reply.flags == dns.flags.QR | dns.flags.TC | dns.flags.RD | dns.flags.RA
    assert (reply.rcode(), len(reply.question), reply.answer) == (0, 1, [])


@given(st.none() | st.integers(0, 65535), st.integers(0, 400), st.booleans())
def test_a_reply_is_never_larger_than_asked_for(edns: int | None, count: int, tcp: bool) -> None:
    query = queried(edns=edns)
    reply = answer(query, [IPv4Address(0xC6120000 + n) for n in range(count)], 1)
    fitted = fit(query, reply, tcp=tcp)
    limit = 65535 if tcp else max(512, edns or 0)
    assert len(fitted) <= limit
    assert fitted == (reply if len(reply) <= limit else truncate(query))


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("too_many", [0, 1])
def test_a_reply_as_large_as_asked_for_is_sent_whole(too_many: int, tcp: bool) -> None:
    addresses = [IPv4Address(0xC6120000 + n) for n in range(50)]
    size = len(answer(queried(edns=4096), addresses, 1))
    query = queried(edns=size - too_many)
    reply = answer(query, addresses, 1)
    assert fit(query, reply, tcp=tcp) == (truncate(query) if too_many and not tcp else reply)


def test_types_have_their_usual_names() -> None:
    for text in ("A", "NS", "SOA", "PTR", "MX", "TXT", "AAAA", "SRV", "NAPTR", "SMIMEA", "HIP", "SVCB", "HTTPS", "ANY"):
        assert type_name(dns.rdatatype.from_text(text)) == text
    assert type_name(1234) == "TYPE1234"


def check_total(wire: bytes, tcp: bool) -> None:
    """Any bytes are one of the three; what is owed is never larger than what came, and can be read."""
    result = read_query(wire, tcp=tcp)
    if isinstance(result, Query):
        assert wire[2] & 0xF8 == 0
        assert result.question_end <= len(wire)
        for reply in (refuse(result, Rcode.NXDOMAIN), empty(result), truncate(result)):
            assert len(reply) <= len(wire)
            assert reply[12 : result.question_end] == wire[12 : result.question_end]
            dns.message.from_wire(reply)
        dns.message.from_wire(answer(result, ADDRESSES, 1))
        assert type_name(result.qtype)
    elif isinstance(result, Bad):
        assert len(result.reply) <= len(wire)
        assert dns.message.from_wire(result.reply).rcode() == result.rcode != Rcode.NOERROR
    else:
        assert len(wire) < 12 or wire[2] & 0x80


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes(wire: bytes, tcp: bool) -> None:
    check_total(wire, tcp)
    check_total(bytes.fromhex(HEADER) + wire, tcp)
    check_total(bytes.fromhex(f"123401000001000000000001{QUESTION}") + wire, tcp)


@given(st.data(), st.sampled_from([row[1] for row in READABLE] + [row[1] for row in REFUSED_UNHEARD]))
def test_mutated_real_messages(data: st.DataObject, capture: str) -> None:
    wire = bytearray(bytes.fromhex(capture))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(wire)))
        cut = data.draw(st.integers(0, 3))
        wire[at : at + cut] = data.draw(st.binary(max_size=3))
    check_total(bytes(wire), tcp=data.draw(st.booleans()))
    check_total(bytes(wire[: data.draw(st.integers(0, len(wire)))]), tcp=False)
