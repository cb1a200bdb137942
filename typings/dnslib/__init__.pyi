# dnslib ships no types: only what shim.protocol.dns uses of it.

class DNSLabel:
    label: tuple[bytes, ...]

class RR:
    rname: DNSLabel
    rtype: int
    edns_len: int
    edns_ver: int

class DNSRecord:
    ar: list[RR]
    @classmethod
    def parse(cls, packet: bytes) -> DNSRecord: ...

class _Names:
    def __getitem__(self, code: int) -> str: ...

QTYPE: _Names
