"""Programs as they leak, and as the advice on them says: what the advice must hold is what makes the difference.

Starts nothing itself; settings files go into the folder of the test.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.clients import Command, Program, Task, chromium, curl, firefox, privoxy, proxychains, requests, socat, torsocks

SOCKS_PROXY_AGENT = Path("/usr/lib/node_modules/npm/node_modules/socks-proxy-agent")
"""npm brings it along, so that no package has to be fetched."""

_PYSOCKS = """
import sys, socket, socks
host, port, kind, way = sys.argv[1:]
if way == "connect":
    sock = socks.socksocket()
    sock.set_proxy(getattr(socks, kind), "127.0.0.1", int(port), rdns=True)
    sock.connect((host, 80))
elif way == "rdns=False":
    sock = socks.socksocket()
    sock.set_proxy(getattr(socks, kind), "127.0.0.1", int(port), rdns=False)
    sock.connect((host, 80))
else:
    socks.set_default_proxy(getattr(socks, kind), "127.0.0.1", int(port))
    socket.socket = socks.socksocket
    sock = socket.create_connection((host, 80))
sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(sock.makefile().read())
"""
_NODE = """
const {SocksProxyAgent} = require(process.argv[2]);
const agent = new SocksProxyAgent(process.argv[3]);
require("http").get(process.argv[4], {agent}, (page) => page.pipe(process.stdout)).on("error", console.error);
"""
_JAVA = """
import java.net.*;
public class Fetch {
    public static void main(String[] words) throws Exception {
        if (words[0].equals("url")) {
            System.out.write(new URL(words[1]).openStream().readAllBytes());
        } else if (words[0].equals("client")) {
            var request = java.net.http.HttpRequest.newBuilder(URI.create(words[1])).build();
            var asText = java.net.http.HttpResponse.BodyHandlers.ofString();
            System.out.print(java.net.http.HttpClient.newHttpClient().send(request, asText).body());
        } else {
            var proxy = new Proxy(Proxy.Type.SOCKS, new InetSocketAddress("127.0.0.1", Integer.parseInt(words[2])));
            var unresolved = words[0].equals("unresolved");
            try (var socket = new Socket(proxy)) {
                socket.connect(unresolved ? InetSocketAddress.createUnresolved(words[1], 80)
                                          : new InetSocketAddress(words[1], 80), 10000);
                socket.getOutputStream().write("GET / HTTP/1.0\\r\\n\\r\\n".getBytes());
                System.out.write(socket.getInputStream().readAllBytes());
            }
        }
        System.out.flush();
    }
}
"""
_URLLIB = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read())"
_STATIC = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int by_socks(const char *name, int port, struct sockaddr_in to) {
    char message[600], answer[64];
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_port = htons(port);
    int length = sprintf(message, "%c%c%c%c%c%c%c%c%s%c%c", 5, 1, 0, 5, 1, 0, 3, (int) strlen(name), name, 0, 80);
    return connect(sock, (void *) &to, sizeof to) || write(sock, message, length) < 0 || read(sock, answer, 64) < 1;
}

int main(int count, char **words) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (count > 2)
        return by_socks(words[1], atoi(words[2]), to);
    char query[512] = {0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, *at = query + 12;
    for (char *label = strtok(words[1], "."); label; label = strtok(NULL, "."))
        at += sprintf(at, "%c%s", (int) strlen(label), label);
    memcpy(at, "\0\0\1\0\1", 5);
    int sock = socket(AF_INET, SOCK_DGRAM, 0);
    sendto(sock, query, at + 5 - query, 0, (void *) &to, sizeof to);
    return recv(sock, query, sizeof query, 0) < 0;
}
"""
_GET = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | "


@dataclass(frozen=True)
class Case:
    """`before` leaks: the finding names `program` and bears `advice`, which holds `setting`; `after` obeys it.

    `service` is the first label of the host, and so what stands behind it: see rig.services.
    """

    program: str
    before: Program
    advice: str
    setting: str
    after: Program
    kind: str = "address_only"
    service: str = "page"

    def __str__(self) -> str:
        return f"{self.program} {self.advice} {self.setting}"


