"""A report as JUnit XML: one test case, which fails with a leak and is an error when the run proves nothing."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from shim.lab.formats import text
from shim.lab.formats.plain import keys
from shim.lab.verdict import Outcome, Report
from shim.locale import Catalogue


def render(report: Report, texts: Catalogue, *, reveal: bool = True) -> str:
    """One test suite of one case."""
    plain = keys(report, texts, reveal=reveal)
    failures, errors = report.outcome is Outcome.LEAK, report.outcome is Outcome.INCONCLUSIVE
    whole = escape(_allowed(text.render(report, texts, reveal=reveal)))
    if failures:
        told = "; ".join(found["message"] for found in plain["leaks"])
        inner = f'<failure type="leak" message={quoteattr(_allowed(told))}>{whole}</failure>'
    elif errors:
        inner = f'<error type="inconclusive" message={quoteattr(_allowed(plain["reason_text"]))}>{whole}</error>'
    else:
        inner = f"<system-out>{whole}</system-out>"
    name = quoteattr(_allowed(" ".join(plain["command"])))
    seconds = f"{plain['seconds']:.3f}"
    counts = f'tests="1" failures="{int(failures)}" errors="{int(errors)}" skipped="0" time="{seconds}"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites {counts}>\n<testsuite name="shim check" {counts} timestamp="{plain["started"][:19]}">\n'
        f'<testcase classname="shim.check" name={name} time="{seconds}">{inner}</testcase>\n'
        "</testsuite>\n</testsuites>\n"
    )


def _allowed(words: str) -> str:
    """Without what XML 1.0 has no way to say."""
    return "".join(
        char for char in words if char in "\t\n" or (char.isprintable() and ord(char) not in range(0xD800, 0xE000))
    )
