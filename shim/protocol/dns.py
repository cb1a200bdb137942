"""DNS messages (RFC 1035): a query read behind a gate, and the replies that the sensor gives.

Knows no policy, asks no resolver, and is the only module that imports dnslib.

dnslib 0.9.26 takes 100 us for a query and its reply, and there are messages that it reads for seconds (measured). So
it reads only what is neither common (a question, or a question and one OPT: fixed layouts, read here) nor held back
by the gate; and it packs nothing: every reply is patched together from the query's own bytes, which also echoes the
name as it was spelled (0x20).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from struct import Struct, error

from dnslib import QTYPE, DNSRecord

MAX_UDP = 4096
MAX_TCP = 16 * 1024
FOREIGN = (
    *(b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"PATC", b"CONN", b"TRAC", b"PRI "),
    *(bytes((0x16, 3, minor)) for minor in range(4)),
)
"""How HTTP and TLS begin. Behind the two length octets of DNS by TCP the one would be a message beyond MAX_TCP, and the
other one of 5,635 bytes: no query."""

MAX_RECORDS = 16
"""Answer, authority and additional records of a query together; real ones have two at most."""

MAX_UNUSUAL = 512
MAX_POINTERS = 16
"""dnslib walks a chain of pointers anew for every name that ends in it: within the limits above, 900 pointers and 16
records took it 330 ms. Within these two the worst found took 3 ms, and a TSIG or SIG(0) beside an OPT passes."""

MAX_NAME = 255
MAX_LABEL = 63
PLAIN_UDP = 512
"""RFC 1035 section 4.2.1: what a client takes by UDP when it names no size."""

OUR_UDP = 1232
"""What our OPT says that we take: fits any path without fragments (DNS flag day 2020)."""

_HEADER = Struct("!6H")
_QUESTION = Struct("!HH")
_OPT = Struct("!xHHBBHH")
_RECORD = Struct("!HHHIH")

_QR, _OPCODE, _TC, _RD, _RA = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
_CLASS_IN = 1
_CLASS_MASK = 0x7FFF  # the top bit is not class but mDNS' wish for a unicast reply (RFC 6762 section 5.4)
_POINTER_BYTES = range(0xC0, 0xC0 + (MAX_UNUSUAL >> 8))  # a pointer into MAX_UNUSUAL bytes begins with one of these
_TO_QUESTION = 0xC000 | _HEADER.size

TYPE_A, TYPE_PTR, TYPE_AAAA, TYPE_OPT = 1, 12, 28, 41

_PLAIN = bytes(byte for byte in range(0x21, 0x7F) if byte not in b".\\")
_PRESENTED = [chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in range(256)]
_PRESENTED[ord(".")], _PRESENTED[ord("\\")] = "\\.", "\\\\"


class Rcode(IntEnum):
    """The RCODEs that the sensor gives; BADVERS (RFC 6891 section 9) is one that needs an OPT."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True, slots=True)