def shell(script: str, *programs: str) -> Program:
    """A command line for sh; {host}, {port}, {socks}, {http} and {folder} are filled in."""

    def command(task: Task) -> Command:
        filled = script.format(host=task.host, port=task.port, socks=task.socks, http=task.http, folder=task.folder)
        return Command(programs, ["sh", "-c", filled], {"HOME": str(task.folder)})

    return command


def set_by(variables: Sequence[str], value: str, program: Program) -> Program:
    """The same with variables of the environment; {socks} and {http} are filled in."""

    def command(task: Task) -> Command:
        told = program(task)
        given = dict.fromkeys(variables, value.format(socks=task.socks, http=task.http))
        return Command(told.programs, told.argv, told.env | given, told.picture)

    return command


def plain_curl(task: Task) -> Command:
    """curl without a word about proxies."""
    return Command(("curl",), ["curl", "-sS", "-m", "10", task.url], {"HOME": str(task.folder)})


def git(scheme: str) -> Program:
    """git over HTTP; there is no repository, so it fails after its first request."""
    return lambda task: Command(
        ("git",), ["git", "-c", f"http.proxy={scheme}://{task.socks}", "ls-remote", f"{task.url}x.git"]
    )


def pip(scheme: str) -> Program:
    """pip, looking for a package that is not there."""

    def command(task: Task) -> Command:
        argv = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--retries", "0"]
        argv += ["--proxy", f"{scheme}://{task.socks}", "download", "--no-deps", "--dest", str(task.folder)]
        argv += ["--index-url", f"{task.url}simple", "--trusted-host", task.host, "nothing"]
        return Command((), argv)

    return command


def npm(scheme: str) -> Program:
    """npm, looking for a package that is not there."""

    def command(task: Task) -> Command:
        argv = ["npm", "--cache", f"{task.folder}/npm", "--registry", task.url, "--fetch-retries", "0"]
        argv += ["--proxy", f"{scheme}://{task.socks}", "view", "nothing"]
        return Command(("npm",), argv, {"HOME": str(task.folder)})

    return command


def pysocks(kind: str, way: str) -> Program:
    """PySocks by itself."""
    return lambda task: Command((), [sys.executable, "-c", _PYSOCKS, task.host, str(task.port), kind, way])


def node(scheme: str) -> Program:
    """Node with socks-proxy-agent."""

    def command(task: Task) -> Command:
        script = task.file("fetch.js", _NODE)
        return Command(("node",), ["node", script, str(SOCKS_PROXY_AGENT), f"{scheme}://{task.socks}", task.url])

    return command


def java(*words: str, options: Sequence[str] = ()) -> Program:
    """Java's own clients; {host}, {port}, {http_port} are filled in."""

    def command(task: Task) -> Command:
        source = task.file("java/Fetch.java", _JAVA)
        filled = {"host": task.host, "port": str(task.port), "http_port": task.http.rpartition(":")[2]}
        argv = ["java", "-XX:TieredStopAtLevel=1", *(word.format(**filled) for word in options), source]
        return Command(("java", "javac"), [*argv, *(word.format(**filled) for word in words)])

    return command


def apt(scheme: str) -> Program:
    """apt-get update from a list of its own."""

    def command(task: Task) -> Command:
        folder = task.folder / "apt"
        for made in ("lists/partial", "cache/archives/partial"):
            (folder / made).mkdir(parents=True, exist_ok=True)
        sources = task.file("apt/sources.list", f"deb [trusted=yes] {task.url}debian stable main\n")
        options = {
            "Acquire::http::Proxy": f"{scheme}://{task.socks}",
            "Acquire::Retries": "0",
            "APT::Sandbox::User": "root",
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": str(folder / "lists"),
            "Dir::Cache": str(folder / "cache"),
        }
        argv = ["timeout", "8", "apt-get", *(word for item in options.items() for word in ("-o", "=".join(item)))]
        return Command(("apt-get", "timeout"), [*argv, "update"])

    return command


