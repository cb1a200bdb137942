"""shim.doctor.settings_files: each file as those read it whom it is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.doctor.settings_files import (
    DEFAULT_SOURCES,
    ResolvConf,
    Resolved,
    hosts_sources,
    resolv_conf,
    resolved_conf,
)


class TestResolvConf:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", ResolvConf()),
            ("nameserver 127.0.0.1\nnameserver ::1\n", ResolvConf(("127.0.0.1", "::1"))),
            ("  nameserver\t9.9.9.9   # mine\n", ResolvConf(("9.9.9.9",))),
            ("#nameserver 9.9.9.9\n;nameserver 9.9.9.9\nnameserver\n", ResolvConf()),
            ("nameservers 9.9.9.9\nNAMESERVER 9.9.9.9\n", ResolvConf()),
            ("search a.example b.example.\n", ResolvConf((), ("a.example", "b.example"))),
            ("search a.example\ndomain b.example c.example\n", ResolvConf((), ("b.example",))),
            ("domain b.example\nsearch a.example\n", ResolvConf((), ("a.example",))),
            ("search .\n", ResolvConf()),
            ("options edns0 trust-ad\nsortlist 1.2.3.4\n", ResolvConf()),
            ("nameserver fe80::1%eth0", ResolvConf(("fe80::1%eth0",))),
        ],
    )
    def test_as_resolv_conf_5_says(self, text: str, expected: ResolvConf) -> None:
        assert resolv_conf(text) == expected


class TestNsswitch:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", DEFAULT_SOURCES),
            ("passwd: files\n# hosts: nis\n", DEFAULT_SOURCES),
            ("hosts: files dns", ("files", "dns")),
            ("hosts:\tfiles mdns4_minimal [NOTFOUND=return] dns # comment", ("files", "mdns4_minimal", "dns")),
            ("hosts: resolve [!UNAVAIL=return] files myhostname dns", ("resolve", "files", "myhostname", "dns")),
            ("hosts: files [SUCCESS=return NOTFOUND=continue]dns", ("files", "dns")),
            ("hosts:", ()),
        ],
    )
    def test_as_nsswitch_conf_5_says(self, text: str, expected: tuple[str, ...]) -> None:
        assert hosts_sources(text) == expected


class TestResolved:
    def test_a_list_grows_and_an_empty_value_empties_it(self) -> None:
        first = "[Resolve]\nDNS=1.1.1.1 9.9.9.9\nDomains=~.\n"
        assert resolved_conf([first]).dns == ("1.1.1.1", "9.9.9.9")
        assert resolved_conf([first, "[Resolve]\nDNS=127.0.0.1\n"]).dns == ("1.1.1.1", "9.9.9.9", "127.0.0.1")
        assert resolved_conf([first, "[Resolve]\nDNS=\nDNS=127.0.0.1\n"]) == Resolved(("127.0.0.1",))

    def test_only_its_own_section_counts(self) -> None:
        assert (
            resolved_conf(["DNS=1.1.1.1\n[Match]\nDNS=1.1.1.1\n[Resolve]\n#DNS=1.1.1.1\n;DNS=2.2.2.2\n"]) == Resolved()
        )

    @pytest.mark.parametrize(
        ("value", "on"),
        [("yes", True), ("resolve", True), ("no", False), ("False", False), ("0", False), ("off", False)],
    )
    def test_switches(self, value: str, on: bool) -> None:
        found = resolved_conf([f"[Resolve]\nLLMNR={value}\nMulticastDNS = {value}\n"])
        assert (found.llmnr, found.mdns) == (on, on)

    @given(texts=st.lists(st.text(), max_size=3))
    def test_any_text_is_read(self, texts: list[str]) -> None:
        resolved_conf(texts)
        for text in texts:
            resolv_conf(text)
            hosts_sources(text)