class Query:
    """A query of class IN with one question, as the client sent it.

    `name` is `qname` in lower-case presentation form without the last dot ("." is the root): equal for two names when
    DNS takes them for one. `edns_size` is the UDP size in its OPT, None without EDNS; `question_end` counts in `wire`.
    """

    id: int
    qname: tuple[bytes, ...]
    name: str
    qtype: int
    qclass: int
    edns_size: int | None
    wire: bytes
    question_end: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Not a query at all, and owed nothing: without a whole header, or a response (to answer one makes loops)."""

    error: str


@dataclass(frozen=True, slots=True)
class Bad:
    """A query that is owed `reply` and nothing else. `error` is a short code; the name was exposed all the same."""

    error: str
    rcode: Rcode
    reply: bytes
    name: str | None = None
    qtype: int | None = None


def read_query(wire: bytes, *, tcp: bool) -> Query | Drop | Bad:
    """Read one message, without TCP's length before it. Total: any bytes are one of the three."""
    if len(wire) < _HEADER.size:
        return Drop("short")
    ident, flags, questions, answers, authorities, additional = _HEADER.unpack_from(wire)
    if flags & _QR:
        return Drop("response")
    records = answers + authorities + additional
    if flags & _OPCODE or questions != 1 or records > MAX_RECORDS or len(wire) > (MAX_TCP if tcp else MAX_UDP):
        return _held_back(wire, flags, questions, records)
    question = _read_question(wire)
    if question is None:
        return Bad("question", Rcode.FORMERR, _reply(wire, _HEADER.size, Rcode.FORMERR))
    qname, qtype, qclass, end = question
    name = presentation(qname)
    size: int | None = None
    if records:
        edns = (_read_opt(wire, end) if records == additional == 1 else None) or _read_unusual(wire)
        if isinstance(edns, str):
            return Bad(edns, Rcode.FORMERR, _reply(wire, end, Rcode.FORMERR), name, qtype)
        size, version = edns
        if version:
            return Bad("edns_version", Rcode.BADVERS, _reply(wire, end, Rcode.BADVERS, edns=True), name, qtype)
    if qclass & _CLASS_MASK != _CLASS_IN:
        return Bad("class", Rcode.REFUSED, _reply(wire, end, Rcode.REFUSED, edns=size is not None), name, qtype)
    return Query(ident, qname, name, qtype, qclass, size, wire, end)


def presentation(labels: tuple[bytes, ...]) -> str:
    """The labels as one lower-case name: dots and backslashes inside a label escaped, unprintable bytes as \\DDD."""
    raw = b".".join(labels).lower()  # bytes.lower() folds ASCII only, as DNS does (RFC 4343 section 3)
    if len(raw.translate(None, _PLAIN)) == len(labels) - 1:  # nothing but the dots between labels is left
        return raw.decode("ascii")
    return ".".join("".join(map(_PRESENTED.__getitem__, label.lower())) for label in labels) or "."


def type_name(qtype: int) -> str:
    """A, AAAA, HTTPS; TYPE1234 for a type without a name (RFC 3597 section 5)."""
    return "SMIMEA" if qtype == 53 else QTYPE[qtype]  # dnslib 0.9.26 calls it HIP, which is 55


def refuse(query: Query, rcode: Rcode) -> bytes:
    """No but `rcode`. NXDOMAIN comes without a SOA record, so that nobody caches it (RFC 2308 section 5)."""
    return _reply(query.wire, query.question_end, rcode, edns=query.edns_size is not None)


def empty(query: Query) -> bytes:
    """NOERROR without an answer: the name may exist, but has no such record."""
    return refuse(query, Rcode.NOERROR)


def answer(query: Query, addresses: Iterable[IPv4Address | IPv6Address], ttl: int) -> bytes:
    """The addresses of the family that was asked for; the others are left out. `ttl` in seconds, below 2**31."""
    family = {TYPE_A: 4, TYPE_AAAA: 6}.get(query.qtype)
    return _answer(query, query.qtype, [address.packed for address in addresses if address.version == family], ttl)