def static(arguments: str) -> Program:
    """A program without a dynamic linker, under torsocks: it asks a resolver, or (with a port) hands its name over."""

    def command(task: Task) -> Command:
        source = task.file("static.c", _STATIC)
        conf = task.file("torsocks.conf", f"TorAddress 127.0.0.1\nTorPort {task.port}\n")
        build = f"gcc -static -o {task.folder}/static {source}"
        run = f"timeout 5 torsocks {task.folder}/static {task.host} {arguments.format(port=task.port)}"
        told = shell(f"{build} && {run}", "gcc", "torsocks", "timeout")(task)
        return Command(told.programs, told.argv, told.env | {"TORSOCKS_CONF_FILE": conf})

    return command


def pac_file(task: Task) -> Command:
    """Firefox with the shim in a PAC file; its own settings otherwise keep everything in."""
    pac = f'function FindProxyForURL(url, host) {{ return "SOCKS5 {task.socks}"; }}'
    address = Path(task.file("proxy.pac", pac)).as_uri()
    told = firefox(5)(task)
    with (task.folder / "firefox" / "user.js").open("a") as settings:
        settings.write('user_pref("network.proxy.type", 2);\n')
        settings.write(f'user_pref("network.proxy.autoconfig_url", "{address}");\n')
    return told


def firefox_by_http(task: Task) -> Command:
    """Firefox that takes the SOCKS port for an HTTP proxy."""
    told = firefox(5)(task)
    with (task.folder / "firefox" / "user.js").open("a") as settings:
        settings.write('user_pref("network.proxy.socks", "");\n')
        settings.write('user_pref("network.proxy.http", "127.0.0.1");\n')
        settings.write(f'user_pref("network.proxy.http_port", {task.port});\n')
    argv = ["timeout", "8", *told.argv]  # it waits for its proxy for ever
    return Command((*told.programs, "timeout"), argv, told.env, told.picture)


def chromium_without(task: Task) -> Command:
    """Chromium without a word about proxies. What it asks of its maker is left out: the next one asks that, too."""
    told = chromium("socks5")(task)
    maker = ", ".join(f"MAP *.{domain} ~NOTFOUND" for domain in ("google.com", "googleapis.com", "gstatic.com"))
    argv = ["timeout", "8", *(word for word in told.argv if not word.startswith("--proxy-server"))]
    return Command(("chromium", "timeout"), [*argv, f"--host-resolver-rules={maker}"], told.env)


def chromium_that_resolves_nothing(task: Task) -> Command:
    """Chromium with all switches of its advice."""
    told = chromium("socks5")(task)
    rules = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
    webrtc = "--webrtc-ip-handling-policy=disable_non_proxied_udp"
    return Command(told.programs, [*told.argv, rules, webrtc], told.env)


def chromium_by_variable(task: Task) -> Command:
    """Chromium that finds its proxy in the environment."""
    told = chromium("socks5")(task)
    argv = ["timeout", "8", *(word for word in told.argv if not word.startswith("--proxy-server"))]
    return Command(("chromium", "timeout"), argv, told.env | {"all_proxy": f"socks5://{task.socks}"})


def nc(options: str) -> Program:
    """OpenBSD's nc."""
    return shell(_GET + f"nc -w 5 {options} {{host}} 80", "nc.openbsd", "nc")


def ncat(resolver: str) -> Program:
    """Nmap's nc."""
    return shell(_GET + f"ncat -w 5 --proxy {{socks}} --proxy-type socks5 --proxy-dns {resolver} {{host}} 80", "ncat")


def lynx() -> Program:
    """The text browser that knows SOCKS5."""
    return shell("lynx -socks5_proxy={socks} -dump http://{host}/", "lynx")


