"""A report as SARIF 2.1.0, for the code scanning of CI systems: a rule for each kind, a result for each finding."""

from __future__ import annotations

import json

from shim.lab.formats.plain import Keys, keys
from shim.lab.verdict import Report
from shim.locale import Catalogue

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(report: Report, texts: Catalogue, *, reveal: bool = True) -> str:
    """One SARIF log with one run."""
    plain = keys(report, texts, reveal=reveal)
    findings = [*plain["leaks"], *plain["notes"]]
    rules = sorted({found["rule"] for found in findings})
    invocation: Keys = {
        "executionSuccessful": plain["verdict"] != "inconclusive",
        "startTimeUtc": plain["started"],
        "commandLine": " ".join(plain["command"]),
    }
    if plain["command_status"] is not None and plain["command_status"] >= 0:
        invocation["exitCode"] = plain["command_status"]
    if plain["reason_text"]:
        invocation["toolExecutionNotifications"] = [{"level": "error", "message": {"text": plain["reason_text"]}}]
    driver = {"name": "shim", "version": plain["program_version"], "rules": [{"id": rule} for rule in rules]}
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "results": [_result(found, rules, plain["command"][0]) for found in findings],
        "properties": {
            key: plain[key] for key in ("verdict", "requests", "covered", "not_covered", "rules_version", "upstream")
        },
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, ensure_ascii=False, indent=2) + "\n"


def _result(found: Keys, rules: list[str], program: str) -> Keys:
    where = {"name": (found["process"] or {}).get("name") or program, "kind": "executable"}
    return {
        "ruleId": found["rule"],
        "ruleIndex": rules.index(found["rule"]),
        "level": "error" if found["leak"] else "note",
        "message": {"text": found["message"]},
        "locations": [{"logicalLocations": [where]}],
        "occurrenceCount": found["count"],
        "properties": {key: found[key] for key in ("kind", "confidence", "destination", "name", "evidence", "time")},
    }
