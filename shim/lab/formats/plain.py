"""A report as plain values, and as JSON: the keys are stable, and every other form is made from them.

The one place where a report's names are scrubbed, if that is wished, and made printable in any case.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from shim import __version__
from shim.advice import table
from shim.judge.advice import QUERY
from shim.judge.remedies import Remedies
from shim.lab.packets import Kind
from shim.lab.seen import Visit
from shim.lab.verdict import RULES_VERSION, Finding, Report
from shim.locale import Catalogue
from shim.model import Process
from shim.record import message
from shim.record.scrub import SCRUBBED, destination, name, printable

Keys = dict[str, Any]

_REMEDIES = Remedies(table())


def keys(report: Report, texts: Catalogue, *, reveal: bool = True) -> Keys:
    """All of a report. `reveal` False takes out the names of destinations, and the command's arguments."""
    run = report.run
    command = [printable(word) for word in run.command]
    findings = [_finding(found, run.began, texts, reveal) for found in report.findings]
    return {
        "verdict": report.outcome,
        "exit_status": report.exit_status,
        "reason": report.reason,
        "reason_text": None if report.reason is None else _reason(report, texts),
        "command": command if reveal else [command[0], *([SCRUBBED] if command[1:] else [])],
        "script": run.script and printable(run.script) if reveal else None,
        "command_status": run.status,
        "stopped": run.stopped,
        "requests": report.requests,
        "upstream": run.upstream,
        "started": _time(run.began),
        "seconds": round(run.seconds, 3),
        "leaks": [found for found in findings if found["leak"]],
        "notes": [found for found in findings if not found["leak"]],
        "covered": [_code(code, "covered", texts) for code in report.covered],
        "not_covered": [_code(code, "not_covered", texts) for code in report.not_covered],
        "canaries": [
            {"role": each.role, "name": name(each.host, reveal), "requests": asked, "leaked": leaked}
            for each, asked, leaked in report.canaries
        ],
        "visits": [_visit(visit, texts, reveal) for visit in run.visits],
        "linger_s": run.linger_s,
        "isolation": _isolation(report),
        "program_version": __version__,
        "rules_version": RULES_VERSION,
    }


def render(report: Report, texts: Catalogue, *, reveal: bool = True) -> str:
    """One JSON object."""
    return json.dumps(keys(report, texts, reveal=reveal), ensure_ascii=False, indent=2) + "\n"


def _finding(found: Finding, began: float, texts: Catalogue, reveal: bool) -> Keys:
    return {
        "kind": found.kind,
        "leak": found.leak,
        "source": found.source,
        "packet": found.packet,
        "confidence": found.confidence,
        "rule": found.rule,
        "protocol": found.protocol,
        "destination": destination(found.destination, reveal),
        "name": None if found.name is None else name(found.name, reveal),
        "canary": found.canary,
        "time": _time(found.at),
        "after_s": round(max(found.at - began, 0.0), 3),
        "count": found.count,
        "process": _process(found.process),
        "process_reason": found.process_reason,
        "evidence": [item for item in found.evidence if reveal or ":" not in item],
        "message": _message(found, texts),
        "advice": texts.text(advice_id(found)),
        "advice_id": advice_id(found),
    }


def _message(found: Finding, texts: Catalogue) -> str:
    if found.event is not None:
        return message.message(found.event, texts)
    program = texts.text("text.someone") if found.process is None else printable(found.process.name)
    details = [] if found.process is None else [f"pid {found.process.pid}"]
    details.append(found.protocol.upper())
    who = texts.text("text.who", program=program, details=texts.text("text.and").join(details))
    return texts.text(f"check.packet.{found.packet}", who=who)


def advice_id(found: Finding) -> str:
    """The message id of what to change: that of the program where the table of advice has it."""
    if found.event is not None:
        return found.event.advice
    exact = None
    if found.packet in (Kind.TCP, Kind.DNS):
        # It went past the proxy: the settings that keep its queries in are those that keep these in.
        exact = _REMEDIES.advice(QUERY, found.process, found.process_reason)
    return exact or f"check.advice.{found.packet}"


def _reason(report: Report, texts: Catalogue) -> str:
    run = report.run
    step, cause = run.failure or ("", "")
    signal = -run.status if run.status is not None else 0
    text = texts.text(f"check.reason.{report.reason}", step=step, error=run.start_error or "", signal=signal)
    return f"{text} {knob(cause, texts)}" if cause else text


def knob(cause: str, texts: Catalogue) -> str:
    """What keeps this machine from making namespaces, and how to allow it."""
    known = f"check.knob.{cause}"
    return texts.text(known) if known in texts else texts.text("check.knob.other", error=printable(cause))


def _isolation(report: Report) -> Keys | None:
    isolation = report.run.isolation
    if isolation is None:
        step, cause = report.run.failure or ("", "")
        return {"failed": step, "knob": cause}
    return {
        "user_namespace": isolation.user_namespace,
        "trap": isolation.trap,
        "ip_versions": list(isolation.families),
        "hidden": list(isolation.hidden),
        "interactive": isolation.interactive,
        "root": isolation.root,
        "kernel": isolation.kernel,
    }


def _visit(visit: Visit, texts: Catalogue, reveal: bool) -> Keys:
    url = printable(visit.url) if reveal else SCRUBBED
    error = None if visit.error is None else printable(visit.error)
    code = {None: "opened", True: "loaded", False: "not_loaded"}[visit.loaded]
    text = texts.text(f"check.visit.{code}", url=url, error=error or "")
    return {"url": url, "loaded": visit.loaded, "error": error, "text": text}


def _process(process: Process | None) -> Keys | None:
    if process is None:
        return None
    exe = None if process.exe is None else printable(process.exe)
    return {"pid": process.pid, "name": printable(process.name), "exe": exe}


def _code(code: str, what: str, texts: Catalogue) -> Keys:
    return {"code": code, "text": texts.text(f"check.{what}.{code}")}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
