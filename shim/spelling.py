"""How names and addresses may be spelt that Tor takes: the same rules for who reads bytes and for who reads text.

Patterns only: compiles and matches nothing.
"""

from __future__ import annotations

from typing import Final

HOSTNAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]*+(?:\.[A-Za-z0-9][A-Za-z0-9_-]*+)*+\.?"
"""Tor's rule (measured with 0.4.9.11): labels of letters, digits, - and _, none empty, none beginning with - or _, one
last dot allowed, no limit of 63. Dotted quads and all that inet_aton(3) would take are such names too.

Possessive, so that hostile input is read once.
"""

LEADING_ZEROS: Final = r"(?<=[:.])0{1,2}(?=[0-9]{1,2}(?:\.|\Z))"
"""Tor reads ::1.2.3.04 as ::1.2.3.4 (measured); ipaddress takes no zeros there."""
