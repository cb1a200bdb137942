"""Settings that have no effect, because another one is missing.

They are no mistake, as a file may serve several ways to start: told, never refused.
"""

from __future__ import annotations

from shim.config.settings import Config
from shim.config.views import changes

_DNS, _LISTENER = "dns.", "listen.dns"


def unused(config: Config) -> tuple[tuple[str, str], ...]:
    """Settings that were changed in vain, each with the one that it needs."""
    if config.listen.dns:
        return ()
    return tuple((key, _LISTENER) for key in changes(Config(), config) if key.startswith(_DNS))
