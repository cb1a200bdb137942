"""Change one settings file for good: a backup first, then the new text in one step.

Follows no symbolic link, and touches nothing when nothing is to be changed.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shim.setup.edits import NotEditable
from shim.setup.recipe import CONFIG, Recipe

_MAX_BYTES = 1 << 20
_NEW_FILE, _NEW_FOLDER = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class Content:
    """A file as it was read. `about` is None where there is none yet."""

    text: str = ""
    about: os.stat_result | None = None


def home_of(recipe: Recipe, environ: Mapping[str, str]) -> Path | None:
    """The file of this user that the program reads, or would read; None where that must be said."""
    folders = {name: value for name in ("HOME", "CURL_HOME", "XDG_CONFIG_HOME") if (value := environ.get(name))}
    if "HOME" in folders:
        folders[CONFIG] = folders.get("XDG_CONFIG_HOME") or f"{folders['HOME']}/.config"
    places = [Path(folders[name]) / below if name in folders else None for name, below in recipe.homes]
    for place in places:
        if place and os.path.lexists(place):
            return place
    return places[recipe.default] if places else None


def read(path: Path) -> Content:
    """The file. OSError where it cannot be read, NotEditable where it is none, or too long for settings."""
    try:
        if path.is_symlink():
            raise NotEditable("setup.not_editable.link")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Content()
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise NotEditable("setup.not_editable.kind")
        raw = file.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES or b"\0" in raw:
        raise NotEditable("setup.not_editable.kind")
    return Content(raw.decode("utf-8", "surrogateescape"), about)


def write(path: Path, old: Content, text: str, now: datetime) -> Path | None:
    """Replace what was read by `text`, with the same mode and owner; the result is the backup, None for a new file.

    OSError where that fails: the file is then as it was. NotEditable when it has changed since it was read.
    """
    if old.about is None:
        path.parent.mkdir(mode=_NEW_FOLDER, parents=True, exist_ok=True)
    backup = None
    if old.about is not None:
        backup = path.with_name(f"{path.name}.shim-{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.bak")
        _create(backup, old.text, old.about)
    fresh = path.with_name(f".{path.name}.shim-{secrets.token_hex(8)}")
    try:
        _create(fresh, text, old.about)
        if not _is_same(path, old.about):
            raise NotEditable("setup.not_editable.changed")
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return backup


def _create(path: Path, text: str, like: os.stat_result | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, _NEW_FILE)
    with os.fdopen(descriptor, "wb") as file:
        if like is not None:
            if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
        file.write(text.encode("utf-8", "surrogateescape"))
        file.flush()
        os.fsync(descriptor)


def _is_same(path: Path, about: os.stat_result | None) -> bool:
    try:
        now = path.lstat()
    except FileNotFoundError:
        return about is None
    return about is not None and (now.st_ino, now.st_size, now.st_mtime_ns) == (
        about.st_ino,
        about.st_size,
        about.st_mtime_ns,
    )
