"""What a process's control group says of it (systemd unit, container, Flatpak, Snap), its command line, its preload.

Pure: reads nothing, and takes no name from where a command line may hold a destination.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_FORMS = (
    # Docker, Podman, CRI-O, containerd, Kubernetes: the container's 64 hexadecimal digits, of which people write 12.
    ("container", re.compile(r"[-/:]([0-9a-f]{12})[0-9a-f]{52}(?![0-9a-f])")),
    (
        "container",
        re.compile(r"/lxc(?:\.payload)?[./]([^/]+)|/machine-([^/]+)\.scope|/systemd-nspawn@([^/]+)\.service"),
    ),
    ("flatpak", re.compile(r"/app-flatpak-([^/]+)-\d+\.scope")),
    ("snap", re.compile(r"/snap\.([^./]+)\.")),
    # systemd.io/DESKTOP_ENVIRONMENTS: app[-LAUNCHER]-ID-RANDOM.scope, app[-LAUNCHER]-ID[@RANDOM].service
    ("app", re.compile(r"/app-(?:[^-/]+-)?([^-/]+)-[^-/]+\.scope|/app-(?:[^-/]+-)?([^-/@]+)(?:@[^/]*)?\.service")),
    ("unit", re.compile(r".*/([^/]+\.(?:service|scope))(?:/|$)")),
)
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")

_INTERPRETER = re.compile(
    r"python[\d.]*|pypy[\d.]*|perl[\d.]*|ruby[\d.]*|node|nodejs|deno|bun|php[\d.]*|lua[\d.]*|java|javaw|mono|dotnet"
    r"|guile|tclsh[\d.]*|wish[\d.]*|(?:ba|da|z|k|mk|fi|a)?sh|pwsh"
)
_MANY_PROGRAMS = ("busybox", "toybox")

_WRAPPER = re.compile(rb"[/= :]lib(proxychains|torsocks)\d*\.so\b")

_COMM_BYTES = 15
"""What Linux keeps of a process's name."""

_NAME_FOLLOWS = ("-m", "-jar")
_VALUE_FOLLOWS = ("-W", "-X", "-I", "-cp", "-classpath", "--class-path", "--module-path", "--require")
_TEXT_FOLLOWS = re.compile(r"-|-\w*[ceEprs]|--eval|--print")
"""Options whose value is the program itself (python -c, bash -lc, perl -E), or with which it comes from elsewhere."""


def label(path: str) -> str | None:
    """`container:ID`, `flatpak:APP`, `snap:NAME`, `app:ID` or `unit:NAME.service`; None where it says nothing."""
    for kind, form in _FORMS:
        if match := form.search(path):
            found = next(group for group in match.groups() if group)
            return f"{kind}:{_ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), found)}"
    return None


def runs_others(exe: str | None) -> bool:
    """Whether the executable is only the vehicle of another program: two of its processes need not be one program."""
    return _base(exe) in _MANY_PROGRAMS or _INTERPRETER.fullmatch(_base(exe)) is not None


def script(exe: str | None, arguments: tuple[str, ...]) -> str | None:
    """The base name of what an interpreter runs: a file, or what follows -m or -jar. None when it is not plain."""
    if _INTERPRETER.fullmatch(_base(exe)) is None:
        return None
    rest = iter(arguments[1:])
    for argument in rest:
        if argument in _NAME_FOLLOWS:
            return _base(next(rest, None)) or None
        if argument in _VALUE_FOLLOWS:
            next(rest, None)
        elif _TEXT_FOLLOWS.fullmatch(argument) or "://" in argument:
            return None
        elif not argument.startswith("-"):
            return _base(argument) or None
    return None


def plain(name: str, exe: str | None) -> str:
    """The name without what a program has written behind it: npm puts its arguments there, destinations included.

    A name that is its executable's stays whole, as far as the kernel keeps it.
    """
    return name if name == _base(exe)[:_COMM_BYTES] else name.split(maxsplit=1)[0] if name.strip() else name


def wrapper(environment: bytes) -> str | None:
    """`proxychains` or `torsocks`, where such a library was preloaded; of the environment nothing else is looked at."""
    for variable in environment.split(b"\0"):
        if variable.startswith(b"LD_PRELOAD="):
            found = _WRAPPER.search(variable)
            return found[1].decode() if found else None
    return None


def _base(path: str | None) -> str:
    return PurePosixPath(path or "").name
