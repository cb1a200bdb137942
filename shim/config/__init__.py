"""The settings: what they are, how a file and flags become them, what is wrong with them, what a reload changes.

Nobody reads a file or the environment for a setting after this; nothing here opens a socket or starts a program.
"""

from shim.config.reading import Flag, load
from shim.config.settings import Config, Limits, Listen, Log, Sandbox, Upstream
from shim.config.unused import unused
from shim.config.views import as_toml, changes, needs_restart

__all__ = [
    "Config",
    "Flag",
    "Limits",
    "Listen",
    "Log",
    "Sandbox",
    "Upstream",
    "as_toml",
    "changes",
    "load",
    "needs_restart",
    "unused",
]
