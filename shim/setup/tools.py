"""The recipes of tools of the command line, of languages, and of what stands between a program and the network.

Data and nothing else. Sources: shim/advice/programs.toml, where each is named.
"""

from __future__ import annotations

from shim.setup.edits import Edits, Slot
from shim.setup.recipe import CONFIG, Piece, Recipe

_URL = "socks5h://$at"
_CURL_LINE = f'proxy = "{_URL}"'
_CURL_OTHERS = r"(?:--?)?(?:proxy|socks4|socks4a|socks5|socks5-hostname|proxy1\.0)(?=[\s=:\"]|$)|-x"
_VARIABLES = "".join(f"export {name}={_URL}\n" for name in ("ALL_PROXY", "all_proxy")).rstrip()
_REQUESTS = """\
import requests

session = requests.Session()
session.proxies = {"http": "socks5h://$at", "https": "socks5h://$at"}"""
_JAVA = """\
Proxy proxy = new Proxy(Proxy.Type.SOCKS, new InetSocketAddress("$host", $port));
Socket socket = new Socket(proxy);
socket.connect(InetSocketAddress.createUnresolved(name, 443));"""

TOOLS = {
    "curl": Recipe(
        notes=("setup.note.curl_order", "setup.note.curl_address"),
        pieces=(Piece("file", _CURL_LINE, "~/.curlrc"),),
        edits=Edits((Slot(_CURL_LINE, _CURL_OTHERS),), unless=r"(?:--)?next\s*$|-:"),
        homes=(
            ("CURL_HOME", ".curlrc"),
            ("XDG_CONFIG_HOME", "curlrc"),
            ("HOME", ".curlrc"),
            ("HOME", ".config/curlrc"),
        ),
        default=2,
    ),
    "git": Recipe(
        notes=("setup.note.git_ssh", "setup.note.git_urls"),
        pieces=(Piece("command", f"git config --global http.proxy {_URL}"),),
        edits=Edits((Slot(f"proxy = {_URL}", r"(?i:proxy)\s*(?:=|[#;]|$)", "(?i:http)", "[http]", "\t"),)),
        homes=(("HOME", ".gitconfig"), (CONFIG, "git/config")),
    ),
    "pip": Recipe(
        notes=("setup.note.pip_pysocks", "setup.note.pip_variables"),
        pieces=(Piece("file", f"[global]\nproxy = {_URL}", "~/.config/pip/pip.conf"),),
        edits=Edits(
            (Slot(f"proxy = {_URL}", r"(?i:proxy)\s*[=:]", "global", "[global]", folded=True),),
        ),
        homes=((CONFIG, "pip/pip.conf"),),
    ),
    "npm": Recipe(
        notes=("setup.note.npm_variables", "setup.note.npm_old"),
        pieces=(Piece("file", f"proxy={_URL}\nhttps-proxy={_URL}", "~/.npmrc"),),
        edits=Edits(
            (Slot(f"proxy={_URL}", r"proxy\s*(?:=|$)"), Slot(f"https-proxy={_URL}", r"https-proxy\s*(?:=|$)")),
            unless=r"\[",
        ),
        homes=(("HOME", ".npmrc"),),
    ),
    "apt": Recipe(
        notes=("setup.note.apt_schemes", "setup.note.system_file"),
        pieces=(
            Piece(
                "file",
                f'Acquire::http::Proxy "{_URL}";\nAcquire::https::Proxy "{_URL}";',
                "/etc/apt/apt.conf.d/90shim",
            ),
        ),
    ),
    "ssh": Recipe(
        notes=("setup.note.ssh_nc", "setup.note.ssh_known"),
        pieces=(
            Piece(
                "file",
                "Host *\n    ProxyCommand nc -X 5 -x $at %h %p\n    CanonicalizeHostname no\n    VerifyHostKeyDNS no",
                "~/.ssh/config",
            ),
        ),
    ),
    "proxychains4": Recipe(
        notes=("setup.note.preload", "setup.note.proxychains_places"),
        pieces=(
            Piece(
                "file",
                "strict_chain\nproxy_dns\n\n[ProxyList]\nsocks5 $host $port",
                "~/.proxychains/proxychains.conf",
            ),
        ),
        edits=Edits(
            (
                Slot("proxy_dns", r"proxy_dns", ""),
                Slot("strict_chain", r"(?:strict|dynamic|random|round_robin)_chain", ""),
                Slot("socks5 $host $port", r"[^#\s]", "ProxyList", "[ProxyList]"),
            )
        ),
        homes=(("HOME", ".proxychains/proxychains.conf"),),
    ),
    "torsocks": Recipe(
        notes=("setup.note.preload", "setup.note.torsocks_file"),
        pieces=(
            Piece("command", "torsocks --address $host --port $port PROGRAM"),
            Piece("file", "TorAddress $host\nTorPort $port", "/etc/tor/torsocks.conf"),
        ),
        edits=Edits((Slot("TorAddress $host", r"TorAddress\b"), Slot("TorPort $port", r"TorPort\b"))),
        asks_for="file",
    ),
    "privoxy": Recipe(
        notes=("setup.note.privoxy_others", "setup.note.system_file"),
        pieces=(Piece("file", "forward-socks5t / $at .", "/etc/privoxy/config"),),
    ),
    "requests": Recipe(
        notes=("setup.note.pip_pysocks", "setup.note.python_others"),
        pieces=(Piece("variables", _VARIABLES), Piece("code", _REQUESTS)),
    ),
    "java": Recipe(
        notes=("setup.note.java_unresolved", "setup.note.java_http"),
        pieces=(
            Piece("command", "java -DsocksProxyHost=$host -DsocksProxyPort=$port -DsocksProxyVersion=5 PROGRAM"),
            Piece("code", _JAVA),
        ),
    ),
    "env": Recipe(
        notes=("setup.note.env_obey", "setup.note.env_ignore"),
        pieces=(Piece("variables", _VARIABLES),),
    ),
    "wget": Recipe(
        notes=("setup.note.wget_none", "setup.note.http_port"),
        pieces=(
            Piece("command", "torsocks --address $host --port $port wget URL"),
            Piece("command", f"curl --proxy {_URL} --remote-name URL"),
        ),
    ),
    "go": Recipe(
        notes=("setup.note.go_resolves", "setup.note.go_preload"),
        pieces=(Piece("command", "HTTP_PROXY=socks5://$at HTTPS_PROXY=socks5://$at PROGRAM"),),
    ),
}
