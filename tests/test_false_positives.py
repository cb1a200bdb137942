"""What people took for a leak, or were told is one, and is none: all of it stays below *probable*.

Each story is named after the thread in which somebody could not tell. It runs through the whole fold: judged, joined,
named and advised as in a running shim.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest
from stories import HERE, Story

from shim.advice import table
from shim.events import FirstBytesSeen, LeakFound, ProcessIdentified, ProcessSought, RequestDecided
from shim.judge.attributed import fold
from shim.model import Confidence, DnsMode, Mode, Process, Protocol
from shim.rule import Rule

V4 = IPv4Address("93.184.216.34")
FIREFOX = Process(7, "firefox-esr", "/usr/lib/firefox-esr/firefox-esr")
CHROMIUM = Process(8, "chromium", "/usr/lib/chromium/chromium")
ELECTRUM = Process(9, "electrum", "/usr/bin/python3.11", script="electrum")
CURL = Process(10, "curl", "/usr/bin/curl")
PEERS = [IPv4Address("198.51.100.1") + 7 * number for number in range(40)]


def first_bytes(
    story: Story, protocol: str, name: str | None, *, address: bool = False, encrypted: bool = False
) -> None:
    """What the last connection said first."""
    last = story.events[-1]
    assert isinstance(last, RequestDecided)
    story.tell(FirstBytesSeen(story.at, last.conn, protocol, name, address, encrypted))


def a_typed_address_in_chromium(story: Story) -> None:
    story.connect(str(V4), 80)
    first_bytes(story, "http", None, address=True)


def a_typed_address_in_curl_with_a_proxy_that_resolves(story: Story) -> None:
    """everything.curl.dev, SOCKS: --socks5-hostname sends a typed address in binary all the same."""
    story.connect("www.example.com")
    story.connect(V4, 443)
    first_bytes(story, "tls", None)
    story.connect(V4, 80)
    first_bytes(story, "http", None, address=True)


def a_typed_address_by_socks4a(story: Story) -> None:
    story.connect(str(V4), 80, protocol=Protocol.SOCKS4A)


def an_address_of_the_sixth_version_in_brackets(story: Story) -> None:
    story.connect("[2001:db8::1]", 443)
    story.connect(IPv6Address("2001:db8::2"), 443)


def hard_coded_peers_as_in_electrum_147(story: Story) -> None:
    """electrum #147: a list of servers holds addresses, and names too; all warned alike."""
    for address in PEERS:
        story.connect(address, 50002)
        first_bytes(story, "tls", None)
    story.connect("electrum.example.org", 50002)


def peers_of_a_swarm_as_in_bisq_535(story: Story) -> None:
    """bisq #535, Bitcoin's network under bisq: every peer is an address, on a port that no site has."""
    for address in PEERS:
        story.connect(address, 8333)


def peers_of_a_swarm_at_any_port(story: Story) -> None:
    """BitTorrent and the like: ports that no table knows."""
    for number, address in enumerate(PEERS):
        story.connect(address, 20000 + 577 * number)


def seeds_that_are_addresses_and_one_name(story: Story) -> None:
    """A web service given by address among names: nobody's resolver was asked."""
    for number, address in enumerate(PEERS):
        story.connect(address, 443)
        if number % 4 == 0:
            story.connect(f"seed{number}.example.org", 443)


def torsocks_resolves_over_tor_first(story: Story) -> None:
    """monero #6218 is torsocks failing; this is torsocks working."""
    for number, address in enumerate(PEERS):
        story.resolve(f"host{number}.example.org", str(address))
        story.connect(str(address), 443)
        first_bytes(story, "tls", f"host{number}.example.org")


def dnscrypt_stamps_as_in_discussion_3252(story: Story) -> None:
    """dnscrypt-proxy discussion 3252: a stamp holds the resolver's address, so Tor's warning is of no use."""
    for address in ("1.1.1.1", "9.9.9.9", "149.112.112.112", "8.8.8.8", "94.140.14.14", "185.222.222.222"):
        for _ in range(3):
            story.connect(IPv4Address(address), 443)
            first_bytes(story, "tls", None)


def dnscrypt_stamps_with_names_as_in_discussion_3252(story: Story) -> None:
    """The same, as dnscrypt-proxy speaks it: the stamp holds the resolver's name, too, and nothing was looked up."""
    for address, name in (("9.9.9.9", "dns.quad9.net"), ("1.1.1.1", "one.one.one.one"), ("8.8.8.8", "dns.google")):
        story.connect(IPv4Address(address), 443)
        first_bytes(story, "tls", name)
        story.connect(address, 853)
        first_bytes(story, "tls", name)


def dns_over_tls_by_address(story: Story) -> None:
    for address in PEERS[:9]:
        story.connect(address, 853)
        story.connect(address, 53)


