"""The frame of every HTML page of the lab: it needs nothing else, neither script nor font nor picture from anywhere.

Knows no report.
"""

from __future__ import annotations

PALETTE = """
:root{--ink:#1c2430;--dim:#5b6675;--line:#d9dee5;--paper:#fff;--leak:#b3261e;--no_leak_observed:#1b6e3c;--inconclusive:#8a5a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--dim:#9aa6b5;--line:#39424e;--paper:#14181e;--leak:#ff8a80;
--no_leak_observed:#7fd6a1;--inconclusive:#f2c063}}
"""
"""Colours of text, of lines and of the three verdicts, by light and by dark."""

FONTS = 'system-ui,"Hiragino Sans","Noto Sans CJK JP","Yu Gothic",sans-serif'


def document(lang: str, title: str, style: str, body: str) -> str:
    """One HTML document; `title` and `body` are escaped already. Nothing may be loaded (Content-Security-Policy)."""
    return (
        f'<!doctype html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{PALETTE}{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
