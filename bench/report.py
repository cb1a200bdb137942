"""Tables of one record in Markdown, ready for the documentation: every ratio with its least and greatest value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from features import FEATURES, SAFE
from figures import BASE, GOALS, IDLE_KIB_MOST, Figures, Spread
from measure import TESTS

Cell = Callable[[Figures, str, str], str]


def _plain(metric: str, scale: float = 1, digits: int = 0) -> Cell:
    def cell(figures: Figures, test: str, peer: str) -> str:
        value = figures.middle(test, peer, metric)
        return "–" if value is None else f"{value * scale:,.{digits}f}"

    return cell


def _with_least(metric: str, scale: float, digits: int) -> Cell:
    """Median and least: on a busy machine the least is nearest to what the work itself costs."""

    def cell(figures: Figures, test: str, peer: str) -> str:
        got = figures.spread(test, peer, metric)
        return f"{got.median * scale:.{digits}f} ({got.least * scale:.{digits}f})" if got else "–"

    return cell


def _ratio(metric: str, against: str) -> Cell:
    return lambda figures, test, peer: str(figures.ratio(test, metric, peer, against) or "–")


# Heading and cell of each column, by the unit of the test.
RATE = ("× direct", _ratio("rate", "direct"))
CPU_RATIO = (f"CPU × {BASE}", _ratio("cpu", BASE))
COLUMNS: dict[str, list[tuple[str, Cell]]] = {
    "connection": [
        ("connections/s", _plain("rate")),
        RATE,
        ("CPU µs/connection (least)", _with_least("cpu", 1e6, 0)),
        CPU_RATIO,
        ("p50 µs", _plain("p50_us")),
        ("p50 × direct", _ratio("p50_us", "direct")),
        ("p99 µs", _plain("p99_us")),
    ],
    "GiB": [
        ("Gbit/s", _plain("rate", 8e-9, 1)),
        RATE,
        ("CPU s/GiB (least)", _with_least("cpu", 1, 2)),
        CPU_RATIO,
        ("slowest/fastest", _plain("fairness", 1, 2)),
    ],
    "message": [
        ("round trips/s", _plain("rate")),
        RATE,
        ("CPU µs/message (least)", _with_least("cpu", 1e6, 1)),
        CPU_RATIO,
        ("p50 µs", _plain("p50_us", 1, 1)),
        (f"p50 × {BASE}", _ratio("p50_us", BASE)),
        ("p99 µs", _plain("p99_us")),
    ],
}


def markdown(record: dict[str, Any]) -> str:
    """The whole page."""
    figures = Figures(record)
    sections = [_head(figures), _goals(figures), _features(figures)]
    sections += [_test(figures, name) for name in TESTS if name in figures.tests()]
    sections += [_idle(figures), _syscalls(record), _checks(record), _trust(figures)]
    return "\n\n".join(part for part in sections if part) + "\n"


def table(heads: list[str], rows: list[list[str]], words: int = 1) -> str:
    """A Markdown table whose first `words` columns are text and whose others are numbers."""
    rule = ["---"] * words + ["---:"] * (len(heads) - words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, rule, *rows])


def _head(figures: Figures) -> str:
    record = figures.record
    m, foreign = record["machine"], figures.foreign()
    relays = {name: peer for name, peer in record["peers"].items() if name not in FEATURES}
    rows = [[name, peer["kind"], peer["version"] or "–"] for name, peer in relays.items()]
    left_out = "".join(f"\n\nLeft out: {name} ({why})." for name, why in record["left_out"].items())
    busy = f" Anything else on the machine took {100 * foreign.median:.0f} % of one core meanwhile" if foreign else ""
    return (
        f"Measured {record['date']} on {m['cores']} × {m['cpu']}, Linux {m['kernel']} (congestion control "
        f"{m['congestion']}), Python {m['python']}: "
        f"{record['rounds']} interleaved rounds of {record['seconds']:g} s a test. Figures are medians; a ratio is "
        f"taken within one round, with its least and greatest value in brackets.{busy}"
        + (f" (at most {100 * foreign.greatest:.0f} %).\n\n" if foreign else "\n\n")
        + table(["relay", "how it works", "version"], rows, words=3)
        + left_out
    )


def _goals(figures: Figures) -> str:
    rows = []
    for goal in GOALS:
        if found := goal.measured(figures):
            against, got = found
            rows.append([goal.says, against, goal.wanted(), str(got), _yes(goal.reached(got))])
    idle = figures.sample("idle", "shim")
    if idle and not idle["errors"]:
        kib = idle["extra"]["kib_per_tunnel"]
        limit = f"≤ {IDLE_KIB_MOST}"
        rows.append(["memory of an idle tunnel, KiB", "–", limit, f"{kib:.2f}", _yes(kib <= IDLE_KIB_MOST)])
    heads = ["shim, default settings", "measured against", "wanted", "ratio", "reached"]
    return "### Figures to reach\n\n" + table(heads, rows, words=2) if rows else ""


def _features(figures: Figures) -> str:
    """The price of each: its row divided by the one that it differs from in nothing else."""
    rows = []
    for name, feature in FEATURES.items():
        bulk = _ratio("cpu", feature.than)(figures, "down8", name)
        cells = [_with_least("cpu", 1e6, 0), _ratio("cpu", feature.than), _ratio("rate", feature.than)]
        figured = [cell(figures, "setup", name) for cell in cells]
        if figured[0] != "–":
            rows.append([f"`{name}`", feature.says, f"`{feature.than}`", *figured, bulk])
    said = (
        f"`{SAFE}` is the shim with default settings and a name in every request, which is safe. Each row differs from "
        "the one it is compared with in one thing: what is above 1 is what that costs, what is below 1 what it saves."
    )
    heads = ["row", "what differs", "from", "CPU µs/connection (least)", "CPU ×", "connections/s ×", "CPU/GiB ×"]
    return f"### What each feature costs\n\n{said}\n\n{table(heads, rows, words=3)}" if rows else ""


def _yes(it_is: bool) -> str:
    return "yes" if it_is else "**no**"


def _test(figures: Figures, name: str) -> str:
    test = TESTS[name]
    columns = COLUMNS[test.unit]
    rows, notes = [], []
    for peer in _relays(figures, name):
        rows.append([peer, *(cell(figures, name, peer) for _, cell in columns)])
        notes += [f"{peer}: one round not counted ({error})." for error in figures.errors(name, peer)]
    text = f"### {test.title} (`{name}`)\n\n" + table(["relay", *(head for head, _ in columns)], rows)
    return text + "".join(f"\n\n{note}" for note in notes)


def _relays(figures: Figures, test: str) -> list[str]:
    """Those that are compared with each other, features of the shim aside."""
    return [peer for peer in figures.peers(test) if peer not in FEATURES]


def _idle(figures: Figures) -> str:
    rows = []
    for peer in figures.peers("idle"):
        sample = figures.sample("idle", peer)
        assert sample is not None
        more = sample["extra"]
        alive = f"{more['alive']} of {sample['count']}" + (f" ({sample['first_error']})" if sample["errors"] else "")
        cells = [f"{more['kib_per_tunnel']:.2f}", f"{more['base_mib']:.1f}", f"{100 * more['idle_cpu']:.2f} %", alive]
        rows.append([peer, *cells])
    heads = ["relay", "KiB/tunnel", "MiB before", "CPU while idle", "alive afterwards"]
    return "### Idle tunnels, each used once (`idle`)\n\n" + table(heads, rows) if rows else ""


def _syscalls(record: dict[str, Any]) -> str:
    rows = []
    for peer, calls in record["syscalls"].items():
        most = sorted(calls.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{name} {count:.1f}" for name, count in most if count >= 0.05)
        rows.append([peer, f"{sum(calls.values()):.1f}", listed])
    heads = ["relay", "in all", "which"]
    return "### System calls per tunnel (`syscalls`)\n\n" + table(heads, rows, words=3) if rows else ""


def _checks(record: dict[str, Any]) -> str:
    names = list(next(iter(record["verify"].values()), {}))
    shown = [(peer, checks) for peer, checks in record["verify"].items() if peer not in FEATURES]
    rows = [[peer, *(checks.get(name, "–") for name in names)] for peer, checks in shown]
    said = (
        "Before the timing, every byte compared. A relay that fails `echo` is not timed; no timed test depends on "
        "the other checks."
    )
    heads = ["relay", *(f"`{name}`" for name in names)]
    return f"### Right before fast\n\n{said}\n\n{table(heads, rows, words=len(heads))}" if rows else ""


def _trust(figures: Figures) -> str:
    """How one sees that neither the load generator nor the upstream sets the pace."""
    rows = []
    for name in TESTS:
        relays = [peer for peer in _relays(figures, name) if peer != "direct" and figures.values(name, peer, "rate")]
        direct = figures.middle(name, "direct", "rate")
        if not relays or not direct:
            continue
        fastest = max(relays, key=lambda peer: figures.middle(name, peer, "rate") or 0)
        ahead = Spread.of([1 / value for value in _ratios(figures, name, fastest)])
        shares = [f"{100 * (figures.middle(name, fastest, key) or 0):.0f} %" for key in SHARES]
        rows.append([f"`{name}`", fastest, str(ahead or "–"), *shares, _foreign(figures, name)])
    said = (
        "With no relay in between, load generator and upstream alone do this many times the work of the fastest relay. "
        "Beside it the CPU that each used while that relay was measured, in percent of one core: who is well below "
        "100 % waits for others. The last column is the CPU that anything else on the machine took, over all relays."
    )
    heads = ["test", "fastest relay", "direct ÷ fastest", "relay", "load generator", "upstream", "others, median..most"]
    return (
        f"### How we know that the load generator is not the bottleneck\n\n{said}\n\n{table(heads, rows)}"
        if rows
        else ""
    )


SHARES = ("relay_share", "loadgen_share", "upstream_share")


def _ratios(figures: Figures, test: str, peer: str) -> list[float]:
    spread = figures.ratio(test, "rate", peer, "direct")
    return [spread.least, spread.median, spread.greatest] if spread else []


def _foreign(figures: Figures, test: str) -> str:
    shares = [value for peer in figures.peers(test) for value in figures.values(test, peer, "foreign_share")]
    spread = Spread.of(shares)
    return f"{100 * spread.median:.0f}..{100 * spread.greatest:.0f} %" if spread else "–"