def redis_on_loopback_as_in_freellmapi(story: Story) -> None:
    """A program with ALL_PROXY set asks the proxy for its own database; nothing of it concerns a resolver."""
    for host in ("127.0.0.1", "localhost", "redis.localhost"):
        story.connect(host, 6379)
    story.connect(IPv4Address("127.0.0.1"), 6379)


def users_of_a_dns_port_over_tor(story: Story) -> None:
    """Tor's manual, DNSPort and TransPort: names are looked up here, but over Tor; the warning is then wrong."""
    for number in range(9):
        name, address = f"site{number}.example.org", str(PEERS[number])
        story.ask(name, "A", tor=address)
        story.ask(name, "AAAA", tor=address)
        story.connect(IPv4Address(address), 443)
        first_bytes(story, "tls", name)


def prefetch_over_a_dns_port_over_tor(story: Story) -> None:
    """SwitchyOmega #1235 with the names going to Tor: seen twice, learned by nobody else."""
    for number in range(5):
        story.connect(f"site{number}.example.org")
        story.ask(f"site{number}.example.org", "HTTPS")


def chromiums_probes_for_lying_resolvers(story: Story) -> None:
    for label in ("qwhjdkzlmn", "xkcdpvbtrs", "plmoknijbu"):
        story.ask(label)


def firefox_asks_whether_doh_is_welcome(story: Story) -> None:
    story.ask("use-application-dns.net")


def one_look_up_of_a_program_that_is_not_meant_to_use_tor(story: Story) -> None:
    """dnsleaktest #24, DNS-Hop #5: where there is nothing to compare with, nothing has failed."""
    story.ask("updates.example.org")


def one_address_each_from_many_clients(story: Story) -> None:
    """Portmaster #1322: no name is put to an address only because somebody else has asked for it."""
    for number, address in enumerate(PEERS):
        peer = type(HERE)(f"192.0.2.{number}", 40000)
        story.resolve("cdn.example.org", str(address), peer)
        story.connect(address, 443, type(HERE)(f"192.0.2.{number + 100}", 40000))


Tell = Callable[[Story], None]

STORIES: list[tuple[Tell, DnsMode]] = [
    (a_typed_address_in_chromium, DnsMode.REFUSE),
    (a_typed_address_in_curl_with_a_proxy_that_resolves, DnsMode.REFUSE),
    (a_typed_address_by_socks4a, DnsMode.REFUSE),
    (an_address_of_the_sixth_version_in_brackets, DnsMode.REFUSE),
    (hard_coded_peers_as_in_electrum_147, DnsMode.REFUSE),
    (peers_of_a_swarm_as_in_bisq_535, DnsMode.REFUSE),
    (peers_of_a_swarm_at_any_port, DnsMode.REFUSE),
    (seeds_that_are_addresses_and_one_name, DnsMode.REFUSE),
    (torsocks_resolves_over_tor_first, DnsMode.REFUSE),
    (dnscrypt_stamps_as_in_discussion_3252, DnsMode.REFUSE),
    (dnscrypt_stamps_with_names_as_in_discussion_3252, DnsMode.REFUSE),
    (dns_over_tls_by_address, DnsMode.REFUSE),
    (users_of_a_dns_port_over_tor, DnsMode.TOR),
    (prefetch_over_a_dns_port_over_tor, DnsMode.TOR),
    (chromiums_probes_for_lying_resolvers, DnsMode.REFUSE),
    (firefox_asks_whether_doh_is_welcome, DnsMode.REFUSE),
    (one_look_up_of_a_program_that_is_not_meant_to_use_tor, DnsMode.REFUSE),
    (one_address_each_from_many_clients, DnsMode.REFUSE),
]
SILENT = (torsocks_resolves_over_tor_first,)


def told(tell: Tell, mode: Mode, dns: DnsMode, process: Process | None) -> list[LeakFound]:
    """The findings of a story whose every connection is looked up."""
    story = Story(mode, dns)
    tell(story)
    folded = fold(table())
    found: list[LeakFound] = []
    for event in story.events:
        if isinstance(event, RequestDecided):
            found += folded.feed(ProcessSought(event.at, event.conn))
            found += folded.feed(event)
            found += folded.feed(ProcessIdentified(event.at, event.conn, process, None if process else "gone"))
        else:
            found += folded.feed(event)
    return found


@pytest.mark.parametrize("process", [None, ELECTRUM, CURL], ids=["unknown", "electrum", "curl"])
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("tell", "dns"), STORIES, ids=[tell.__name__ for tell, _ in STORIES])
def test_it_stays_below_probable(tell: Tell, dns: DnsMode, mode: Mode, process: Process | None) -> None:
    found = told(tell, mode, dns, process)
    assert [each for each in found if each.confidence is not Confidence.POSSIBLE] == []
    assert bool(found) is (tell not in SILENT)


