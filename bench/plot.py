"""The plot of one record: panels of bars in one SVG file, drawn by hand so that nothing need be installed.

Readable on light and dark pages alike: it brings its own background, and follows the reader's colour scheme.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from xml.sax.saxutils import escape

from features import FEATURES, SAFE
from figures import Figures, Record, Spread

ROW, BAR, LABEL, BARS, NUMBER, MARGIN, HEAD, GAP = 22, 14, 150, 230, 52, 28, 46, 14  # pixels
WIDE_LABEL = 600
PANEL = LABEL + BARS + NUMBER
COLUMNS = 2
WIDTH = 2 * MARGIN + COLUMNS * PANEL + MARGIN
TOP = 84
LONGEST = 5
"""A bar that is so many times as long as the middle one is cut, so that the others can be told apart."""

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2937 }
  .page { fill: #ffffff } .title { font-size: 19px; font-weight: 650 } .head { font-size: 13px; font-weight: 600 }
  .quiet { fill: #6b7280 } .ours { fill: #6d28d9 } .theirs { fill: #b6bdc9 } .none { fill: #dfe3ea }
  .mine { font-weight: 650; fill: #6d28d9 } .range { stroke: #1f2937; stroke-opacity: .55 } .cut { fill: #ffffff }
  .rule { stroke: #e5e7eb } .one { stroke: #9ca3af; stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb } .page, .cut { fill: #111827 } .quiet { fill: #9ca3af } .ours { fill: #a78bfa }
    .theirs { fill: #56607a } .none { fill: #343c4e } .mine { fill: #c4b5fd } .range { stroke: #e5e7eb }
    .rule { stroke: #2b3446 }
  }
"""


@dataclass(frozen=True)
class Panel:
    """Bars with their medians and ranges, the best first."""

    title: str
    hint: str
    bars: dict[str, Spread]
    digits: int = 2
    ours: bool = False  # all bars are the shim's, and their names are sentences

    @property
    def height(self) -> int:
        return HEAD + len(self.bars) * ROW


def _panel(
    figures: Figures, title: str, test: str, metric: str, *, against: str = "", scale: float = 1, digits: int = 2
) -> Panel:
    """`against`: bars are ratios to this relay."""
    more = metric == "rate"
    bars = {}
    for peer in figures.peers(test):
        got = figures.ratio(test, metric, peer, against) if against else figures.spread(test, peer, metric)
        if got and peer not in FEATURES and peer != against:
            bars[peer] = got.times(scale)
    best_first = dict(sorted(bars.items(), key=lambda bar: bar[1].median, reverse=more))
    return Panel(title, "longer is better" if more else "shorter is better", best_first, digits)


def _memory(figures: Figures) -> Panel:
    samples = {peer: figures.sample("idle", peer) for peer in figures.peers("idle")}
    held = {peer: s["extra"]["kib_per_tunnel"] for peer, s in samples.items() if s and not s["errors"]}
    bars = {peer: Spread(kib, kib, kib) for peer, kib in sorted(held.items(), key=lambda item: item[1])}
    return Panel("Memory of an idle tunnel, KiB", "shorter is better", bars)


def _features(figures: Figures) -> Panel:
    bars = {}
    for name, feature in FEATURES.items():
        got = figures.ratio("setup", "cpu", name, feature.than)
        if got:
            says = feature.says.replace("`", "")
            bars[says if feature.than == SAFE else f"an address, but {says}"] = got
    return Panel("What each feature costs", "CPU per connection ÷ the same without it", bars, ours=True)


def panels(figures: Figures) -> list[Panel]:
    """Those that have figures."""
    asked = (
        _panel(figures, "Connections per second ÷ no relay", "setup", "rate", against="direct"),
        _panel(figures, "CPU per connection, µs", "setup", "cpu", scale=1e6, digits=0),
        _panel(figures, "Download, 8 connections ÷ no relay", "down8", "rate", against="direct"),
        _panel(figures, "CPU per GiB, 8 connections, s", "down8", "cpu"),
        _panel(figures, "Upload, 64 connections ÷ no relay", "up64", "rate", against="direct"),
        _panel(figures, "64 bytes to and fro, median µs", "ping1", "p50_us", digits=0),
        _memory(figures),
        _panel(figures, "Download, 1 connection ÷ no relay", "down1", "rate", against="direct"),
    )
    return [panel for panel in asked if panel.bars]


