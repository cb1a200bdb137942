"""The error tree.

    ShimError
    ├── ProtocolError      the other side broke a protocol; carries the reply it is owed
    ├── UpstreamError      the upstream is away or broke SOCKS5
    ├── ControlError       Tor's control port is away, or lets us not in
    ├── ConfigError        a setting is wrong: file, key, value, what is allowed
    ├── PolicyError        values that no policy can hold: what ConfigError is then made of
    ├── ListenError        an address could not be listened on
    ├── SandboxError       the sandbox is required, and a part of it cannot be had
    └── LocalUsageError    we called a codec in a state in which that is not legal: a bug

Any other exception that leaves a codec or the judge is a bug.
No message holds a destination, a name or a credential: peers and logs get codes, never contents.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

_BETWEEN_WORDS = re.compile(r"\W+")


class ShimError(Exception):
    """All of the shim's own errors."""


class ProtocolError(ShimError):
    """A client broke the protocol.

    `error` is a short code for the log, `reply` the bytes that the client is owed (may be empty),
    `protocol` what it seems to have spoken when that is foreign to the port ("http", "tls", "ssh", "unknown").
    """

    def __init__(self, error: str, reply: bytes = b"", protocol: str | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.reply = reply
        self.protocol = protocol


class UpstreamError(ShimError):
    """The upstream could not be used; `error` is a short code for the log."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class ControlError(ShimError):
    """Tor's control port could not be used; `error` is a short code for the log."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class ConfigError(ShimError):
    """One or more settings are wrong. Each problem is one finished line for a person."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PolicyError(ShimError, ValueError):
    """Values that no policy can hold: the setting, the id of a message that says why, and the value, of each."""

    def __init__(self, mistakes: Iterable[tuple[str, str, object]]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(", ".join(dict.fromkeys(key for key, _, _ in self.mistakes)))


class ListenError(ShimError):
    """A listener could not be bound: where, in the system's own words why, and its number for that."""

    def __init__(self, address: object, error: OSError) -> None:
        super().__init__(f"{address}: {system_words(error)}")
        self.errno = error.errno


class SandboxError(ShimError):
    """These parts of the sandbox cannot be had here."""

    def __init__(self, missing: Iterable[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(", ".join(self.missing))


class LocalUsageError(ShimError):
    """A codec was called in a state that does not allow it."""


def system_code(error: OSError) -> str:
    """A short code for the log, from the system's own words: permission_denied, no_space_left_on_device."""
    return _BETWEEN_WORDS.sub("_", system_words(error)).strip("_")


def system_words(error: OSError) -> str:
    """The system's own words, for a person: permission denied, no space left on device."""
    return os.strerror(error.errno or 0).lower()
