"""A terminal's output as a page: escape sequences become colours, for a photograph."""

from __future__ import annotations

import html
import re

_STYLES = {"2": "opacity:.6", "32": "color:#7ec97e", "33": "color:#e8c15a", "1;31": "color:#ff6b6b;font-weight:bold"}
_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")
_PAGE = """<!doctype html><meta charset="utf-8"><title>log</title><style>body{{margin:0;background:#1d1f21}}
pre{{margin:0;padding:14px 16px;color:#d8d8d8;font:13px/1.5 "DejaVu Sans Mono","Noto Sans Mono CJK JP",monospace;
white-space:pre-wrap;overflow-wrap:anywhere}}</style><pre>{text}</pre>"""


def as_page(text: str) -> str:
    """HTML that looks as `text` does in a dark terminal."""
    parts = []
    for place, part in enumerate(_SEQUENCE.split(text)):
        if place % 2 == 0:
            parts.append(html.escape(part))
        else:
            parts.append(f'<span style="{_STYLES[part]}">' if part in _STYLES else "</span>")
    return _PAGE.format(text="".join(parts))


def without_colours(text: str) -> str:
    """The text alone."""
    return _SEQUENCE.sub("", text)