# Names come from the hosts file.
BY_ADDRESS = [
    Case("curl", curl("--socks5"), "curl.socks5", "--socks5-hostname", curl("--socks5-hostname")),
    Case("curl", curl("--socks4"), "curl.socks4", "--socks4a", curl("--socks4a")),
    Case(
        "curl",
        set_by(["ALL_PROXY"], "socks://{socks}", plain_curl),
        "curl.socks4",
        "socks5h://",
        set_by(["ALL_PROXY"], "socks5h://{socks}", plain_curl),
    ),
    Case(
        "curl",
        set_by(["http_proxy"], "http://{socks}", plain_curl),
        "curl.not_socks",
        "socks5h://",
        set_by(["http_proxy"], "socks5h://{socks}", plain_curl),
        "not_socks",
    ),
    Case("git-remote-http", git("socks5"), "git.dns", "socks5h://", git("socks5h")),
    Case("git-remote-http", git("socks4"), "git.dns", "socks5h://", git("socks5h")),
    Case("pip", pip("socks5"), "pip.dns", "socks5h://", pip("socks5h")),
    Case("npm", npm("socks5"), "npm.dns", "socks5h://", npm("socks5h")),
    Case("python", requests("socks5"), "python.socks5", "socks5h://", requests("socks5h")),
    Case("python", requests("socks4"), "python.socks4", "socks4a://", requests("socks4a")),
    Case("python", pysocks("SOCKS5", "rdns=False"), "python.socks5", "rdns=True", pysocks("SOCKS5", "connect")),
    Case("python", pysocks("SOCKS4", "rdns=False"), "python.socks4", "rdns=True", pysocks("SOCKS4", "connect")),
    Case("python", pysocks("SOCKS5", "create_connection"), "python.socks5", "connect()", pysocks("SOCKS5", "connect")),
    Case("fetch.js", node("socks5"), "node.dns", "socks5h://", node("socks5h")),
    Case("fetch.js", node("socks4"), "node.dns", "socks4a://", node("socks4a")),
    Case(
        "Fetch.java",
        java("resolved", "{host}", "{port}"),
        "java.dns",
        "InetSocketAddress.createUnresolved(host, port)",
        java("unresolved", "{host}", "{port}"),
    ),
    Case(
        "Fetch.java",
        java("url", "http://{host}/", options=("-DsocksProxyHost=127.0.0.1", "-DsocksProxyPort={port}")),
        "java.dns",
        "-Dhttps.proxyHost=HOST -Dhttps.proxyPort=PORT",
        java("url", "https://{host}/", options=("-Dhttps.proxyHost=127.0.0.1", "-Dhttps.proxyPort={http_port}")),
        service="hangup",
    ),
    Case("privoxy", privoxy("forward-socks4"), "privoxy.dns", "forward-socks5t", privoxy("forward-socks5t")),
    Case("privoxy", privoxy("forward-socks4"), "privoxy.dns", "forward-socks4a", privoxy("forward-socks4a")),
    Case("socat", socat("SOCKS4"), "socat.dns", "SOCKS4A:", socat("SOCKS4A")),
    Case("nc", nc("-X 4 -x {socks}"), "nc.socks4", "-X 5", nc("-X 5 -x {socks}")),
    Case("ncat", ncat("local"), "ncat.dns", "--proxy-dns remote", ncat("remote")),
    Case("http", apt("http"), "apt.dns", "socks5h://", apt("socks5h"), "not_socks"),
    Case(
        "firefox-esr",
        firefox(5, socks5_remote_dns=False),
        "firefox.socks5",
        "network.proxy.socks5_remote_dns = true",
        firefox(5, socks5_remote_dns=True),
    ),
    Case("firefox-esr", firefox(4), "firefox.socks4", "network.proxy.socks_version = 5", firefox(5)),
    Case(
        "firefox-esr",
        firefox(4),
        "firefox.socks4",
        "network.proxy.socks_remote_dns = true",
        firefox(4, socks_remote_dns=True),
    ),
    Case(
        "firefox-esr",
        firefox_by_http,
        "firefox.not_socks",
        "network.proxy.socks_version = 5",
        firefox(5),
        "not_socks",
    ),
    Case("chromium", chromium("socks4"), "chromium.socks4", "--proxy-server=socks5://", chromium("socks5")),
    Case(
        "chromium",
        chromium_by_variable,
        "chromium.not_socks",
        "--proxy-server=socks5://",
        chromium("socks5"),
        "not_socks",
    ),
]

