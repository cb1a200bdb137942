"""Where names go that programs look up themselves: what the resolver's settings say of it.

Looks at settings only, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from shim.address import Address
from shim.doctor.machine import RESOLV_CONF, UPLINKS, Machine
from shim.doctor.remark import Remark, Status
from shim.doctor.settings_files import ResolvConf

DNS_PORT = 53
STUBS = ("127.0.0.53", "127.0.0.54")
"""systemd-resolved's own."""

_DEFAULT_NAMESERVER = "127.0.0.1"
"""resolv.conf(5): whom the C library asks when no server is named."""

_NOTHING = ResolvConf()
_MULTICAST = ("mdns", "mdns4", "mdns6", "mdns_minimal", "mdns4_minimal", "mdns6_minimal")
_HARMLESS = ("files", "dns", "myhostname", "mymachines", "resolve", *_MULTICAST)


def look(machine: Machine, sensor: Address | None) -> Iterator[Remark]:
    """Everything that can be said without asking anybody. `sensor` is where the shim listens for DNS, if known."""
    sources = machine.hosts_sources()
    by_resolved = "resolve" in sources and machine.runs_resolved()
    if by_resolved:
        yield Remark("nss_resolve", Status.NOTE)
    if "dns" in sources:
        yield from _nameservers(machine, sensor)
    elif not by_resolved:
        yield Remark("nss_without_dns", Status.NOTE, (("sources", " ".join(sources)),))
    if by_resolved or any(server in STUBS for server in _asked(machine)):
        yield from _resolved(machine, sensor)
    yield from _sources(sources)
    if machine.runs_nscd():
        yield Remark("nscd", Status.NOTE, mend="flush")
    if search := (machine.resolv_conf() or machine.uplinks() or _NOTHING).search:
        yield Remark("search", Status.NOTE, (("suffixes", ", ".join(search)),))


def _asked(machine: Machine) -> tuple[str, ...]:
    found = machine.resolv_conf()
    return (found and found.nameservers) or (_DEFAULT_NAMESERVER,)


def _nameservers(machine: Machine, sensor: Address | None) -> Iterator[Remark]:
    found = machine.resolv_conf()
    if found is None:
        yield Remark("resolv_conf_missing", Status.NOTE, (("file", RESOLV_CONF),))
    for server in _asked(machine):
        if server not in STUBS:  # told of with all of systemd-resolved
            yield _of_server(server, RESOLV_CONF, sensor)


def _of_server(server: str, file: str, sensor: Address | None) -> Remark:
    """One server that is asked at port 53, the only one that resolv.conf knows."""
    about = (("server", server), ("file", file))
    address = _address(server)
    if address is None:
        return Remark("server_unreadable", Status.UNKNOWN, about)
    if sensor is not None and not sensor.is_unix and ip_address(sensor.host) == address:
        if sensor.port == DNS_PORT:
            return Remark("server_is_sensor", Status.OK, about)
        return Remark("server_other_port", Status.UNKNOWN, (*about, ("port", str(sensor.port))), "redirect")
    if address.is_loopback:
        return Remark("server_local", Status.UNKNOWN, about, "sensor")
    return Remark("server_private" if address.is_private else "server_public", Status.LEAK, about, "sensor")


def _resolved(machine: Machine, sensor: Address | None) -> Iterator[Remark]:
    """systemd-resolved: whom it asks itself, and what it says in the local network."""
    settings, uplinks = machine.resolved(), machine.uplinks()
    others = [server for server in (uplinks or _NOTHING).nameservers if not _is_sensor(server, sensor)]
    for server in others:
        yield _of_server(server, UPLINKS, sensor)
    if not others:
        if settings.dns and all(_is_sensor(server, sensor) for server in settings.dns):
            yield Remark("resolved_asks_sensor", Status.OK, (("servers", ", ".join(settings.dns)),))
        else:
            yield Remark("resolved_unknown", Status.UNKNOWN, mend="resolved")
    if settings.llmnr is not False:
        yield Remark("resolved_llmnr", Status.NOTE, mend="resolved")
    if settings.mdns is not False:
        yield Remark("resolved_mdns", Status.NOTE, mend="resolved")


def _is_sensor(server: str, sensor: Address | None) -> bool:
    """A server as systemd writes it: an address, with a port in [V6]:PORT form or behind a colon, and #NAME or %IF."""
    if sensor is None or sensor.is_unix:
        return False
    text = server.partition("#")[0]
    host, colon, port = text.rpartition(":")
    if not (colon and (host.startswith("[") or ":" not in host)):
        host, port = text, str(DNS_PORT)
    return _address(host.strip("[]")) == ip_address(sensor.host) and port == str(sensor.port)


def _sources(sources: tuple[str, ...]) -> Iterator[Remark]:
    if multicast := [source for source in sources if source in _MULTICAST]:
        yield Remark("nss_multicast", Status.NOTE, (("sources", " ".join(multicast)),))
    if strange := [source for source in sources if source not in _HARMLESS]:
        yield Remark("nss_other", Status.UNKNOWN, (("sources", " ".join(strange)),))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None
