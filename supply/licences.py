"""The licences of what is installed with the shim, from the metadata that came with each release.

python -m supply.licences      writes the table of docs/supply-chain.md again; `make docs` runs it
"""

from __future__ import annotations

import re
from importlib.metadata import metadata

from supply.locks import PROJECT, ROOT, Pin, read

PAGE = ROOT / "docs" / "supply-chain.md"
EXTRAS = {"psutil": "attribution", "stem": "control"}
"""What only an extra brings."""

_CLASSIFIED = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "License :: OSI Approved :: MIT License": "MIT",
}
_READ = {"dnslib": "BSD-2-Clause"}
"""Where only the licence's own text says which it is."""

_MARKED = re.compile(r"(<!-- [^\n]*supply\.licences[^\n]* -->\n).*(\n<!-- [^\n]* -->)", re.DOTALL)


def main() -> None:
    """Write the table."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_table(page: str) -> str:
    """The page with the table of the moment."""
    rows = ["| Distribution | Release | Licence | Wanted by |", "| --- | --- | --- | --- |"]
    rows += [f"| {pin.name} | {pin.version} | {licence(pin.name)} | {_reason(pin)} |" for pin in shipped()]
    return _MARKED.sub(lambda match: match[1] + "\n".join(rows) + match[2], page)


def shipped() -> list[Pin]:
    """What is installed with the shim, extras included."""
    return sorted(read("base.lock") + [pin for pin in read("dev.lock") if pin.name in EXTRAS], key=lambda pin: pin.name)


def licence(name: str) -> str:
    """As an SPDX expression."""
    told = metadata(name)
    if expression := told.get("License-Expression"):
        return expression
    classified = [_CLASSIFIED[text] for text in told.get_all("Classifier") or () if text in _CLASSIFIED]
    if classified:
        return " OR ".join(sorted(classified))
    return _READ.get(name) or told["License"]


def _reason(pin: Pin) -> str:
    if pin.name in EXTRAS:
        return f"the extra `{EXTRAS[pin.name]}`"
    return ", ".join("the shim" if name == PROJECT else name for name in pin.wanted_by)


if __name__ == "__main__":
    main()