# Names are asked of the sensor, which refuses: what needs none gets through.
BY_QUERY = [
    Case(
        "curl",
        plain_curl,
        "curl.dns",
        "ALL_PROXY",
        set_by(["ALL_PROXY"], "socks5h://{socks}", plain_curl),
        "dns_query",
    ),
    Case("nc", nc(""), "nc.socks4", "-X 5", nc("-X 5 -x {socks}"), "dns_query"),
    Case(
        "wget",
        shell("wget -q -t 1 -T 5 -O - http://{host}/", "wget"),
        "wget.dns",
        "https_proxy=http://HOST:PORT",
        shell("https_proxy=http://{http} wget -q -t 1 -T 5 -O - https://{host}/", "wget"),
        "dns_query",
        "hangup",
    ),
    Case(
        "lynx",
        shell("lynx -dump http://{host}/", "lynx"),
        "lynx.dns",
        "-socks5_proxy=",
        lynx(),
        "dns_query",
    ),
    Case(
        "w3m", shell("w3m -dump http://{host}/", "w3m"), "text_browser.dns", "lynx -socks5_proxy=", lynx(), "dns_query"
    ),
    Case(
        "elinks",
        shell("elinks -no-home -dump http://{host}/", "elinks"),
        "text_browser.dns",
        "lynx -socks5_proxy=",
        lynx(),
        "dns_query",
    ),
    Case(
        "links2",
        shell("links2 -dump http://{host}/", "links2"),
        "links.dns",
        "-socks-proxy HOST:PORT -only-proxies 1",
        shell("links2 -socks-proxy {socks} -only-proxies 1 -dump http://{host}/", "links2"),
        "dns_query",
    ),
    Case(
        "ssh",
        shell("timeout 5 ssh -F none -o BatchMode=yes -p 80 {host}", "ssh", "timeout"),
        "ssh.dns",
        "ProxyCommand nc -X 5 -x HOST:PORT %h %p",
        shell(
            "timeout 5 ssh -F none -o BatchMode=yes -o CanonicalizeHostname=no -o VerifyHostKeyDNS=no "
            "-o 'ProxyCommand nc -X 5 -x {socks} %h %p' -p 80 {host}",
            "ssh",
            "timeout",
            "nc.openbsd",
        ),
        "dns_query",
        "hangup",
    ),
    Case(
        "python",
        lambda task: Command((), [sys.executable, "-c", _URLLIB, task.url]),
        "python.socks5",
        "socks5h://",
        requests("socks5h"),
        "dns_query",
    ),
    Case(
        "Fetch.java",
        java("client", "http://{host}/", options=("-DsocksProxyHost=127.0.0.1", "-DsocksProxyPort={port}")),
        "java.dns",
        "java.net.http.HttpClient",
        java("client", "https://{host}/", options=("-Dhttps.proxyHost=127.0.0.1", "-Dhttps.proxyPort={http_port}")),
        "dns_query",
        "hangup",
    ),
    Case("static", static(""), "torsocks", "SOCKS", static("{port}"), "dns_query"),
    Case(
        "chromium",
        chromium_without,
        "chromium.dns",
        "--host-resolver-rules=",
        chromium_that_resolves_nothing,
        "dns_query",
    ),
    Case("firefox-esr", pac_file, "firefox.dns", "network.proxy.type = 1", firefox(5), "dns_beside_proxy"),
]

# What works inside a program of another name. It reads the hosts file itself: only what is not there goes by name.
PRELOADED = [
    Case(
        "curl",
        proxychains("socks5", proxy_dns=False),
        "proxychains",
        "proxy_dns",
        proxychains("socks5", proxy_dns=True),
    ),
]

# What was given an address, and sends it as it must: program, how, the form in which it is sent, advice.
TYPED = [
    ("curl", curl("--socks5-hostname"), "address", "curl.socks5"),
    ("nc", nc("-X 5 -x {socks}"), "address", "nc.socks5"),
    ("curl", torsocks, "address_as_text", "torsocks.text"),
    ("http", apt("socks5h"), "address_as_text", "apt.text"),
    ("firefox-esr", firefox(5), "address_as_text", "browser.text"),
    ("chromium", chromium("socks5"), "address_as_text", "browser.text"),
    ("lynx", lynx(), "address_as_text", "browser.text"),
    ("links2", shell("links2 -socks-proxy {socks} -dump http://{host}/", "links2"), "address_as_text", "browser.text"),
]

# Programs that each of them has its own name by: they run at the same time.
TOGETHER = [
    next(case for case in BY_ADDRESS if case.program == program)
    for program in ("curl", "git-remote-http", "python", "fetch.js", "Fetch.java", "nc", "firefox-esr", "chromium")
]