@pytest.mark.parametrize("process", [FIREFOX, CHROMIUM])
def test_a_typed_address_in_a_browser_has_nothing_to_change(process: Process) -> None:
    found = told(a_typed_address_in_chromium, Mode.WARN, DnsMode.REFUSE, process)
    assert {(each.confidence, each.advice) for each in found} == {(Confidence.POSSIBLE, "advice.for.browser.text")}
    assert "typed_literal_likely" in found[0].evidence


def a_typed_address_in_firefox_without_remote_dns(story: Story) -> None:
    """Measured: the very setting that leaks every name gives a typed address the form of one that was looked up."""
    story.connect(V4, 443)
    first_bytes(story, "tls", None)


def test_a_typed_address_in_a_browser_that_looks_names_up_is_possible_as_long_as_it_can_be_heard() -> None:
    found = told(a_typed_address_in_firefox_without_remote_dns, Mode.WARN, DnsMode.REFUSE, FIREFOX)
    assert {(each.confidence, each.advice) for each in found} == {(Confidence.POSSIBLE, "advice.for.firefox.socks5")}
    assert found[-1].evidence[-3:] == ("tls_without_sni", "typed_literal_likely", "local_lookups_on")


@pytest.mark.parametrize(("process", "sure"), [(FIREFOX, Confidence.PROBABLE), (CURL, Confidence.POSSIBLE)])
def test_a_name_that_may_be_an_outer_one_is_a_sign_only_where_look_ups_are_known(
    process: Process, sure: Confidence
) -> None:
    """Browsers send the extension always (GREASE): what is certain of them is not lost by it."""

    def site_with_an_encrypted_hello(story: Story) -> None:
        story.connect(V4, 443)
        first_bytes(story, "tls", "cover.example.org", encrypted=True)

    found = told(site_with_an_encrypted_hello, Mode.WARN, DnsMode.REFUSE, process)
    assert (found[-1].confidence, found[-1].name) == (sure, "cover.example.org")
    assert "ech_extension" in found[-1].evidence


def test_a_refused_address_of_a_browser_that_looks_names_up_is_probably_a_name_s() -> None:
    """Nobody hears what it would have said. That it looks names up is certain, that this one was typed is rare."""
    (found, *_) = told(a_typed_address_in_firefox_without_remote_dns, Mode.BLOCK, DnsMode.REFUSE, FIREFOX)
    assert (found.confidence, found.evidence) == (Confidence.PROBABLE, ("address_request", "local_lookups_on"))


def test_redis_on_loopback_is_told_as_misrouted_and_as_nothing_else() -> None:
    """Its destination is certain, so its confidence is; but no name is in question, and it is no leak of one."""
    found = told(redis_on_loopback_as_in_freellmapi, Mode.WARN, DnsMode.REFUSE, None)
    assert {(each.kind, each.rule, each.advice) for each in found} == {
        ("local_destination", "L23", "advice.local_destination")
    }


def test_benign_endpoints_come_with_the_reason() -> None:
    found = told(dnscrypt_stamps_as_in_discussion_3252, Mode.WARN, DnsMode.REFUSE, None)
    assert {each.rule for each in found} == {"L21"}
    assert all("known_doh_address" in each.evidence for each in found)


@pytest.mark.parametrize("tell", [hard_coded_peers_as_in_electrum_147, peers_of_a_swarm_as_in_bisq_535])
def test_so_do_peers(tell: Tell) -> None:
    found = told(tell, Mode.WARN, DnsMode.REFUSE, ELECTRUM)
    assert all("peer_port" in each.evidence for each in found)


@pytest.mark.parametrize("mode", Mode)
def test_what_the_user_lets_pass_is_known_to_the_user(mode: Mode) -> None:
    """Nobody's thread: a list of endpoints that are meant to be reached by address, whatever is said to them."""
    story = Story(mode, rules=(Rule(network=("198.51.100.0/24",), allow=True),))
    for address in PEERS[:9]:
        story.connect(address, 443)
        first_bytes(story, "tls", "api.example.org")
    assert {each.confidence for each in story.found} == {Confidence.POSSIBLE}
    assert all("allowed_by_rule" in each.evidence for each in story.found)
    story.connect(V4, 443)
    first_bytes(story, "tls", "www.example.org")
    assert story.found[-1].confidence is Confidence.PROBABLE, "other addresses are what they were"


def resolver_here(story: Story) -> None:
    """The same shape, and a leak: addresses of sites, one after the other, and never a name."""
    for address in PEERS[:6]:
        story.connect(address, 443)


def site_behind_an_address(story: Story) -> None:
    """The same address, and a leak: the name that was looked up stands in the first bytes."""
    story.connect(V4, 443)
    first_bytes(story, "tls", "www.example.org")


@pytest.mark.parametrize("tell", [resolver_here, site_behind_an_address])
def test_a_leak_of_the_same_shape_is_told_apart(tell: Tell) -> None:
    found = told(tell, Mode.WARN, DnsMode.REFUSE, None)
    assert found[-1].confidence is Confidence.PROBABLE
