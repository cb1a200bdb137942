"""The plot of one record: small panels of bars in one SVG file, drawn by hand so that nothing need be installed."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from figures import Figures

BAR, GAP, LABEL, WIDTH, TOP = 14, 5, 150, 250, 26  # pixels
COLUMNS = 2
OURS, THEIRS = "#2a6fbb", "#9aa3ad"


def _panels(figures: Figures) -> list[tuple[str, dict[str, float]]]:
    """Title and bar lengths of each panel that has figures."""
    asked = (
        ("connections/s ÷ direct (longer is better)", "setup", "rate", True, 1),
        ("CPU µs per connection (shorter is better)", "setup", "cpu", False, 1e6),
        ("throughput ÷ direct, 8 connections (longer is better)", "down8", "rate", True, 1),
        ("CPU s per GiB, 8 connections (shorter is better)", "down8", "cpu", False, 1),
        ("64-byte round trip, p50 µs (shorter is better)", "ping1", "p50_us", False, 1),
    )
    panels = []
    for title, test, metric, relative, scale in asked:
        bars = {}
        for peer in figures.peers(test):
            spread = figures.ratio(test, metric, peer, "direct") if relative else None
            value = spread.median if spread else None if relative else figures.middle(test, peer, metric)
            if value is not None and not (relative and peer == "direct"):
                bars[peer] = value * scale
        panels.append((title, bars))
    idle = {p: s["extra"]["kib_per_tunnel"] for p in figures.peers("idle") if (s := figures.sample("idle", p))}
    panels.append(("memory per idle tunnel, KiB (shorter is better)", idle))
    return [(title, bars) for title, bars in panels if bars]


def _panel(title: str, bars: dict[str, float], left: int, top: int) -> list[str]:
    most = max(bars.values()) or 1
    parts = [f'<text x="{left}" y="{top + 14}" font-weight="bold">{escape(title)}</text>']
    for row, (peer, value) in enumerate(sorted(bars.items(), key=lambda item: item[1], reverse="longer" in title)):
        y = top + TOP + row * (BAR + GAP)
        length = max(1.0, value / most * WIDTH)
        colour = OURS if peer.startswith("shim") else THEIRS
        parts += [
            f'<text x="{left + LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(peer)}</text>',
            f'<rect x="{left + LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{left + LABEL + length + 5:.1f}" y="{y + 11}">{value:.3g}</text>',
        ]
    return parts


def svg(record: dict[str, Any]) -> str:
    """The whole picture."""
    panels = _panels(Figures(record))
    if not panels:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    height = TOP + max(len(bars) for _, bars in panels) * (BAR + GAP) + 20
    width = LABEL + WIDTH + 70
    parts: list[str] = []
    for number, (title, bars) in enumerate(panels):
        parts += _panel(title, bars, 10 + number % COLUMNS * width, 10 + number // COLUMNS * height)
    rows = (len(panels) + COLUMNS - 1) // COLUMNS
    size = f'width="{COLUMNS * width + 10}" height="{rows * height + 20}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11" fill="#222">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>"]) + "\n"