def pointer(query: Query, name: str, ttl: int) -> bytes:
    """`name` as a PTR record. ValueError when it is no name that DNS could carry, or one that needs escapes."""
    if not name.isascii() or "\\" in name:
        raise ValueError("not a plain name")
    labels = name.encode("ascii").removesuffix(b".").split(b".")
    if not all(0 < len(label) <= MAX_LABEL for label in labels) or sum(map(len, labels)) + len(labels) >= MAX_NAME:
        raise ValueError("a label is empty, or it or the name is too long")
    return _answer(query, TYPE_PTR, [b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"], ttl)


def truncate(query: Query) -> bytes:
    """Ask again by TCP: TC set, no answer (RFC 7766 section 5)."""
    reply = bytearray(empty(query))
    reply[2] |= _TC >> 8
    return bytes(reply)


def fit(query: Query, reply: bytes, *, tcp: bool) -> bytes:
    """`reply`, or TC in its place when it is larger than the client takes by UDP."""
    if tcp or len(reply) <= PLAIN_UDP or len(reply) <= (query.edns_size or PLAIN_UDP):
        return reply
    return truncate(query)


def _answer(query: Query, rtype: int, rdata: list[bytes], ttl: int) -> bytes:
    records = b"".join([_RECORD.pack(_TO_QUESTION, rtype, _CLASS_IN, ttl, len(data)) + data for data in rdata])
    edns = query.edns_size is not None
    return _reply(query.wire, query.question_end, Rcode.NOERROR, edns=edns, answers=len(rdata), records=records)


def _reply(
    wire: bytes,
    question_end: int,
    rcode: Rcode,
    *,
    edns: bool = False,
    answers: int = 0,
    records: bytes = b"",
) -> bytes:
    """Id, opcode, RD and question of `wire`; QR, RA and what the arguments say.

    RA, because a stub that finds it missing takes us for no resolver. No AA: no zone is ours. No AD, no CD: nothing is
    validated (RFC 4035 section 3.2). An OPT answers an OPT (RFC 6891 section 7) and echoes none of its options.
    """
    flags = _QR | _RA | (wire[2] << 8) & (_OPCODE | _RD) | rcode & 0xF
    header = _HEADER.pack(wire[0] << 8 | wire[1], flags, question_end > _HEADER.size, answers, 0, edns)
    reply = header + wire[_HEADER.size : question_end] + records
    return reply + _OPT.pack(TYPE_OPT, OUR_UDP, rcode >> 4, 0, 0, 0) if edns else reply


def _held_back(wire: bytes, flags: int, questions: int, records: int) -> Bad:
    """What the gate does not let through, and why. Only its first question is read."""
    question = _read_question(wire) if questions else None
    name, qtype = (None, None) if question is None else (presentation(question[0]), question[1])
    rcode = Rcode.FORMERR
    if flags & _OPCODE:
        # RFC 8906 section 3.1.3. What follows such a header may be laid out otherwise, so no question is echoed.
        error, rcode = "opcode", Rcode.NOTIMP
    elif questions != 1:
        # Many: RFC 9619 section 4. None is legal only to ask for a cookie (RFC 7873 section 5.4), and we give none.
        error = "questions"
    else:
        error = "records" if records > MAX_RECORDS else "too_long"
    return Bad(error, rcode, _reply(wire, _HEADER.size, rcode), name, qtype)


def _read_question(wire: bytes) -> tuple[tuple[bytes, ...], int, int, int] | None:
    """Labels, type, class and end of the first question, or None. No name stands before it that it could point to."""
    labels = []
    at = _HEADER.size
    try:
        while length := wire[at]:
            start = at + 1
            at = start + length
            if length > MAX_LABEL or at >= _HEADER.size + MAX_NAME:
                return None
            labels.append(wire[start:at])
        qtype, qclass = _QUESTION.unpack_from(wire, at + 1)
    except (IndexError, error):
        return None
    return tuple(labels), qtype, qclass, at + 1 + _QUESTION.size


def _read_opt(wire: bytes, at: int) -> tuple[int, int] | None:
    """UDP size and version when what follows the question is one OPT and nothing else. Its options are not for us."""
    if len(wire) - at < _OPT.size or wire[at]:
        return None
    rtype, size, _, version, _, length = _OPT.unpack_from(wire, at)
    return (size, version) if rtype == TYPE_OPT and len(wire) - at == _OPT.size + length else None


def _read_unusual(wire: bytes) -> tuple[int | None, int] | str:
    """The same from any other message, by dnslib: size None without an OPT. Or the code of what is wrong."""
    if len(wire) > MAX_UNUSUAL:
        return "records_too_long"
    if sum(map(wire.count, _POINTER_BYTES)) > MAX_POINTERS:
        return "pointers"
    try:
        found = [record for record in DNSRecord.parse(wire).ar if record.rtype == TYPE_OPT]
    except Exception:  # its own kinds, but also UnicodeDecodeError, RecursionError and others (measured)
        return "records_unreadable"
    if not found:
        return None, 0
    if len(found) > 1 or found[0].rname.label:  # RFC 6891 section 6.1.1: one, and its name is the root
        return "opt"
    return found[0].edns_len, found[0].edns_ver