def _kind(name: str, panel: Panel) -> str:
    if panel.ours or name.startswith("shim"):
        return "ours"
    return "none" if name == "direct" else "theirs"


def _draw(panel: Panel, left: int, top: int) -> Iterator[str]:
    yield f'<text x="{left}" y="{top + 12}" class="head">{escape(panel.title)}</text>'
    yield f'<text x="{left}" y="{top + 28}" class="quiet">{escape(panel.hint)}</text>'
    longest = min(
        max(bar.greatest for bar in panel.bars.values()),
        LONGEST * median(bar.median for bar in panel.bars.values()),
    )
    label, scale = WIDE_LABEL if panel.ours else LABEL, BARS / (longest or 1)
    if panel.ours:  # where it costs nothing
        x, y = left + label + scale, top + HEAD - 8
        yield f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + len(panel.bars) * ROW}" class="one"/>'
    for row, name in enumerate(panel.bars):
        yield from _bar(panel, name, scale, left + label, top + HEAD + row * ROW - 6)


def _bar(panel: Panel, name: str, scale: float, left: int, y: int) -> Iterator[str]:
    bar, most = panel.bars[name], BARS
    length = min(max(1.5, bar.median * scale), most)
    ends = [min(value * scale, most) for value in (bar.least, bar.greatest)]
    cut = bar.median * scale > most
    middle = y + BAR / 2
    mine = ' class="mine"' if name == "shim" else ""
    yield f'<text x="{left - 8}" y="{y + 11}" text-anchor="end"{mine}>{escape(name)}</text>'
    yield f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" class="{_kind(name, panel)}"/>'
    if cut:  # two strips of the page through the bar say that it goes on
        for place in (most - 24, most - 16):
            slanted = f"{left + place},{y + BAR + 1} {left + place + 5},{y - 1} {left + place + 9},{y - 1} "
            yield f'<polygon points="{slanted}{left + place + 4},{y + BAR + 1}" class="cut"/>'
    elif bar.greatest > bar.least:
        x1, x2 = (f"{left + end:.1f}" for end in ends)
        yield f'<line x1="{x1}" y1="{middle}" x2="{x2}" y2="{middle}" class="range"/>'
    after = left + max(length, 0 if cut else ends[1]) + 6
    yield f'<text x="{after:.1f}" y="{y + 11}"{mine}>{bar.median:,.{panel.digits}f}</text>'


def svg(record: Record) -> str:
    """The whole picture."""
    figures = Figures(record)
    parts, top = [], TOP
    drawn = panels(figures)
    for pair in (drawn[first : first + COLUMNS] for first in range(0, len(drawn), COLUMNS)):
        for column, panel in enumerate(pair):
            parts += _draw(panel, MARGIN + column * (PANEL + MARGIN), top)
        top += max(panel.height for panel in pair) + GAP
    if (features := _features(figures)).bars:
        parts += _draw(features, MARGIN, top)
        top += features.height
    machine = record["machine"]
    about = (
        f"{record['date']} · {machine['cores']} × {machine['cpu']} · Linux {machine['kernel']} · Python "
        f"{machine['python']} · medians of {record['rounds']} interleaved rounds, lines show least to greatest"
    )
    height = top + 6
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="The shim beside other relays">',
            f"<style>{STYLE}</style>",
            '<rect width="100%" height="100%" rx="8" class="page"/>',
            f'<text x="{MARGIN}" y="38" class="title">shim beside other relays</text>',
            f'<text x="{MARGIN}" y="58" class="quiet">{escape(about)}</text>',
            f'<line x1="{MARGIN}" y1="68" x2="{WIDTH - MARGIN}" y2="68" class="rule"/>',
            *parts,
            "</svg>\n",
        )
    )
