"""A report as SARIF 2.1.0, for the code scanning of CI systems: a rule for each kind, a result for each finding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from urllib.parse import quote

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
    driver = {
        "name": "shim",
        "version": plain["program_version"],
        "rules": [_rule(rule, [found for found in findings if found["rule"] == rule]) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "results": [_result(found, rules, plain) for found in findings],
        "properties": {
            key: plain[key] for key in ("verdict", "requests", "covered", "not_covered", "rules_version", "upstream")
        },
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, ensure_ascii=False, indent=2) + "\n"


def _rule(rule: str, findings: Iterable[Keys]) -> Keys:
    """By its number and the kinds of what was found; how to mend that is the help."""
    about = f"{rule}: {', '.join(sorted({found['kind'] for found in findings}))}"
    remedies = "\n".join(dict.fromkeys(found["advice"] for found in findings))
    texts = {"shortDescription": {"text": about}, "fullDescription": {"text": about}, "help": {"text": remedies}}
    return {"id": rule, **texts}


def _result(found: Keys, rules: list[str], plain: Keys) -> Keys:
    program = plain["command"][0]
    # Code scanning shows nothing without a file, of which it is told the one that was run.
    file = {
        "artifactLocation": {"uri": quote(plain["script"] or program.rpartition("/")[2])},
        "region": {"startLine": 1},
    }
    where = {"name": (found["process"] or {}).get("name") or program, "kind": "executable"}
    return {
        "ruleId": found["rule"],
        "ruleIndex": rules.index(found["rule"]),
        "level": "error" if found["leak"] else "note",
        "message": {"text": found["message"]},
        "locations": [{"physicalLocation": file, "logicalLocations": [where]}],
        "partialFingerprints": {"primaryLocationLineHash": _fingerprint(found)},
        "occurrenceCount": found["count"],
        "properties": {key: found[key] for key in ("kind", "confidence", "destination", "name", "evidence", "time")},
    }


def _fingerprint(found: Keys) -> str:
    """The same for the same finding of another run: neither canaries nor issued addresses are the same there."""
    what = found["canary"] or found["name"] or found["destination"]
    text = " ".join(str(each) for each in (found["rule"], found["kind"], found["packet"], found["protocol"], what))
    return hashlib.sha256(text.encode()).hexdigest()[:16] + ":1"
