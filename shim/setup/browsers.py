"""The recipes of programs that show pages and mail: Firefox, Thunderbird, Chromium.

Data and nothing else. Sources: shim/advice/programs.toml; measured with Firefox ESR 153 and Chromium 156.
"""

from __future__ import annotations

import json

from shim.setup.edits import Block, Edits
from shim.setup.recipe import Piece, Recipe

_PROXY: dict[str, object] = {
    "network.proxy.type": 1,
    "network.proxy.socks": "$host",
    "network.proxy.socks_port": 0,  # its place is taken by $port, see _line
    "network.proxy.socks_version": 5,
    "network.proxy.socks5_remote_dns": True,
    "network.proxy.socks_remote_dns": True,
    "network.proxy.no_proxies_on": "",
    "network.proxy.allow_bypass": False,
    "network.proxy.failover_direct": False,
}
_NAMES: dict[str, object] = {
    "network.dns.native_https_query": False,
    "network.dns.disablePrefetch": True,
    "network.dns.blockDotOnion": False,
    "network.trr.mode": 5,
    "media.peerconnection.ice.proxy_only": True,
}


def _line(key: str, value: object) -> str:
    return f'user_pref("{key}", {"$port" if key.endswith("socks_port") else json.dumps(value)});'


_USER_JS = tuple(_line(key, value) for key, value in (_PROXY | _NAMES).items())
_LOCKED = (
    "network.proxy.allow_bypass",
    "network.proxy.failover_direct",
    "network.dns.native_https_query",
    "network.dns.disablePrefetch",
    "network.dns.blockDotOnion",
    "media.peerconnection.ice.proxy_only",
)
_FIREFOX_POLICIES = {
    "policies": {
        "Proxy": {
            "Mode": "manual",
            "SOCKSProxy": "$at",
            "SOCKSVersion": 5,
            "UseProxyForDNS": True,
            "Passthrough": "",
            "Locked": True,
        },
        "DNSOverHTTPS": {"Enabled": False, "Locked": True},
        "Preferences": {key: {"Value": (_PROXY | _NAMES)[key], "Status": "locked"} for key in _LOCKED},
    }
}
_CHROMIUM_POLICIES = {
    "ProxyMode": "fixed_servers",
    "ProxyServer": "socks5://$at",
    "DnsOverHttpsMode": "off",
    "WebRtcIPHandling": "disable_non_proxied_udp",
    "QuicAllowed": False,
    "NetworkPredictionOptions": 2,
}

BROWSERS = {
    "firefox": Recipe(
        notes=("setup.note.tor_browser", "setup.note.firefox_versions", "setup.note.firefox_pac", "setup.note.restart"),
        pieces=(
            Piece("file", "\n".join(_USER_JS), "user.js", "setup.about.user_js"),
            Piece(
                "file",
                json.dumps(_FIREFOX_POLICIES, indent=2),
                "/etc/firefox/policies/policies.json",
                "setup.about.policies",
            ),
        ),
        edits=Edits((Block(_USER_JS),)),
        asks_for="profile",
    ),
    "thunderbird": Recipe(
        notes=("setup.note.firefox_versions", "setup.note.thunderbird_accounts", "setup.note.restart"),
        pieces=(Piece("file", "\n".join(_USER_JS), "user.js", "setup.about.user_js"),),
        edits=Edits((Block(_USER_JS),)),
        asks_for="profile",
    ),
    "chromium": Recipe(
        notes=("setup.note.tor_browser", "setup.note.chromium_schemes", "setup.note.chromium_flags"),
        pieces=(
            Piece(
                "command",
                'chromium --proxy-server=socks5://$at --host-resolver-rules="MAP * ~NOTFOUND , EXCLUDE $host" '
                "--webrtc-ip-handling-policy=disable_non_proxied_udp",
            ),
            Piece(
                "file",
                json.dumps(_CHROMIUM_POLICIES, indent=2),
                "/etc/chromium/policies/managed/shim.json",
                "setup.about.policies",
            ),
        ),
    ),
}
