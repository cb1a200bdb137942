"""How long a driven browser has for what, and how driving it can fail."""

from __future__ import annotations

from typing import Final

from shim.errors import ShimError

START_S: Final = 60.0
"""To begin to listen: the first start with a new profile, on a busy machine."""

LOAD_S: Final = 60.0
"""To load a page."""

ANSWER_S: Final = 60.0
"""For any other answer."""

SETTLE_S: Final = 2.0
"""A page stays open so long once it has loaded, for what follows: prefetch, WebRTC, retries."""

END_S: Final = 10.0
"""To end once it was asked to."""


class DriveError(ShimError):
    """The browser did not do what it was told to; `code` says why, mostly in its own words."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
