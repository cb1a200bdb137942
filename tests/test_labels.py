"""Control groups and command lines as they are written in the wild, and what they are called here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.witness.labels import label, plain, runs_others, script, wrapper

ID = "0123456789abcdef" * 4
USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", None),
        ("/", None),
        ("/user.slice/user-1000.slice", None),
        ("/user.slice/user-1000.slice/session-2.scope", "unit:session-2.scope"),
        ("/system.slice/cron.service", "unit:cron.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "unit:getty@tty1.service"),
        ("/system.slice/tor.service/workers", "unit:tor.service"),
        (f"{USER}/init.scope", "unit:init.scope"),
        (f"{USER}/app.slice/syncthing.service", "unit:syncthing.service"),
        (f"{USER}/app.slice/vte-spawn-9f3c.scope", "unit:vte-spawn-9f3c.scope"),
        (r"/system.slice/dev\x2dmapper.service", "unit:dev-mapper.service"),
        (f"{USER}/app.slice/app-firefox-4711.scope", "app:firefox"),
        (f"{USER}/app.slice/app-gnome-org.gnome.Terminal-4711.scope", "app:org.gnome.Terminal"),
        (rf"{USER}/app.slice/app-gnome-firefox\x2desr-4711.scope", "app:firefox-esr"),
        (f"{USER}/app.slice/app-org.kde.konsole@5f2e9b.service", "app:org.kde.konsole"),
        (f"{USER}/app.slice/app-firefox@autostart.service", "app:firefox"),
        (rf"{USER}/app.slice/app-kde-google\x2dchrome@1f.service", "app:google-chrome"),
        (f"{USER}/app.slice/app-flatpak-org.mozilla.firefox-12345.scope", "flatpak:org.mozilla.firefox"),
        (f"{USER}/app.slice/app-flatpak-com.example.a-b-12345.scope", "flatpak:com.example.a-b"),
        (f"{USER}/app.slice/snap.firefox.firefox-1b2c.scope", "snap:firefox"),
        ("/system.slice/snap.cups.cupsd.service", "snap:cups"),
        (f"/docker/{ID}", "container:0123456789ab"),
        (f"/system.slice/docker-{ID}.scope", "container:0123456789ab"),
        (f"/system.slice/docker-{ID}.scope/init", "container:0123456789ab"),
        (f"/machine.slice/libpod-{ID}.scope/container", "container:0123456789ab"),
        (f"{USER}/user.slice/libpod-conmon-{ID}.scope", "container:0123456789ab"),
        (f"/kubepods.slice/kubepods-pod7f.slice/cri-containerd-{ID}.scope", "container:0123456789ab"),
        (f"/kubepods/besteffort/pod7f/{ID}", "container:0123456789ab"),
        (f"/kubepods.slice/pod7f.slice:cri-containerd:{ID}", "container:0123456789ab"),
        ("/lxc.payload.web/system.slice/nginx.service", "container:web"),
        ("/lxc/web", "container:web"),
        ("/machine.slice/machine-web.scope", "container:web"),
        ("/machine.slice/systemd-nspawn@web.service/payload", "container:web"),
        (f"/x/{ID}0", None),
    ],
)
def test_what_a_control_group_is_called(path: str, expected: str | None) -> None:
    assert label(path) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (b"", None),
        (b"HOME=/root\0LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libproxychains.so.4\0", "proxychains"),
        (b"LD_PRELOAD=libproxychains4.so\0HOME=/root\0", "proxychains"),
        (b"LD_PRELOAD=/usr/lib/x86_64-linux-gnu/torsocks/libtorsocks.so", "torsocks"),
        (b"LD_PRELOAD=/usr/lib/libfaketime.so.1 /usr/lib/torsocks/libtorsocks.so.0\0", "torsocks"),
        (b"LD_PRELOAD=/usr/lib/libfaketime.so.1:/usr/lib/libtorsocks.so\0", "torsocks"),
        (b"LD_PRELOAD=\0", None),
        (b"LD_PRELOAD=/usr/lib/libjemalloc.so.2\0", None),
        (b"OLD_LD_PRELOAD=/usr/lib/libtorsocks.so\0", None),
        (b"NOTE=LD_PRELOAD=/usr/lib/libtorsocks.so\0", None),
        (b"LD_PRELOAD=/usr/lib/mylibtorsocks.so\0", None),
        (b"LD_PRELOAD=/usr/lib/libtorsocks.source\0", None),
        (b"\xff\xfe\0LD_PRELOAD=\xff/libtorsocks.so\0", "torsocks"),
    ],
)
def test_what_was_preloaded(environment: bytes, expected: str | None) -> None:
    assert wrapper(environment) == expected


@given(st.text(alphabet="/-.@:\\x2d0aservicopflatknd", max_size=60))
def test_any_path_gives_a_kind_and_a_name_or_nothing(path: str) -> None:
    found = label(path)
    assert found is None or (all(found.partition(":")) and "/" not in found)


@pytest.mark.parametrize(
    ("exe", "others"),
    [
        ("/usr/bin/python3.11", True),
        ("/usr/bin/bash", True),
        ("/bin/dash", True),
        ("/usr/lib/jvm/java-17/bin/java", True),
        ("/usr/bin/node", True),
        ("/usr/bin/perl", True),
        ("/bin/busybox", True),
        ("/usr/lib/chromium/chromium", False),
        ("/usr/bin/ssh", False),
        ("/usr/bin/curl", False),
        ("/usr/bin/pythonic", False),
        (None, False),
    ],
)
def test_which_executables_are_vehicles(exe: str | None, others: bool) -> None:
    assert runs_others(exe) is others


@pytest.mark.parametrize(
    ("exe", "line", "expected"),
    [
        ("/usr/bin/python3.11", "python3 /usr/bin/pip install x", "pip"),
        ("/usr/bin/python3.11", "python3 -u -W error -X dev ./client.py host.example", "client.py"),
        ("/usr/bin/python3.11", "python3 -m http.server 80", "http.server"),
        ("/usr/bin/python3.11", "python3 -m", None),
        ("/usr/bin/python3.11", "python3 -c print('host.example')", None),
        ("/usr/bin/python3.11", "python3 -Sc print('host.example')", None),
        ("/usr/bin/python3.11", "python3 - host.example", None),
        ("/usr/bin/python3.11", "python3", None),
        ("/usr/bin/bash", "bash -lc curl_host.example", None),
        ("/usr/bin/bash", "bash ./fetch.sh https://host.example/", "fetch.sh"),
        ("/usr/bin/node", "node --require ./setup.js server.js", "server.js"),
        ("/usr/bin/node", "node -e fetch('x')", None),
        ("/usr/bin/bash", "bash -s host.example", None),
        ("/usr/bin/perl", "perl -E get('host.example')", None),
        ("/usr/bin/perl", "perl -ne print host.example", None),
        ("/usr/bin/perl", "perl -I lib bin/ack", "ack"),
        ("/opt/jdk/bin/java", "java -Xmx1g -cp a.jar:b.jar org.example.Main", "org.example.Main"),
        ("/opt/jdk/bin/java", "java -jar /srv/tool.jar", "tool.jar"),
        ("/usr/bin/deno", "deno https://host.example/x.ts", None),
        ("/bin/busybox", "wget http://host.example/", None),
        ("/usr/bin/curl", "curl host.example", None),
        (None, "x y", None),
    ],
)
def test_what_an_interpreter_runs(exe: str | None, line: str, expected: str | None) -> None:
    assert script(exe, tuple(line.split())) == expected


def test_an_empty_command_line_runs_nothing() -> None:
    assert script("/usr/bin/python3", ()) is None


@pytest.mark.parametrize(
    ("name", "exe", "expected"),
    [
        ("curl", "/usr/bin/curl", "curl"),
        ("npm install s3n", "/usr/bin/node", "npm"),
        ("npm install s3n", None, "npm"),
        ("  s3ntinel x", "/usr/bin/node", "s3ntinel"),
        ("Some App", "/opt/some/Some App", "Some App"),
        ("A Very Long Nam", "/opt/A Very Long Name Indeed", "A Very Long Nam"),
        ("tmux: server", "/usr/bin/tmux", "tmux:"),
        ("", "/usr/bin/x", ""),
        (" ", "/usr/bin/x", " "),
    ],
)
def test_what_a_program_writes_behind_its_name_is_not_kept(name: str, exe: str | None, expected: str) -> None:
    assert plain(name, exe) == expected
